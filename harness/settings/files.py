"""Settings as files: where they lie, which one a name means, what is wrong with one. Judges no lever.

A setting's name is its file's without `.toml`. Files are looked for in `./harness-settings`, in the user's folder and
among the bundled ones; a name that is there twice can only be used by the path of its file.
"""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

import msgspec

from harness.named_files import file_named, toml_files
from harness.settings.conversion import SettingError, setting_of
from harness.settings.tables import Setting

__all__ = ["BUNDLED", "FoundSetting", "find_setting", "list_settings", "name_of", "places", "read_setting"]

BUNDLED = Path(__file__).parents[2] / "profiles" / "harness"


class FoundSetting(msgspec.Struct, frozen=True):
    """A setting's file: what it holds, or, without a setting, what is wrong with it."""

    name: str
    path: Path
    setting: Setting | None = None
    fault: str | None = None


def places() -> tuple[Path, ...]:
    """The folders that hold settings, those of the working directory first; they need not exist."""
    own = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    return (Path("harness-settings"), own / "dyno" / "harness", BUNDLED)


def find_setting(name_or_path: str) -> Setting:
    """The setting of a name, or of the path of a `.toml` file.

    Raises:
        SettingError: no such name or file, two of one name, or a file that cannot be used.
    """
    return read_setting(_path_of(name_or_path))


def name_of(name_or_path: str) -> str:
    """What a setting is called in records: its name, or its file's without `.toml`."""
    return Path(name_or_path).stem if name_or_path.endswith(".toml") else name_or_path


def list_settings() -> tuple[FoundSetting, ...]:
    """Every setting's file, by name; a name that is there twice is a fault of both."""
    files = toml_files(places())
    names = [path.stem for path in files]
    return tuple(_found(path, twice=names.count(path.stem) > 1) for path in sorted(files, key=lambda path: path.stem))


def read_setting(path: Path) -> Setting:
    """The setting of a file.

    Raises:
        SettingError: it cannot be read, is no TOML (with the line), has an unknown key (names the nearest), or a value
        that a lever cannot have (says the allowed ones).
    """
    try:
        held = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(f"setting {path}: {error.strerror}", hint=_there()) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"setting {path}: {error}", hint="the form is shown in docs/settings.md") from error
    return setting_of(held, f"setting {path}")


def _path_of(text: str) -> Path:
    if text.endswith(".toml"):
        return Path(text).expanduser()
    files = toml_files(places())
    return file_named(text, "setting", files, lambda said, hint: SettingError(said, hint=hint), _there())


def _there() -> str:
    names = sorted({path.stem for path in toml_files(places())})
    return f"there are: {', '.join(names)}; or write the path of a .toml file"


def _found(path: Path, *, twice: bool) -> FoundSetting:
    try:
        setting = read_setting(path)
    except SettingError as error:
        return FoundSetting(path.stem, path, fault=f"{error} ({error.hint})" if error.hint else str(error))
    fault = "another setting has this name: it can only be used by the path of its file" if twice else None
    return FoundSetting(path.stem, path, setting, fault)
