"""Personas: what they say, what they permit, and how that stands to a task."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.personas import BUNDLED, Persona, alignment, find_persona
from harness.settings import SettingError
from harness.tasks.base import Harness

READING = Harness(requires_changes=False, tools=("read", "grep"))


def test_the_bundled_ones() -> None:
    names = sorted(path.stem for path in BUNDLED.glob("*.md"))
    assert names == ["engineer", "read-only", "reviewer", "terse"]
    for name in names:
        persona = find_persona(name)
        assert 300 <= len(persona.text.encode()) <= 900
        assert "permits" not in persona.text
        assert alignment(persona, Harness()) == ("conflict" if name == "read-only" else "aligned")
        assert alignment(persona, READING) == "aligned"


def test_no_persona() -> None:
    assert find_persona("") == Persona("", "")
    assert alignment(find_persona(""), Harness()) == "none"


def test_one_of_the_user(tmp_path: Path) -> None:
    file = tmp_path / "mine.md"
    file.write_text("You are careful.\n")
    assert find_persona(str(file)) == Persona("mine", "You are careful.\n")
    assert alignment(find_persona(str(file)), Harness()) == "unknown"
    file.write_text("---\npermits: [edit]\n---\nYou are careful.\n")
    assert alignment(find_persona(str(file)), Harness()) == "conflict"
    assert alignment(find_persona(str(file)), Harness(tools=("read", "edit"))) == "aligned"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("---\npermits: [edit, fly]\n---\nx\n", "permits 'fly'", "edit, run"),
        ("---\npermits: []\n---\n", "holds no text", 'persona = ""'),
        ("\udcff", "no UTF-8", "Markdown"),
        (None, "No such file", "there are: engineer"),
    ],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, text: str | None, message: str, hint: str) -> None:
    file = tmp_path / "bad.md"
    if text is not None:
        file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(SettingError, match=message) as caught:
        find_persona(str(file))
    assert hint in str(caught.value.hint)


def test_a_name_that_is_none() -> None:
    with pytest.raises(SettingError, match="no persona is named 'enginer'") as caught:
        find_persona("enginer")
    assert caught.value.hint == "did you mean engineer?"
