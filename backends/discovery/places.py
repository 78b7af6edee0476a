"""Where programs keep their models: read from the environment and from their settings. Looks into no model.

A folder that is not there is left out; none of this needs a home folder. Sources: LM Studio's `settings.json`
(`downloadsFolder`), huggingface_hub's and Ollama's environment variables, llama.cpp's `fs_get_cache_directory`
(common/common.cpp). Their folders on macOS were not verified on a Mac.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec

__all__ = ["Keeper", "Place", "known_places"]

Keeper = Literal["given", "bundled", "LM Studio", "Hugging Face", "Ollama", "llama.cpp"]

_OLLAMA_SERVICE: Final = Path("usr/share/ollama/.ollama/models")
"""Where Ollama's own installer puts the models of the service on Linux."""


class Place(msgspec.Struct, frozen=True):
    """A folder with models, and whose it is."""

    keeper: Keeper
    path: Path


class _Settings(msgspec.Struct):
    downloadsFolder: str | None = None


def known_places(
    given: Iterable[Path] = (),
    *,
    environment: Mapping[str, str] = os.environ,
    home: Path | None = None,
    root: Path = Path("/"),
    platform: str = sys.platform,
) -> tuple[Place, ...]:
    """The folders that exist, each once; those that were given come first, whether they exist or not."""
    home = home or _home(environment)
    wanted = [Place("given", path) for path in given]
    found = [*_lm_studio(home), *_hugging_face(environment, home), *_ollama(environment, home, root)]
    found += _llama_cpp(environment, home, platform)
    known: dict[Path, Place] = {}
    for place in (*wanted, *found):
        if place.keeper == "given" or _is_folder(place.path):
            known.setdefault(_resolved(place.path), place)
    return tuple(known.values())


def _lm_studio(home: Path | None) -> list[Place]:
    if home is None:
        return []
    pointed = _text(home / ".lmstudio-home-pointer").strip()
    homes = [Path(line) for line in pointed.splitlines()[:1]] + [home / ".lmstudio", home / ".cache" / "lm-studio"]
    folders: list[Path] = []
    for place in homes:
        try:
            settings = msgspec.json.decode(_text(place / "settings.json") or "{}", type=_Settings)
        except msgspec.DecodeError:
            settings = _Settings()
        folders += [Path(settings.downloadsFolder)] if settings.downloadsFolder else []
        folders.append(place / "models")
    return [Place("LM Studio", folder) for folder in folders]


def _hugging_face(environment: Mapping[str, str], home: Path | None) -> list[Place]:
    named = [environment.get(name) for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE")]
    folders = [Path(name) for name in named if name]
    if top := environment.get("HF_HOME"):
        folders.append(Path(top) / "hub")
    elif cache := _cache(environment, home):
        folders.append(cache / "huggingface" / "hub")
    return [Place("Hugging Face", folder) for folder in folders]


def _ollama(environment: Mapping[str, str], home: Path | None, root: Path) -> list[Place]:
    named = environment.get("OLLAMA_MODELS")
    folders = [Path(named)] if named else []
    folders += [home / ".ollama" / "models"] if home else []
    return [Place("Ollama", folder) for folder in (*folders, root / _OLLAMA_SERVICE)]


def _llama_cpp(environment: Mapping[str, str], home: Path | None, platform: str) -> list[Place]:
    if named := environment.get("LLAMA_CACHE"):
        return [Place("llama.cpp", Path(named))]
    if platform == "darwin":
        return [Place("llama.cpp", home / "Library" / "Caches" / "llama.cpp")] if home else []
    cache = _cache(environment, home)
    return [Place("llama.cpp", cache / "llama.cpp")] if cache else []


def _cache(environment: Mapping[str, str], home: Path | None) -> Path | None:
    named = environment.get("XDG_CACHE_HOME")
    return Path(named) if named else home / ".cache" if home else None


def _home(environment: Mapping[str, str]) -> Path | None:
    """The home folder; `None` for a user who has none, as in many containers."""
    if named := environment.get("HOME"):
        return Path(named)
    try:
        return Path.home()
    except RuntimeError:
        return None


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):
        return path


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except (OSError, ValueError):
        return ""
