"""The log-probabilities of a reference on disk: compact, whole or not there, refused where they are of something else.

A file is a header line in JSON (`Header`), then for each block of rows `<u32 chunk><u32 rows><u64 bytes>` (little
endian) and a zstandard frame with a checksum, at last the same with chunk 2³²−1 and a `Footer` in JSON, by which a
file that was cut is known. A block holds the rows of one chunk as IEEE half-precision log-probabilities, all low bytes,
then all high bytes (the high ones repeat, the low ones are noise).

Half precision is 11 bits at every magnitude: the likely tokens, near 0, are kept finely, and unlikely ones reach down
to −65504 nats, where llama-perplexity ends at 16. Rows no longer sum to 1 exactly; `divergence` renormalises all that
it is given. What all this costs is measured for each file (`Footer.own_kld`).
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

import msgspec
import numpy as np
import zstandard
from numpy.typing import NDArray

from profiler.quality.divergence import Logits, score
from profiler.quality.errors import QualityError

# 1: the first.
SCHEMA: Final = 1
DTYPE: Final = "float16 log-probabilities"

_HEAD: Final = struct.Struct("<IIQ")
_END: Final = 2**32 - 1
_LEVEL: Final = 1
_LONGEST_HEADER: Final = 1 << 20
_CHECKED_CHUNKS: Final = 4
_FRAME_VALUES: Final = 1 << 23
_CACHED_VALUES: Final = 1 << 16
_WHOLE_UP_TO: Final = 64 * 2**20
_SAMPLES, _SAMPLE_BYTES = 64, 1 << 16


class Key(msgspec.Struct, frozen=True):
    """What a reference is of; one is used again only where all of it is the same.

    `model_sha256` is `digest`'s. `settings` are those that the engine has in force. `text_sha256` is of the tokens and
    of how they are cut (`Chunks.sha256`).
    """

    model: str | None
    model_bytes: int
    model_sha256: str
    engine: str
    build: str | None
    settings: dict[str, str]
    text_sha256: str
    chunks: int
    chunk_tokens: int
    scored_tokens: int

    @property
    def file_name(self) -> str:
        """A name that no other reference has."""
        return f"{hashlib.sha256(msgspec.json.encode(self, order='deterministic')).hexdigest()[:24]}.reference"


class Header(msgspec.Struct, frozen=True):
    """The first line of a file."""

    schema: int
    dtype: str
    vocabulary: int
    key: Key


class Footer(msgspec.Struct, frozen=True):
    """The end of a file: what keeping the reference in it costs, the mean KLD of the exact reference from its own file.

    It is measured on the first `own_chunks` chunks. A candidate's KLD is not known more finely than that.
    """

    own_kld: float
    own_chunks: int


class Reference:
    """A file that was read or written: its header, footer, and the rows of each chunk."""

    def __init__(self, file: Path) -> None:
        """Open a file and look through its blocks.

        Raises:
            QualityError: it cannot be read, is no reference, is cut, or a newer dyno wrote it.
        """
        self.file = file
        try:
            with file.open("rb") as opened:
                self.header, self.footer, self._places = _index(opened, file)
        except OSError as error:
            raise QualityError(f"the reference {file} cannot be read: {error}", hint=_AGAIN) from error

    def blocks(self, chunk: int) -> Iterator[Logits]:
        """The log-probabilities of a chunk's scored tokens, in blocks of (rows, vocabulary).

        Raises:
            QualityError: the file is damaged.
        """
        with self.file.open("rb") as opened:
            for rows, at, size in self._places[chunk]:
                opened.seek(at)
                yield self._rows(opened.read(size), rows)

    def _rows(self, frame: bytes, rows: int) -> Logits:
        count = rows * self.header.vocabulary
        try:
            # Asked before anything is unpacked: a damaged size could be any.
            size = zstandard.frame_content_size(frame)
            data = zstandard.ZstdDecompressor().decompress(frame) if size == 2 * count else b""
        except zstandard.ZstdError as error:
            raise QualityError(f"the reference {self.file} is damaged: {error}", hint=_AGAIN) from error
        if len(data) != 2 * count:
            raise QualityError(f"the reference {self.file} is damaged: a block has {size} bytes", hint=_AGAIN)
        octets = np.empty(2 * count, np.uint8)
        octets[0::2], octets[1::2] = np.frombuffer(data, np.uint8).reshape(2, count)
        return octets.view("<f2").reshape(rows, self.header.vocabulary).astype(np.float32)


def write(file: Path, key: Key, blocks: Iterable[tuple[int, Logits]]) -> Reference:
    """Write (chunk, rows of logits) as they come, each chunk's in order; the file is there only once it is whole.

    Raises:
        QualityError: it cannot be written; or no rows came.
    """
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
    own: list[NDArray[np.float64]] = []
    begun = False
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as out:
            for chunk, logits in blocks:
                if not begun:
                    out.write(msgspec.json.encode(Header(SCHEMA, DTYPE, logits.shape[1], key)) + b"\n")
                    begun = True
                for block in _pieces(logits, _FRAME_VALUES):
                    halves = _halves(block)
                    frame = compressor.compress(_planes(halves))
                    out.write(_HEAD.pack(chunk, len(block), len(frame)) + frame)
                    if chunk < _CHECKED_CHUNKS:
                        anything = np.zeros(len(block), np.int64)
                        own.append(score(halves.astype(np.float32), block, anything).kld)
            if not begun:
                raise QualityError("the reference gave no logits", hint="report this")
            footer = Footer(float(np.concatenate(own).mean()), min(key.chunks, _CHECKED_CHUNKS))
            ending = msgspec.json.encode(footer)
            out.write(_HEAD.pack(_END, 0, len(ending)) + ending)
        partial.replace(file)
    except OSError as error:
        raise QualityError(f"the reference {file} cannot be written: {error}", hint="free some space") from error
    finally:
        partial.unlink(missing_ok=True)
    return Reference(file)


def kept(folder: Path, key: Key) -> Reference | None:
    """The reference with this key, if it was written before and is whole; a damaged one counts as none."""
    file = folder / key.file_name
    if not file.is_file():
        return None
    try:
        reference = Reference(file)
    except QualityError:
        return None
    return reference if reference.header.key == key else None


def digest(files: Sequence[Path]) -> tuple[int, str]:
    """Bytes of a model's files together, and a digest that tells it from another one without reading all of it.

    Of a file up to 64 MiB everything counts; of a larger one its size, its first and last MiB, and 64 pieces of 64 KiB
    between: other weights differ in all of them.

    Raises:
        QualityError: a file cannot be read.
    """
    total = 0
    hashed = hashlib.sha256()
    try:
        for file in files:
            size = file.stat().st_size
            total += size
            hashed.update(f"{size}\n".encode())
            with file.open("rb") as opened:
                for at, length in _sampled(size):
                    opened.seek(at)
                    hashed.update(opened.read(length))
    except OSError as error:
        raise QualityError(f"the model cannot be read: {error}", hint="check the path") from error
    return total, hashed.hexdigest()


_AGAIN = "delete it: it is made again when it is needed"


def _halves(logits: Logits) -> NDArray[np.float16]:
    """Log-probabilities in half precision."""
    return np.concatenate([_rounded(piece) for piece in _pieces(logits, _CACHED_VALUES)])


def _rounded(logits: Logits) -> NDArray[np.float16]:
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    wide -= np.log(np.exp(wide).sum(axis=1, keepdims=True))
    with np.errstate(over="ignore"):
        return wide.astype(np.float32).astype("<f2")


def _planes(halves: NDArray[np.float16]) -> memoryview[int]:
    """All low bytes, then all high bytes."""
    octets = halves.reshape(-1).view(np.uint8)
    return np.concatenate([octets[0::2], octets[1::2]]).data


def _pieces(logits: Logits, values: int) -> Iterator[Logits]:
    """The rows in pieces of about so many values."""
    rows = max(1, values // logits.shape[1])
    return (logits[at : at + rows] for at in range(0, len(logits), rows))


def _sampled(size: int) -> Iterator[tuple[int, int]]:
    if size <= _WHOLE_UP_TO:
        yield 0, size
        return
    yield 0, 1 << 20
    for piece in range(_SAMPLES):
        yield size * (piece + 1) // (_SAMPLES + 2), _SAMPLE_BYTES
    yield size - (1 << 20), 1 << 20


Places = tuple[tuple[tuple[int, int, int], ...], ...]
"""Of each chunk its blocks: rows, place and size of the frame in bytes."""


def _index(opened: BinaryIO, file: Path) -> tuple[Header, Footer, Places]:
    """Header, footer and where the blocks lie. Raises `QualityError`."""
    try:
        header = msgspec.json.decode(opened.readline(_LONGEST_HEADER), type=Header)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise QualityError(f"{file} is no reference: {error}", hint=_AGAIN) from error
    if header.schema > SCHEMA or header.dtype != DTYPE:
        raise QualityError(f"{file} was written by a newer dyno", hint="update dyno, or delete the file")
    file_bytes = os.fstat(opened.fileno()).st_size
    places: list[list[tuple[int, int, int]]] = [[] for _ in range(header.key.chunks)]
    while len(head := opened.read(_HEAD.size)) == _HEAD.size:
        chunk, rows, size = (int(number) for number in _HEAD.unpack(head))
        if size > file_bytes:
            break
        if chunk == _END:
            return header, _footer(opened.read(size), file), tuple(tuple(of_chunk) for of_chunk in places)
        if chunk >= len(places):
            break
        places[chunk].append((rows, opened.tell(), size))
        opened.seek(size, os.SEEK_CUR)
    raise QualityError(f"the reference {file} is cut or damaged", hint=_AGAIN)


def _footer(data: bytes, file: Path) -> Footer:
    try:
        return msgspec.json.decode(data, type=Footer)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise QualityError(f"the reference {file} is cut or damaged: {error}", hint=_AGAIN) from error
