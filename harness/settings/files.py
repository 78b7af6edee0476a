"""Settings as files: where they lie, which one a name means, what is wrong with one. Judges no lever.

A setting's name is its file's without `.toml`. Files are looked for in `./harness-settings`, in the user's folder and
among the bundled ones; a name that is there twice can only be used by the path of its file.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator
from pathlib import Path

import msgspec

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
    files = list(_files())
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


def _files() -> Iterator[Path]:
    seen: set[Path] = set()
    for place in places():
        for path in sorted(place.glob("*.toml")):
            if path.resolve() not in seen:
                seen.add(path.resolve())
                yield path


def _path_of(text: str) -> Path:
    if text.endswith(".toml"):
        return Path(text).expanduser()
    files = list(_files())
    paths = [path for path in files if path.stem == text]
    if len(paths) == 1:
        return paths[0]
    if paths:
        both = " and ".join(map(str, paths))
        raise SettingError(f"two settings are named {text}: {both}", hint="rename one, or give the path of its file")
    near = difflib.get_close_matches(text, {path.stem for path in files}, 1)
    raise SettingError(f"no setting is named {text!r}", hint=f"did you mean {near[0]}?" if near else _there())


def _there() -> str:
    return f"there are: {', '.join(sorted({path.stem for path in _files()}))}; or write the path of a .toml file"


def _found(path: Path, *, twice: bool) -> FoundSetting:
    try:
        setting = read_setting(path)
    except SettingError as error:
        return FoundSetting(path.stem, path, fault=f"{error} ({error.hint})" if error.hint else str(error))
    fault = "another setting has this name: it can only be used by the path of its file" if twice else None
    return FoundSetting(path.stem, path, setting, fault)
