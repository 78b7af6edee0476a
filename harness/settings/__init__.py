"""Harness settings: the levers that decide what an agent sends and may do, as frozen values read from TOML.

    schema = 1
    title = "a bounded task, few skills, fast tests"

    [task]
    scope = "bounded"

    [skills]
    bytes = 18000

Every key is a lever, `table.key` is its name (`skills.bytes`), and what a file leaves out has its default. An unknown
key is an error. Settings are looked for by name in `./harness-settings`, in the user's folder
(`$XDG_CONFIG_HOME/dyno/harness`, or `~/.config/dyno/harness`) and among the bundled ones (`profiles/harness`), or by
the path of a file. `tables` holds the levers, `conversion` makes them of TOML and of typed text, `files` finds files,
and `comparison` flattens, fingerprints and compares settings.
"""

from __future__ import annotations

from harness.settings.comparison import Scalar, difference, fingerprint, levers
from harness.settings.conversion import SettingError, parse_assignments, with_levers
from harness.settings.files import FoundSetting, find_setting, list_settings, name_of, places, read_setting
from harness.settings.tables import (
    SCHEMA,
    Calls,
    History,
    Limits,
    Loop,
    Prompt,
    Sampling,
    Scaffolding,
    Setting,
    Skills,
    TaskLevers,
    TestLevers,
    Thinking,
)

__all__ = [
    "SCHEMA",
    "Calls",
    "FoundSetting",
    "History",
    "Limits",
    "Loop",
    "Prompt",
    "Sampling",
    "Scaffolding",
    "Scalar",
    "Setting",
    "SettingError",
    "Skills",
    "TaskLevers",
    "TestLevers",
    "Thinking",
    "difference",
    "find_setting",
    "fingerprint",
    "levers",
    "list_settings",
    "name_of",
    "parse_assignments",
    "places",
    "read_setting",
    "with_levers",
]
