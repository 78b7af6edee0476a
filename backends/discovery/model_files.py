"""Find the models on this machine's disks: GGUF files, folders of safetensors weights, and Ollama's named blobs.

Each file counts once, by its device and inode: Hugging Face's snapshots are links into one store, and places overlap.
The walk is bounded in entries and the reading of headers in time, so that a disk with thousands of models, or a folder
given by mistake, costs seconds. What was left out is said.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec

from backends.discovery.places import Keeper, Place
from backends.discovery.weights import NOT_READ, FoundModel, describe_folder, describe_gguf
from backends.gguf_header import part_of

__all__ = ["FoundModel", "Search", "Searched", "find_models"]

MOST_ENTRIES: Final = 100_000
MOST_DEPTH: Final = 12
BUDGET_NS: Final = 4_000_000_000
_MODEL_LAYER: Final = "application/vnd.ollama.image.model"
_REGISTRY: Final = "registry.ollama.ai"
_OWNER: Final = "library"

FileKey = tuple[int, int]


class Searched(msgspec.Struct, frozen=True):
    """A folder that was looked at, and how many models were found there first."""

    keeper: Keeper
    path: str
    models: int


class Search(msgspec.Struct, frozen=True):
    """The models that were found, where was looked, and what could not be looked at, in words."""

    models: tuple[FoundModel, ...]
    places: tuple[Searched, ...]
    notes: tuple[str, ...] = ()


class _Layer(msgspec.Struct):
    mediaType: str = ""
    digest: str = ""


class _Manifest(msgspec.Struct):
    layers: list[_Layer] = []


class _File(msgspec.Struct, frozen=True):
    path: Path
    size_bytes: int
    key: FileKey


def find_models(
    places: Iterable[Place],
    *,
    clock: Callable[[], int],
    budget_ns: int = BUDGET_NS,
    most_entries: int = MOST_ENTRIES,
) -> Search:
    """All models in `places`, the largest first in each; headers are read until `budget_ns` of `clock` are over."""
    end = clock() + budget_ns
    looked: list[Searched] = []
    seen: set[FileKey] = set()
    found: list[FoundModel] = []
    notes: list[str] = []
    for place in places:
        walk = _Walk(most_entries)
        files = list(walk.files(place.path))
        notes += walk.notes(place.path)
        fresh = [file for file in files if file.key not in seen]
        describe = _ollama_models if _is_ollamas(place) else _models
        described = list(describe(place, fresh, lambda: clock() < end))
        seen |= {file.key for file in fresh}
        looked.append(Searched(place.keeper, str(place.path), len(described)))
        found += sorted(described, key=lambda model: (-model.size_bytes, model.name))
    unread = sum(model.fault == NOT_READ for model in found)
    if unread:
        notes.append(f"the headers of {unread} models were not read: that would take more than {budget_ns // 10**9} s")
    return Search(tuple(found), tuple(looked), tuple(notes))


class _Walk:
    """The files below a folder, links followed once, at most so many entries; `notes` say what was not looked at."""

    def __init__(self, most_entries: int) -> None:
        self._left = most_entries
        self._folders: set[FileKey] = set()
        self._unreadable: list[str] = []
        self._cut = False

    def notes(self, top: Path) -> Iterator[str]:
        if self._unreadable:
            more = len(self._unreadable) - 1
            yield f"not looked at: {self._unreadable[0]}" + (f", and {more} more below {top}" if more else "")
        if self._cut:
            yield f"{top} has too many entries: not all of it was looked at"

    def files(self, top: Path) -> Iterator[_File]:
        pending = [(str(top), 0)]
        while pending:
            folder, depth = pending.pop()
            for entry in self._listed(folder):
                if _is_folder(entry):
                    if depth < MOST_DEPTH:
                        pending.append((entry.path, depth + 1))
                elif (file := _file(entry)) is not None:
                    yield file

    def _listed(self, folder: str) -> list[os.DirEntry[str]]:
        """The entries of a folder, none of one that was listed before."""
        try:
            status = Path(folder).stat()
            if (key := (status.st_dev, status.st_ino)) in self._folders:
                return []
            self._folders.add(key)
            with os.scandir(folder) as entries:
                listed = list(islice(entries, self._left + 1))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            self._unreadable.append(f"{folder} ({reason})")
            return []
        self._cut = self._cut or len(listed) > self._left
        listed = listed[: self._left]
        self._left -= len(listed)
        return sorted(listed, key=lambda entry: entry.name)


def _models(place: Place, files: list[_File], has_time: Callable[[], bool]) -> Iterator[FoundModel]:
    """GGUF models, parts put together, and the folders with a config and weights."""
    names = {file.path for file in files}
    done: set[FileKey] = set()
    split: dict[tuple[Path, str, int], dict[int, tuple[Path, int]]] = {}
    folders: dict[Path, dict[Path, int]] = {}
    for file in files:
        suffix = file.path.suffix.lower()
        if file.key in done or suffix not in (".gguf", ".safetensors"):
            continue
        done.add(file.key)
        part = part_of(file.path.name)
        if suffix == ".safetensors":
            if file.path.parent / "config.json" in names and file.path.name.startswith("model"):
                folders.setdefault(file.path.parent, {})[file.path] = file.size_bytes
        elif part is None:
            parts = {1: (file.path, file.size_bytes)}
            yield describe_gguf(parts, file.path.name, place.keeper, read=has_time())
        else:
            stem, number, count = part
            split.setdefault((file.path.parent, stem, count), {})[number] = (file.path, file.size_bytes)
    for (_, stem, _), parts in split.items():
        yield describe_gguf(parts, f"{stem}.gguf", place.keeper, read=has_time())
    for folder, weights in folders.items():
        yield describe_folder(folder, weights, _folder_name(folder, place), place.keeper, read=has_time())


def _ollama_models(place: Place, files: list[_File], has_time: Callable[[], bool]) -> Iterator[FoundModel]:
    """The models that Ollama's manifests name: `manifests/<host>/<owner>/<name>/<tag>`, their data in `blobs`.

    Several names of the same blob are one model under the first of them.
    """
    blobs = {file.path.name: file for file in files if file.path.parent.name == "blobs"}
    top = place.path / "manifests"
    done: set[str] = set()
    for file in files:
        if not file.path.is_relative_to(top):
            continue
        digest = _model_digest(file.path)
        if digest is None or digest in done:
            continue
        done.add(digest)
        name = _ollama_name(file.path.relative_to(top).parts)
        blob = blobs.get(digest.replace(":", "-"))
        if blob is None:
            yield FoundModel(name, "GGUF", place.keeper, str(file.path), 0, fault="its data (blob) is not here")
        else:
            yield describe_gguf({1: (blob.path, blob.size_bytes)}, name, place.keeper, read=has_time())


def _is_ollamas(place: Place) -> bool:
    return all((place.path / name).is_dir() for name in ("manifests", "blobs"))


def _ollama_name(parts: tuple[str, ...]) -> str:
    """`name:tag`, with host and owner where they are not Ollama's own."""
    *places, tag = parts
    if places[:1] == [_REGISTRY]:
        places = places[2:] if places[1:2] == [_OWNER] else places[1:]
    return f"{'/'.join(places)}:{tag}"


def _model_digest(file: Path) -> str | None:
    try:
        layers = msgspec.json.decode(file.read_bytes(), type=_Manifest).layers
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return next((layer.digest for layer in layers if layer.mediaType == _MODEL_LAYER), None)


def _folder_name(folder: Path, place: Place) -> str:
    """`owner/name`: from a Hugging Face store's `models--owner--name`, else the last two folders below the place."""
    for part in reversed(folder.parts):
        if part.startswith("models--"):
            return part.removeprefix("models--").replace("--", "/")
    below = folder.relative_to(place.path).parts[-2:]
    return "/".join(below) if below else folder.absolute().name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _file(entry: os.DirEntry[str]) -> _File | None:
    """A regular file, by what a link leads to; `None` for anything else, and for a link to nowhere."""
    try:
        status = entry.stat()
        return _File(Path(entry.path), status.st_size, (status.st_dev, status.st_ino)) if entry.is_file() else None
    except OSError:
        return None
