"""What a draft becomes as a folder."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.tasks.base import Harness, Step
from harness.tasks.draft import Draft, call, filled, write_draft
from harness.tasks.folder import read_folder, trajectory

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30)


def made(**changed: Any) -> Draft:
    values: dict[str, Any] = {
        "name": "pack/one", "title": "a title", "seed": 3, "difficulty": "easy", "harness": Harness(),
        "instructions": {"": "Do it.\n", "open": "Do something.\n"}, "verifier": "raise SystemExit\n", "solution": {},
        "trajectories": {"nop": (Step(content="no"),)},
    }  # fmt: skip
    return Draft(**(values | changed))


def test_it_is_read_back_as_it_was(tmp_path: Path) -> None:
    harness = Harness(scopes=("open",), protected=("a", "b c"), single_shot=True, placeholders=('"quoted" \\ ü',))
    steps = (Step(content="look", calls=(call("write", path="x", content="ä\n"),)), Step(content="done"))
    write_draft(made(harness=harness, trajectories={"oracle": steps}, verifier_timeout_s=9.0), tmp_path)
    task = read_folder(tmp_path)
    assert (task.name, task.pack, task.seed, task.title) == ("pack/one", "pack", 3, "a title")
    assert (task.harness, task.verifier_timeout_s) == (harness, 9.0)
    assert trajectory(task, "oracle", "open") == steps


def test_the_same_draft_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_draft(made(workspace={"a/b.txt": "x\n"}, solution={"c.txt": "y"}), tmp_path / name)
    assert read_folder(tmp_path / "one").sha256 == read_folder(tmp_path / "two").sha256


@settings(max_examples=25)
@given(title=TEXT, note=TEXT)
def test_any_text_survives_the_settings(title: str, note: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    place = tmp_path_factory.mktemp("draft")
    write_draft(made(title=title, harness=Harness(placeholders=(note,))), place)
    read = tomllib.loads((place / "task.toml").read_text(encoding="utf-8"))
    assert read["metadata"]["title"] == title
    assert read["harness"]["placeholders"] == [note]


def test_marks_are_filled_and_a_missing_value_is_named() -> None:
    assert filled("@a@ and @b@@a@, not a@b", a=1, b="x") == "1 and x1, not a@b"
    with pytest.raises(KeyError, match="b"):
        filled("@b@", a=1)
