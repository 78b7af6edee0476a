"""Bytes of a run's files: pieces that are whole or not there, and streams of blobs.

Knows no records beyond the header line that states a file's schema; decides no names and no folders.

    StoreError      cannot be written or read; `hint` says what to do next (exit code 3)

A file of blobs (`bodies.zst`, `prompts.zst`) decompresses to a header line like the others, then for each blob
`<u64 request_id><u64 length>` (little endian), the bytes and a CRC-32 of all that. Agents send their whole history
again with every request; a window of 64 MiB still holds the earlier ones, which makes them nearly free (200 bodies
growing to 520 KB, 52 MB in all: 0.25 MB on disk, 0.3 ms of CPU each). The long-distance matcher adds little to that, 5
to 10 % where bodies have megabytes. Memory: 72 MiB a file measured while writing (window and tables), the window alone
while reading.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Final, cast

import msgspec
import zstandard

from profiler.records import SCHEMA

_WINDOW_LOG: Final = 26
_BLOB_HEAD: Final = struct.Struct("<QQ")
_BLOB_SUM: Final = struct.Struct("<I")
_PIECE_BYTES: Final = 1 << 12
"""Read at once: repetitive bodies unpack to several hundred times as much."""

_ELSEWHERE: Final = "store runs in a folder that you may write to"
_COPY_AGAIN: Final = "copy it again; what was read so far is good"
_FREE: Final = "free some space, or store runs on another disk"
_HINTS: Final = {
    errno.ENOSPC: _FREE,
    errno.EDQUOT: _FREE,
    errno.EFBIG: "raise the file size limit (ulimit -f)",
    errno.EACCES: _ELSEWHERE,
    errno.EPERM: _ELSEWHERE,
    errno.EROFS: _ELSEWHERE,
    errno.EEXIST: "use another id: this one is taken, or a file stands in place of the folder",
    errno.ENOTDIR: "use another folder: a file stands where the folder should be",
    errno.ENOENT: "check the path",
}


class StoreError(Exception):
    """A run cannot be written or read; `hint` says what to do next."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class Header(msgspec.Struct, frozen=True):
    """First line of every file of records: the schema of what it holds, and its name."""

    schema: int
    holds: str

    def line(self) -> bytes:
        """The header as it stands in the file."""
        return msgspec.json.encode(self) + b"\n"


@contextlib.contextmanager
def renamed(doing: str) -> Generator[None]:
    """Foreign errors of the store become `StoreError` here and nowhere else."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{doing}: {error.strerror or error}", hint=_HINTS.get(error.errno or 0)) from error
    except zstandard.ZstdError as error:
        raise StoreError(f"{doing}: damaged ({error})", hint=_COPY_AGAIN) from error


def check_schema(schema: int, file: Path) -> None:
    """Raises StoreError if a newer dyno wrote `file`."""
    if schema > SCHEMA:
        message = f"{file} has schema {schema}, this dyno reads up to {SCHEMA}"
        raise StoreError(message, hint="update dyno to read this run")


def check_header(line: bytes, holds: str, file: Path) -> str | None:
    """What is wrong with the first line of `file`, if it is only unreadable.

    Raises:
        StoreError: it names a newer schema, or other records than `holds`.
    """
    try:
        header = msgspec.json.decode(line, type=Header)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return f"{file.name} line 1 is no header: {error}"
    check_schema(header.schema, file)
    if header.holds != holds:
        raise StoreError(f"{file} holds {header.holds}, not {holds}", hint="a file was renamed or replaced")
    return None


def encode(value: msgspec.Struct) -> bytes:
    """A record as JSON. Half a surrogate pair, which a model can emit and UTF-8 has not, becomes `?`."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return msgspec.json.encode(_encodable(msgspec.to_builtins(value)))


def write_whole(file: Path, data: bytes) -> None:
    """Write a file so that it is there in full or not at all."""
    partial = file.with_name(file.name + ".partial")
    with partial.open("wb") as out:
        out.write(data + b"\n")
        out.flush()
        os.fsync(out.fileno())
    partial.replace(file)


class Appender:
    """A new file that grows by whole pieces: what was written of a failed piece is cut off again."""

    def __init__(self, file: Path, first: bytes) -> None:
        self._fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o644)
        self._size_bytes = 0
        self.append(first)

    def append(self, piece: bytes) -> None:
        """Write one piece at the end. Raises OSError."""
        rest = memoryview(piece)
        try:
            # One write takes it all, except on a disk that fills up: there the next one raises the reason.
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except BaseException:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self._size_bytes)
            raise
        self._size_bytes += len(piece)

    def close(self) -> None:
        """Close the file."""
        os.close(self._fd)


class BlobWriter:
    """Writes a file of blobs. After a failed write file and compressor disagree, so it takes no more."""

    def __init__(self, file: Path, holds: str) -> None:
        self._name = file.name
        parameters = zstandard.ZstdCompressionParameters(compression_level=3, window_log=_WINDOW_LOG, enable_ldm=True)
        self._stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
        self._appender = Appender(file, self._compressed(Header(SCHEMA, holds).line()))
        self._whole = True

    def append(self, request_id: int, blob: bytes) -> None:
        """Compress and write one blob. Raises OSError, and StoreError after an earlier failure."""
        if not self._whole:
            raise StoreError(f"{self._name} ended at an earlier failed write", hint="start a new run")
        self._whole = False
        head = _BLOB_HEAD.pack(request_id, len(blob))
        checksum = _BLOB_SUM.pack(zlib.crc32(blob, zlib.crc32(head)))
        self._appender.append(self._compressed(head, blob, checksum))
        self._whole = True

    def close(self) -> None:
        """End the stream and close the file. Raises OSError."""
        try:
            if self._whole:
                self._appender.append(self._stream.flush(zstandard.COMPRESSOBJ_FLUSH_FINISH))
        finally:
            self._appender.close()

    def _compressed(self, *pieces: bytes) -> bytes:
        parts = [self._stream.compress(piece) for piece in pieces]
        return b"".join((*parts, self._stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)))


def blobs(file: Path, holds: str) -> Iterator[tuple[int, bytes]]:
    """The blobs in `file` as (request_id, blob), up to where the file is cut.

    Raises:
        OSError, zstandard.ZstdError: cannot be read; damaged rather than cut.
        StoreError: a newer schema, a blob with a wrong checksum.
    """
    with file.open("rb") as raw:
        # Not `stream_reader`: at the end of a cut file it keeps back what it has decompressed.
        stream = zstandard.ZstdDecompressor(max_window_size=1 << _WINDOW_LOG).decompressobj()
        held = bytearray()
        begun = False
        while piece := raw.read(_PIECE_BYTES):
            held += stream.decompress(piece)
            if not begun and b"\n" in held:
                begun = True
                header, _, rest = held.partition(b"\n")
                check_header(bytes(header), holds, file)
                held = rest
            while begun and (end := _end_of_blob(held)) is not None:
                framed = bytes(held[:end])
                del held[:end]
                yield _unframed(framed, file)


def _end_of_blob(held: bytearray) -> int | None:
    """Length of the first framed blob in `held`, `None` if it is not there in full."""
    if len(held) < _BLOB_HEAD.size:
        return None
    _, length = cast("tuple[int, int]", _BLOB_HEAD.unpack_from(held))
    end = _BLOB_HEAD.size + length + _BLOB_SUM.size
    return end if len(held) >= end else None


def _unframed(framed: bytes, file: Path) -> tuple[int, bytes]:
    content, checksum = framed[: -_BLOB_SUM.size], framed[-_BLOB_SUM.size :]
    if _BLOB_SUM.pack(zlib.crc32(content)) != checksum:
        raise StoreError(f"cannot read {file}: damaged (wrong checksum)", hint=_COPY_AGAIN)
    request_id, _ = cast("tuple[int, int]", _BLOB_HEAD.unpack_from(content))
    return request_id, content[_BLOB_HEAD.size :]


def _encodable(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        pairs = cast("dict[object, object]", value).items()
        return {_encodable(k): _encodable(v) for k, v in pairs}
    if isinstance(value, list | tuple):
        return [_encodable(v) for v in cast("list[object]", value)]
    return value
