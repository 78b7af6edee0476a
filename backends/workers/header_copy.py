"""A model file that holds no more than its header, made as long as it ought to be: a sparse copy, without data.

Enough for a plan (`Planner`), and of no use for anything else. A complete file is given back as it is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from backends.base import ModelFileError
from backends.gguf_header import GgufHeader, part_paths, read_header

__all__ = ["plannable_file"]

_MOST_HEADER_BYTES: Final = 256 << 20
_LONGEST_MODEL_BYTES: Final = 1 << 43
"""Longer than any model, and shorter than the longest file of a common file system (ext4: 16 TiB)."""
_ALIGNMENT_BYTES: Final = 32
_BLOCK_BYTES: Final = 1 << 20


def plannable_file(model: str, folder: Path) -> Path:
    """The model itself, or a copy of its header (of all parts' headers) in `folder`, which must be there and be empty.

    Raises:
        ModelFileError: no file, no GGUF, a header that is itself cut short, or a part that is missing; or there is no
        room for the copy.
    """
    parts = part_paths(Path(model).absolute())
    incomplete = [part for part in parts if not _is_complete(part)]
    if not incomplete:
        return parts[0]
    try:
        for part in parts:
            copied = folder / part.name
            if part in incomplete:
                _copy_header(part, copied)
            else:
                copied.symlink_to(part)
    except OSError as error:
        raise ModelFileError(
            f"the header of {model} could not be copied: {error}", hint="set TMPDIR to a disk with sparse files"
        ) from error
    return folder / parts[0].name


def _is_complete(model: Path) -> bool:
    """Whether a file holds all its tensors; only what is there in part is let through as incomplete."""
    try:
        read_header(model)
    except ModelFileError:
        if not model.is_file() or not model.stat().st_size:
            raise
        return False
    return True


def _copy_header(model: Path, copy: Path) -> None:
    with model.open("rb") as source, copy.open("wb") as sink:
        left = _MOST_HEADER_BYTES
        while left and (block := source.read(min(left, _BLOCK_BYTES))):
            left -= sink.write(block)
        held = sink.tell()
        sink.truncate(_LONGEST_MODEL_BYTES)
    try:
        header = read_header(copy)
    except ModelFileError:
        header = None
    if header is None or header.data_start_bytes > held + _ALIGNMENT_BYTES:
        copy.unlink()
        # The error names the user's own file.
        read_header(model)
        raise ModelFileError(f"the header of {model} is not whole", hint="download the file again")
    with copy.open("r+b") as sink:
        sink.truncate(min(held, header.data_start_bytes))
        sink.truncate(_whole_bytes(header))


def _whole_bytes(header: GgufHeader) -> int:
    ends = [tensor.offset_bytes + (tensor.size_bytes or 0) for tensor in header.tensors]
    return header.data_start_bytes + -(-max(ends, default=0) // _ALIGNMENT_BYTES) * _ALIGNMENT_BYTES
