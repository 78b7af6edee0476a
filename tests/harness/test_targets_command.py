"""`dyno targets`: the list, one target, a check, in words and in JSON."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from harness.cli.target_list import ShownTarget, list_targets, show_target, tell_check
from harness.targets import BUNDLED


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "targets").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / "targets" / "odd.toml").write_text('engine = "scripted"\ndescription = "odd"\n[options]\nslotz = 1\n')
    return tmp_path / "targets"


def test_the_list_says_what_is_there_and_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    list_targets(json_output=False)
    shown = capsys.readouterr().out
    assert "the bundled model on llama-server" in shown
    assert "tiny-f16.gguf" in shown
    assert "has no option 'slotz' (did you mean slots?)" in shown
    assert f"{BUNDLED}: " in shown
    assert "targets: odd" in shown


def test_the_list_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    list_targets(json_output=True)
    listed = {row["name"]: row for row in msgspec.json.decode(capsys.readouterr().out)["targets"]}
    assert listed["odd"]["file"] == "targets/odd.toml"
    assert "slotz" in listed["odd"]["fault"]
    assert listed["simulated"] == {
        "name": "simulated",
        "file": str(BUNDLED / "simulated.toml"),
        "description": listed["simulated"]["description"],
        "engine": "scripted",
        "model": None,
        "url": None,
        "options": {},
        "fault": None,
    }


def test_one_is_shown_with_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    show_target("simulated?slots=3", json_output=False)
    shown = capsys.readouterr().out
    assert "could be opened" in shown
    assert "sequences that it remembers" in shown
    show_target("simulated?slots=3", json_output=True)
    document = msgspec.json.decode(capsys.readouterr().out.encode(), type=ShownTarget)
    rows = {row.name: (row.value, row.default) for row in document.options}
    assert (document.written, document.fault, rows["slots"]) == ("scripted:?slots=3", None, ("3", "1"))


def test_a_check_in_words_and_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    tell_check("local-ollama", json_output=False)
    assert "could be opened: ollama:http://127.0.0.1:11434; whether its server answers" in capsys.readouterr().out
    tell_check("simulated", json_output=True)
    assert msgspec.json.decode(capsys.readouterr().out)["fault"] is None


@pytest.mark.parametrize(
    ("text", "words", "code"),
    [("odd", "did you mean slots?", 2), ("tinny", "did you mean tiny?", 2), ("simulated", "could be opened", 0)],
)
def test_the_exit_code_says_it_too(text: str, words: str, code: int) -> None:
    run = [sys.executable, "-m", "harness.cli", "targets", "--check", text]
    root = Path(__file__).parents[2]
    done = subprocess.run(run, env={"PYTHONPATH": str(root)}, check=False, capture_output=True, text=True)
    assert done.returncode == code
    assert words in done.stdout + done.stderr
