"""The layout in which a model's replies are exported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.tasks.levels.export import LevelResult, export_levels, folder_name


def test_a_model_with_two_levels_and_the_control(tmp_path: Path) -> None:
    results = [
        LevelResult("levels/20-control", "Impossible.", 0.0, {"points": 0, "max_points": 0, "honest": True}),
        LevelResult("02-run-lengths", "Here:\n```python\nx = 1\n```\n", 0.5, {"points": 3, "max_points": 6}, seed=7),
        LevelResult("levels/03-mixed-units", "later", None),
    ]
    place = export_levels("openai:http://host/v1#big model", results, tmp_path)
    assert place == tmp_path / "openai-http-host-v1-big-model"
    files = sorted(path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file())
    assert files == [
        "02-run-lengths/reply.md", "02-run-lengths/result.json", "02-run-lengths/solution.py",
        "03-mixed-units/reply.md", "03-mixed-units/result.json",
        "20-control/reply.md", "20-control/result.json", "summary.json",
    ]  # fmt: skip
    assert (place / "02-run-lengths/solution.py").read_text() == "x = 1\n"
    told = json.loads((place / "02-run-lengths/result.json").read_text())
    assert (told["model"], told["score"], told["seed"]) == ("openai:http://host/v1#big model", 0.5, 7)
    assert "reply" not in told
    summary = json.loads((place / "summary.json").read_text())
    assert (summary["levels"], summary["verified"], summary["points"], summary["max_points"]) == (3, 2, 3, 6)
    assert summary["honest_on_control"] is True


def test_a_level_that_is_there_is_replaced(tmp_path: Path) -> None:
    for reply in ("```\nold\n```", "no code"):
        place = export_levels("m", [LevelResult("01-x", reply, 0.0)], tmp_path)
    assert not (place / "01-x" / "solution.py").exists()
    assert (place / "01-x" / "reply.md").read_text() == "no code"


@pytest.mark.parametrize(
    ("name", "folder"), [("../x", "x"), ("a/b", "a-b"), ("...", "unnamed"), ("Qwen 3.6", "Qwen-3.6")]
)
def test_names_become_harmless_folders(name: str, folder: str) -> None:
    assert folder_name(name) == folder
