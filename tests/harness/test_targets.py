"""Targets by name: files and their faults, where they lie, what a text means."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends import parse_target
from backends.base import Target, TargetError
from harness.targets import BUNDLED, find_targets, places, read_target, resolve_target

PLAIN = 'engine = "scripted"\ndescription = "plain"\n'


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder; the working directory is empty."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    folder = tmp_path / "config" / "dyno" / "targets"
    folder.mkdir(parents=True)
    return folder


def write(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_file_holds_a_target(tmp_path: Path) -> None:
    file = write(
        tmp_path,
        "mine",
        """
description = "mine"
engine = "llama-server"
model = "../models/m.gguf"
[options]
ctx = 32768
swa_full = true
cache_idle_slots = false
slot_prompt_similarity = 0.5
kv = "q8_0"
""",
    )
    description, target = read_target(file)
    assert description == "mine"
    assert (target.engine, target.model, target.url) == ("llama-server", str(tmp_path.parent / "models/m.gguf"), None)
    assert target.options == {
        "ctx": "32768",
        "swa_full": "on",
        "cache_idle_slots": "off",
        "slot_prompt_similarity": "0.5",
        "kv": "q8_0",
    }


def test_what_is_a_path_and_what_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def model(written: str, url: str = "") -> str | None:
        return read_target(write(tmp_path, "t", f'engine = "x"\nmodel = "{written}"\n{url}'))[1].model

    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert model("m.gguf") == str(tmp_path / "m.gguf")
    assert model("/models/m.gguf") == "/models/m.gguf"
    assert model("~/m.gguf") == str(tmp_path / "home" / "m.gguf")
    assert model("tool-call") == "tool-call"
    assert model("owner/gpt-4.1") == "owner/gpt-4.1"
    (tmp_path / "folder").mkdir()
    assert model("folder") == str(tmp_path / "folder")
    assert model("folder/m.gguf", 'url = "http://127.0.0.1:1234/"') == "folder/m.gguf"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ('engine = "x"\nmodel = \n', "line 2", "docs/targets.md"),
        ('engine = "x"\nmodle = "m"\n', "unknown key 'modle'", "did you mean model?"),
        ('engine = "x"\nctx = 1\n', "unknown key 'ctx'", "under [options]"),
        ('model = "m"\n', "it has no engine", "docs/targets.md"),
        ("engine = 1\n", "Expected str, got int - at engine", "docs/targets.md"),
        ('engine = "x"\n[options]\nctx = [1]\n', "got array", "docs/targets.md"),
        ('engine = "x"\nurl = "127.0.0.1:8080"\n', "no address of a server", "http://host:port"),
        ('engine = "x"\nurl = "http://h#m"\n', "no address of a server", "in `model`"),
        ("engine = '\udcff'", "can't decode", "docs/targets.md"),
    ],
)
def test_a_file_that_cannot_be_used_is_explained(tmp_path: Path, text: str, message: str, hint: str) -> None:
    file = tmp_path / "bad.toml"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(TargetError) as caught:
        read_target(file)
    assert str(file) in str(caught.value)
    assert message in str(caught.value)
    assert hint in str(caught.value.hint)


_KEY = st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True)
_VALUE = st.booleans() | st.integers(-(2**40), 2**40) | st.from_regex(r"[a-z0-9 #.&=/-]{0,12}", fullmatch=True)


@given(st.dictionaries(_KEY, _VALUE))
def test_options_mean_the_same_in_a_file_and_on_the_command_line(options: dict[str, bool | int | str]) -> None:
    lines = [f"{key} = {msgspec.json.encode(value).decode()}" for key, value in options.items()]
    file = write(Path("made"), "t", "\n".join(['engine = "x"', "[options]", *lines]))
    typed = {
        key: ("on" if value else "off") if isinstance(value, bool) else str(value) for key, value in options.items()
    }
    assert read_target(file)[1] == Target("x", options=typed)


def test_a_text_is_a_target_a_name_or_a_file(own: Path) -> None:
    write(own, "mine", PLAIN + '[options]\nslots = 2\nreport = "none"\n')
    for text in ("scripted:words?slots=3", "llama-server:a/b.gguf", "openai:http://h:1#m"):
        assert resolve_target(text) == parse_target(text)
    mine = Target("scripted", options={"slots": "2", "report": "none"})
    assert resolve_target("mine") == resolve_target(str(own / "mine.toml")) == mine
    assert resolve_target("mine?slots=1&max_context=9").options == {"slots": "1", "report": "none", "max_context": "9"}
    with pytest.raises(TargetError, match="has no value"):
        resolve_target("mine?slots")


def test_each_place_is_searched(own: Path) -> None:
    write(own, "mine", PLAIN)
    write(Path("targets"), "here", PLAIN)
    assert {"mine", "here", "tiny"} <= {found.name for found in find_targets()}
    assert resolve_target("here") == resolve_target("mine") == Target("scripted")


def test_without_the_variable_it_is_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert places()[1] == tmp_path / ".config" / "dyno" / "targets"


def test_a_name_that_is_there_twice_is_an_error(own: Path) -> None:
    file = write(own, "tiny", PLAIN)
    with pytest.raises(TargetError, match="two targets are named tiny") as caught:
        resolve_target("tiny")
    assert str(file) in str(caught.value)
    assert str(BUNDLED / "tiny.toml") in str(caught.value)
    assert resolve_target(str(file)) == Target("scripted")
    twice = [found for found in find_targets() if found.name == "tiny"]
    assert [bool(found.fault) for found in twice] == [True, True]


def test_one_file_that_is_found_in_two_places_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BUNDLED.parent)
    assert resolve_target("tiny").engine == "llama-server"


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("tinny", "no target is named 'tinny'", "did you mean tiny?"),
        ("zzzzzz", "no target is named 'zzzzzz'", "`dyno targets` lists"),
        ("llama-server", "llama-server is an engine", "llama-server:model"),
        ("none.toml", "none.toml: No such file", "`dyno targets` lists"),
        ("model.gguf", "names no engine", "llama-server:model.gguf"),
        ("", "names no engine", "llama-server:model.gguf"),
    ],
)
def test_a_text_that_means_nothing_says_what_to_write(text: str, message: str, hint: str) -> None:
    with pytest.raises(TargetError) as caught:
        resolve_target(text)
    assert message in str(caught.value)
    assert hint in str(caught.value.hint)


def test_a_broken_file_stays_in_the_list(own: Path) -> None:
    write(own, "broken", "engine = \n")
    (broken,) = [found for found in find_targets() if found.name == "broken"]
    assert broken.target is None
    assert "line 1" in str(broken.fault)


def test_the_bundled_ones_are_described_and_their_models_are_there() -> None:
    for found in find_targets():
        assert found.fault is None
        assert found.description
        assert found.target is not None
        if found.target.model is not None:
            assert Path(found.target.model).is_file()
