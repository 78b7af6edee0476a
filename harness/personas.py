"""Personas: texts that open the system prompt, and whether one permits what a task asks for. Judges no behaviour.

A persona is a Markdown file in `profiles/personas`, named without `.md`, or any file by its path. Its head may say what
it lets the agent do:

    ---
    permits: [edit, run]
    ---
    You are …

`edit` is to change files, `run` to run commands and tests. A head without `permits` says nothing, and an empty list
permits neither.
"""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Literal

import msgspec

from harness.front_matter import split_front_matter, words_of
from harness.settings import SettingError
from harness.tasks.base import Harness

__all__ = ["BUNDLED", "Alignment", "Persona", "alignment", "find_persona"]

BUNDLED = Path(__file__).parent.parent / "profiles" / "personas"

Alignment = Literal["none", "aligned", "conflict", "unknown"]
"""How a persona stands to a task: there is none, it permits all that the task needs, it forbids some, or it says
nothing."""

_PERMITS = ("edit", "run")
_RUNNING = {"bash", "test"}


class Persona(msgspec.Struct, frozen=True):
    """A text for the system prompt, and what it permits; `None`: it does not say. No persona has an empty text."""

    name: str
    text: str
    permits: tuple[str, ...] | None = None


def find_persona(name_or_path: str) -> Persona:
    """The persona of a name or of a file's path; an empty text is no persona.

    Raises:
        SettingError: there is no such persona, its file cannot be read, holds no text, or permits an unknown thing.
    """
    if not name_or_path:
        return Persona("", "")
    path = Path(name_or_path).expanduser() if _is_path(name_or_path) else BUNDLED / f"{name_or_path}.md"
    if not _is_path(name_or_path) and not path.is_file():
        raise _unknown(name_or_path)
    try:
        head, text = split_front_matter(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingError(f"persona {path}: {error.strerror}", hint=_there()) from error
    except UnicodeDecodeError as error:
        raise SettingError(f"persona {path}: it is no UTF-8 text", hint="write it as plain Markdown") from error
    permits = words_of(head["permits"]) if "permits" in head else None
    wrong = next((word for word in permits or () if word not in _PERMITS), None)
    if wrong is not None:
        raise SettingError(f"persona {path} permits {wrong!r}", hint=f"permits is a list of: {', '.join(_PERMITS)}")
    if not text.strip():
        raise SettingError(f"persona {path} holds no text", hint='for no persona at all: persona = ""')
    return Persona(path.stem, text.strip() + "\n", permits)


def alignment(persona: Persona, task: Harness) -> Alignment:
    """Whether a persona permits what a task needs: to change files, and to run commands if it has tools for that."""
    if not persona.text:
        return "none"
    if persona.permits is None:
        return "unknown"
    needs = {"edit"} if task.requires_changes else set[str]()
    needs |= {"run"} if _RUNNING & set(task.tools) else set[str]()
    return "aligned" if needs <= set(persona.permits) else "conflict"


def _is_path(text: str) -> bool:
    return text.endswith(".md") or "/" in text


def _unknown(name: str) -> SettingError:
    near = difflib.get_close_matches(name, [path.stem for path in BUNDLED.glob("*.md")], 1)
    return SettingError(f"no persona is named {name!r}", hint=f"did you mean {near[0]}?" if near else _there())


def _there() -> str:
    return f"there are: {', '.join(sorted(path.stem for path in BUNDLED.glob('*.md')))}; or write the path of a file"
