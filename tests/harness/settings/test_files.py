"""Settings as files: where they lie, what is wrong with one, and what the bundled ones are."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.personas import alignment, find_persona
from harness.settings import (
    Setting,
    SettingError,
    difference,
    find_setting,
    levers,
    list_settings,
    name_of,
    places,
    read_setting,
)
from harness.settings.files import BUNDLED
from harness.skills import select_skills
from harness.tasks.base import Harness


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder; the working directory is empty."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    folder = tmp_path / "config" / "dyno" / "harness"
    folder.mkdir(parents=True)
    return folder


def write(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_each_place_is_searched(own: Path) -> None:
    mine = write(own, "mine", '[task]\nscope = "open"\n')
    write(Path("harness-settings"), "here", "")
    assert find_setting("mine") == find_setting(str(mine))
    assert find_setting("mine").task.scope == "open"
    assert find_setting("here") == Setting()
    assert {"mine", "here", "focused"} <= {found.name for found in list_settings()}


def test_without_the_variable_it_is_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("XDG_CONFIG_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert places()[1] == tmp_path / ".config" / "dyno" / "harness"


def test_a_name_that_is_there_twice_is_an_error(own: Path) -> None:
    file = write(own, "focused", "")
    with pytest.raises(SettingError, match="two settings are named focused") as caught:
        find_setting("focused")
    assert str(file) in str(caught.value)
    assert find_setting(str(file)) == Setting()
    assert [bool(found.fault) for found in list_settings() if found.name == "focused"] == [True, True]


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [
        ("focussed", "no setting is named 'focussed'", "did you mean focused?"),
        ("zzzzz", "no setting is named 'zzzzz'", "bloated, broad, cache-hostile, focused, plain"),
        ("none.toml", "none.toml: No such file", "plain"),
    ],
)
def test_a_text_that_means_no_setting(name: str, message: str, hint: str) -> None:
    with pytest.raises(SettingError) as caught:
        find_setting(name)
    assert message in str(caught.value)
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize(("text", "message"), [("[task\n", "line 1"), ("x = '\udcff'", "can't decode")])
def test_a_file_that_is_no_toml(own: Path, text: str, message: str) -> None:
    file = own / "bad.toml"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(SettingError, match=message):
        read_setting(file)
    (bad,) = [found for found in list_settings() if found.name == "bad"]
    assert bad.setting is None
    assert message in str(bad.fault)


def test_what_a_setting_is_called() -> None:
    assert name_of("focused") == name_of("a/b/focused.toml") == "focused"


def test_the_bundled_ones_are_what_they_say() -> None:
    held = {found.name: found for found in list_settings()}
    assert set(held) == {"focused", "broad", "bloated", "cache-hostile", "plain"}
    for found in held.values():
        assert found.fault is None
        assert found.setting is not None
        assert found.setting.title
        assert select_skills(found.setting.skills, "debug").bytes <= found.setting.skills.bytes
        assert find_persona(found.setting.task.persona).name == found.setting.task.persona
        comments = [line for line in found.path.read_text().splitlines() if "#" in line]
        assert len(comments) >= 2, "each file says why its levels are there"
    focused = find_setting("focused")
    assert set(difference(focused, find_setting("bloated"))) == {"skills.bytes", "skills.kind"}
    assert set(difference(focused, find_setting("broad"))) == {
        "task.scope", "task.persona", "skills.bytes", "skills.kind", "tests.granularity",
    }  # fmt: skip
    assert set(difference(focused, find_setting("plain"))) == {"task.persona", "skills.bytes"}
    hostile = difference(focused, find_setting("cache-hostile"))
    assert {name.partition(".")[0] for name in hostile} == {"prompt", "thinking", "history"}
    assert alignment(find_persona(focused.task.persona), Harness()) == "aligned"
    assert alignment(find_persona(find_setting("broad").task.persona), Harness()) == "conflict"


def test_every_lever_is_in_the_document() -> None:
    document = (BUNDLED.parents[1] / "docs" / "settings.md").read_text(encoding="utf-8")
    for name in (*levers(Setting()), *(found.name for found in list_settings())):
        assert f"`{name}`" in document, f"docs/settings.md does not tell of {name}"
