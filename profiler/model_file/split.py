"""The parts of a split GGUF model: all there, of one model, and read. Reads headers only.

llama.cpp's `gguf-split` writes `m-00001-of-00003.gguf`; the first part has the values, each part a tensor table, and
`split.count` and `split.tensors.count` say what belongs together.
"""

from __future__ import annotations

from pathlib import Path

from backends.base import ModelFileError
from backends.gguf_header import GgufHeader, part_of, part_paths, read_header

MOST_PARTS = 4096


def read_parts(path: Path) -> tuple[tuple[Path, ...], tuple[GgufHeader, ...]]:
    """The paths of all parts and their headers, in order; one each for a whole model. `path` may be any part.

    Raises:
        ModelFileError: a part is missing (names it), damaged, cut short, or of another model.
    """
    split = part_of(path.name)
    if split is not None and not 0 < split[1] <= split[2] <= MOST_PARTS:
        raise ModelFileError(
            f"{path.name} cannot be part {split[1]} of {split[2]}", hint="correct the file's name: parts count from 1"
        )
    files = part_paths(path)
    missing = [file for file in files if not file.is_file()]
    if missing and len(files) > 1:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ModelFileError(
            f"split model {path}: part {missing[0].name}{more} of {len(files)} is missing",
            hint="download it into the same folder",
        )
    headers = tuple(read_header(file) for file in files)
    _check(files, headers)
    return files, headers


def _check(files: tuple[Path, ...], headers: tuple[GgufHeader, ...]) -> None:
    for number, (file, header) in enumerate(zip(files, headers, strict=True)):
        count, place = _number(header, "split.count"), _number(header, "split.no")
        if count not in (None, 0, len(files)):
            hint = "give the parts their names: …-00001-of-0000N.gguf"
            raise ModelFileError(f"{file} is one of {count} parts of a split model, by its header", hint=hint)
        if place not in (None, number):
            raise ModelFileError(
                f"{file} is part {place + 1} by its header, not {number + 1}", hint="download the parts again"
            )
    if len(files) == 1:
        return
    told, found = _number(headers[0], "split.tensors.count"), sum(len(header.tensors) for header in headers)
    names = {tensor.name for header in headers for tensor in header.tensors}
    if told not in (None, found) or len(names) != found:
        raise ModelFileError(
            f"split model {files[0]}: its parts have {len(names)} different tensors of {told or found}",
            hint="its parts are of different models: download them again",
        )


def _number(header: GgufHeader, key: str) -> int | None:
    value = header.values.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else None
