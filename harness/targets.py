"""Targets by name: a file for each, with an engine, a model or an address, and options. Opens no engine.

    description = "my coding model, one slot"
    engine = "llama-server"
    model = "../models/coder-q4_k_m.gguf"    # relative to this file; or an address:
    # url = "http://127.0.0.1:8080"          # with `model`, if needed, as the server calls it

    [options]
    ctx = 32768

A target's name is its file's without `.toml`. Files are looked for in `./targets`, in the user's folder
(`$XDG_CONFIG_HOME/dyno/targets`, or `~/.config/dyno/targets`) and among the bundled ones (`profiles/targets`).
Whether the options fit the engine is found out in `harness.target_checks`, or when the target is opened.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from pathlib import Path
from typing import Any

import msgspec

from backends import engine_names, parse_target
from backends.base import Target, TargetError
from harness.named_files import file_named, toml_files

__all__ = ["BUNDLED", "FoundTarget", "file_of", "find_targets", "places", "read_target", "resolve_target"]

BUNDLED = Path(__file__).parent.parent / "profiles" / "targets"
_LIST = "`dyno targets` lists those that there are"


class FoundTarget(msgspec.Struct, frozen=True):
    """A target's file: what it holds, or, without a target, what is wrong with it."""

    name: str
    path: Path
    target: Target | None = None
    description: str = ""
    fault: str | None = None


class _File(msgspec.Struct):
    engine: str
    model: str | None = None
    url: str | None = None
    options: dict[str, str | int | float | bool] = {}
    description: str = ""


def places() -> tuple[Path, ...]:
    """The folders that hold targets, those of the working directory first; they need not exist."""
    own = Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser()
    return (Path("targets"), own / "dyno" / "targets", BUNDLED)


def resolve_target(text: str) -> Target:
    """The target that a text means: `engine:model?key=value` as it is written, a name, or the path of a `.toml` file.

    Behind a name or a path, `?key=value` adds to the file's options or replaces them.

    Raises:
        TargetError: no such name or file, two of one name, a file that cannot be used, or a text that is no target.
    """
    path = file_of(text)
    if path is None:
        return parse_target(text)
    _, target = read_target(path)
    _, question, query = text.partition("?")
    given = parse_target(f"{target.engine}:{question}{query}").options
    return msgspec.structs.replace(target, options={**target.options, **given})


def file_of(text: str) -> Path | None:
    """The file that a name or a path means; `None` for `engine:model` and what was meant to be that.

    Raises:
        TargetError: no target has that name, or two have it.
    """
    name, _, _ = text.partition("?")
    if name.endswith(".toml"):
        return Path(name).expanduser()
    if ":" in name or "/" in name or name.endswith(".gguf") or not name:
        return None
    return _path_of(name)


def read_target(path: Path) -> tuple[str, Target]:
    """The description and the target of a file.

    Raises:
        TargetError: it cannot be read, is no TOML (with the line), has an unknown key (names the nearest), or a value
        of the wrong type.
    """
    try:
        held = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TargetError(f"target {path}: {error.strerror}", hint=_LIST) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TargetError(f"target {path}: {error}", hint="the form is shown in docs/targets.md") from error
    file = _converted(held, path)
    if file.url is not None and (not file.url.startswith(("http://", "https://")) or "#" in file.url):
        hint = "write http://host:port, and the model's name in `model`"
        raise TargetError(f"target {path}: url {file.url!r} is no address of a server", hint=hint)
    return file.description, Target(
        engine=file.engine,
        model=_model(file, path.parent),
        url=file.url.rstrip("/") if file.url else None,
        options={key: _typed(value) for key, value in file.options.items()},
    )


def find_targets() -> tuple[FoundTarget, ...]:
    """Every target's file, by name; a name that is there twice is a fault of both."""
    files = toml_files(places())
    names = [path.stem for path in files]
    return tuple(_found(path, twice=names.count(path.stem) > 1) for path in sorted(files, key=lambda path: path.stem))


def _typed(value: str | int | float | bool) -> str:
    """A value as it would be typed on the command line."""
    return ("on" if value else "off") if isinstance(value, bool) else str(value)


def _converted(held: dict[str, Any], path: Path) -> _File:
    known = _File.__struct_fields__
    unknown = next((key for key in held if key not in known), None)
    if unknown is not None:
        near = difflib.get_close_matches(unknown, known, 1)
        hint = f"did you mean {near[0]}?" if near else f"keys: {', '.join(known)}; an engine's own go under [options]"
        raise TargetError(f"target {path} has an unknown key {unknown!r}", hint=hint)
    try:
        return msgspec.convert(held, _File)
    except msgspec.ValidationError as error:
        words = str(error).replace("Object missing required field", "it has no").replace("`", "").replace("$.", "")
        raise TargetError(f"target {path}: {words}", hint="the form is shown in docs/targets.md") from error


def _model(file: _File, folder: Path) -> str | None:
    """A model without an address is a path if it is written like one, or if that is there; else a name."""
    if file.model is None or file.url is not None:
        return file.model
    path = folder / Path(file.model).expanduser()
    as_path = file.model.startswith(("/", "./", "../", "~")) or file.model.endswith(".gguf")
    return os.path.normpath(path) if as_path or path.exists() else file.model


def _path_of(name: str) -> Path:
    files = toml_files(places())
    if name in engine_names() and name not in {path.stem for path in files}:
        raise TargetError(f"{name} is an engine", hint=f"write what it is to drive: {name}:model or {name}:http://…")
    otherwise = f"write engine:model, or a name; {_LIST}"
    return file_named(name, "target", files, lambda said, hint: TargetError(said, hint=hint), otherwise)


def _found(path: Path, *, twice: bool) -> FoundTarget:
    try:
        description, target = read_target(path)
    except TargetError as error:
        return FoundTarget(path.stem, path, fault=f"{error} ({error.hint})" if error.hint else str(error))
    fault = "another target has this name: it can only be used by the path of its file" if twice else None
    return FoundTarget(path.stem, path, target, description, fault)
