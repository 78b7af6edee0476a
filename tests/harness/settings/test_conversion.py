"""Levers out of TOML and typed texts: what is read, and what every mistake is told."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.settings import Setting, SettingError, difference, levers, parse_assignments, with_levers
from harness.settings.conversion import setting_of


@pytest.mark.parametrize(
    ("held", "message", "hint"),
    [
        ({"task": {"scoop": "open"}}, "table [task] has an unknown lever 'scoop'", "did you mean scope?"),
        ({"tsak": {}}, "unknown key or table 'tsak'", "did you mean task?"),
        ({"zzz": {}}, "unknown key or table 'zzz'", "skills, tests, prompt"),
        ({"task": {"zzz": 1}}, "unknown lever 'zzz'", "there are: scope, persona"),
        ({"skills": 18_000}, "skills is a table", "write [skills]"),
        ({"title": 3}, "title = 3: Expected str, got int", "a text"),
        ({"task": {"scope": "wide"}}, "scope = 'wide'", "allowed: bounded, open, broad"),
        ({"skills": {"bytes": -1}}, "bytes = -1", "a whole number at least 0"),
        ({"skills": {"bytes": "18000"}}, "bytes = '18000': Expected int, got str", "a whole number"),
        ({"skills": {"files": [1]}}, "files = [1]", "a list of a text"),
        ({"history": {"at_share": 1.5}}, "at_share = 1.5", "above 0, at most 1"),
        ({"sampling": {"top_p": 0}}, "top_p = 0", "a number above 0, at most 1 or unset"),
        ({"scaffolding": {"todo": 1}}, "todo = 1", "true or false"),
        ({"target": {"ctx": [1]}}, "ctx = [1]", "allowed: "),
        ({"schema": 2}, "schema 2", "reads schema 1"),
    ],
)
def test_a_mistake_names_its_place_and_what_is_there(held: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(SettingError) as caught:
        setting_of(held, "setting mine.toml")
    assert str(caught.value).startswith("setting mine.toml")
    assert message in str(caught.value)
    assert hint in str(caught.value.hint)


def test_what_is_left_out_has_its_default() -> None:
    read = setting_of({"schema": 1, "title": "t", "limits": {"wall_s": 60}, "target": {"ctx": 8192}}, "x")
    assert read.limits.wall_s == 60.0
    assert read.limits.turns == Setting().limits.turns
    assert difference(Setting(), read) == {"limits.wall_s": (1800.0, 60.0), "target.ctx": (None, 8192)}


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("skills.bytes", "51000", 51_000),
        ("skills.files", "a.md, b.md", "a.md,b.md"),
        ("scaffolding.todo", "on", True),
        ("scaffolding.todo", "false", False),
        ("task.persona", "", ""),
        ("history.at_share", "0.5", 0.5),
        ("limits.wall_s", "90", 90.0),
        ("sampling.top_p", "none", None),
        ("sampling.seed", "7", 7),
        ("thinking.mode", "on", "on"),
        ("target.ctx", "8192", 8192),
        ("target.kv", "q8_0", "q8_0"),
        ("target.kv_unified", "on", True),
    ],
)
def test_a_typed_text_is_read_as_the_levers_type(name: str, text: str, value: object) -> None:
    set_by_text = with_levers(Setting(), parse_assignments([f"{name}={text}"]))
    assert levers(set_by_text)[name] == value
    assert type(levers(set_by_text)[name]) is type(value)


@pytest.mark.parametrize(
    ("name", "value", "message", "hint"),
    [
        ("skills.byte", "1", "unknown lever of skills 'byte'", "did you mean skills.bytes?"),
        ("skill.bytes", "1", "no such lever", "did you mean skills.bytes?"),
        ("granularity", "file", "no such lever", "did you mean tests.granularity?"),
        ("zzz", "1", "no such lever", "tables: task, skills"),
        ("title", "x", "no such lever", "tables: "),
        ("target", "x", "no such lever", "tables: "),
        ("task.scope", "wide", "--set task.scope = 'wide'", "bounded, open, broad"),
        ("skills.bytes", "many", "Expected int", "a whole number at least 0"),
        ("scaffolding.todo", "perhaps", "Expected bool", "true or false"),
    ],
)
def test_a_lever_that_cannot_be_set(name: str, value: str, message: str, hint: str) -> None:
    with pytest.raises(SettingError) as caught:
        with_levers(Setting(), {name: value})
    assert message in str(caught.value)
    assert hint in str(caught.value.hint)


def test_assignments() -> None:
    assert parse_assignments(["a.b=1", "c.d = x=y", "a.b=2"]) == {"a.b": "2", "c.d": "x=y"}
    for text in ("a.b", "=1"):
        with pytest.raises(SettingError, match="no lever and value"):
            parse_assignments([text])


_ANY = {name: value for name, value in levers(Setting()).items() if value is not None}


@given(st.sampled_from(sorted(_ANY)), st.text(max_size=12) | st.integers().map(str) | st.floats().map(str))
def test_any_text_is_taken_or_told(name: str, text: str) -> None:
    changed = Setting()
    with suppress(SettingError):
        changed = with_levers(Setting(), {name: text})
    assert set(difference(Setting(), changed)) <= {name}
    assert msgspec.convert(msgspec.to_builtins(changed), Setting) == changed


@given(st.sampled_from(sorted(_ANY)))
def test_a_value_as_it_is_recorded_can_be_set_again(name: str) -> None:
    assert with_levers(Setting(), {name: str(_ANY[name])}) == Setting()
