"""Where models are looked for: by environment, by settings, by default; folders that are missing are left out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backends.discovery.places import Place, known_places


def made(*folders: Path) -> None:
    for folder in folders:
        folder.mkdir(parents=True)


def found(tmp_path: Path, platform: str = "linux", **environment: str) -> list[tuple[str, str]]:
    places = known_places(environment=environment, home=tmp_path / "home", root=tmp_path, platform=platform)
    return [(place.keeper, place.path.relative_to(tmp_path).as_posix()) for place in places]


def test_nothing_is_there(tmp_path: Path) -> None:
    assert found(tmp_path) == []


def test_the_usual_folders(tmp_path: Path) -> None:
    home = tmp_path / "home"
    made(home / ".lmstudio/models", home / ".cache/lm-studio/models", home / ".cache/huggingface/hub")
    made(home / ".ollama/models", tmp_path / "usr/share/ollama/.ollama/models", home / ".cache/llama.cpp")
    assert found(tmp_path) == [
        ("LM Studio", "home/.lmstudio/models"),
        ("LM Studio", "home/.cache/lm-studio/models"),
        ("Hugging Face", "home/.cache/huggingface/hub"),
        ("Ollama", "home/.ollama/models"),
        ("Ollama", "usr/share/ollama/.ollama/models"),
        ("llama.cpp", "home/.cache/llama.cpp"),
    ]


def test_macos_keeps_caches_elsewhere(tmp_path: Path) -> None:
    made(tmp_path / "home/Library/Caches/llama.cpp", tmp_path / "home/.cache/llama.cpp")
    assert found(tmp_path, "darwin") == [("llama.cpp", "home/Library/Caches/llama.cpp")]


@pytest.mark.parametrize(
    ("name", "below", "keeper"),
    [
        ("HF_HUB_CACHE", "", "Hugging Face"),
        ("HUGGINGFACE_HUB_CACHE", "", "Hugging Face"),
        ("HF_HOME", "hub", "Hugging Face"),
        ("XDG_CACHE_HOME", "huggingface/hub", "Hugging Face"),
        ("XDG_CACHE_HOME", "llama.cpp", "llama.cpp"),
        ("OLLAMA_MODELS", "", "Ollama"),
        ("LLAMA_CACHE", "", "llama.cpp"),
    ],
)
def test_the_environment_names_a_folder(tmp_path: Path, name: str, below: str, keeper: str) -> None:
    made(tmp_path / "elsewhere" / below)
    folder = f"elsewhere/{below}".rstrip("/")
    assert found(tmp_path, **{name: str(tmp_path / "elsewhere")}) == [(keeper, folder)]


def test_lm_studio_names_its_folders_itself(tmp_path: Path) -> None:
    home, moved, downloads = tmp_path / "home", tmp_path / "moved", tmp_path / "downloads"
    made(home, moved / "models", downloads)
    (home / ".lmstudio-home-pointer").write_text(f"{moved}\n")
    (moved / "settings.json").write_text(json.dumps({"downloadsFolder": str(downloads), "theme": "dark"}))
    assert found(tmp_path) == [("LM Studio", "downloads"), ("LM Studio", "moved/models")]


@pytest.mark.parametrize("settings", ["", "{", '{"downloadsFolder": 3}', "[]"])
def test_settings_that_cannot_be_read_are_passed_over(tmp_path: Path, settings: str) -> None:
    made(tmp_path / "home/.lmstudio/models")
    (tmp_path / "home/.lmstudio/settings.json").write_text(settings)
    assert found(tmp_path) == [("LM Studio", "home/.lmstudio/models")]


def test_no_home_is_fine(tmp_path: Path) -> None:
    places = known_places(environment={"HOME": ""}, root=tmp_path, platform="linux")
    assert all(place.path.is_dir() for place in places)


def test_a_folder_is_named_once_and_a_given_one_always(tmp_path: Path) -> None:
    made(tmp_path / "home/.lmstudio/models")
    (tmp_path / "link").symlink_to(tmp_path / "home/.lmstudio/models")
    given = [tmp_path / "link", tmp_path / "missing"]
    places = known_places(given, environment={}, home=tmp_path / "home", root=tmp_path, platform="linux")
    assert places == (Place("given", tmp_path / "link"), Place("given", tmp_path / "missing"))
