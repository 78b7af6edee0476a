"""Files of records, one a line: how a new one begins, and how one is read that may be cut off. Decides no names."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import msgspec

from profiler.records import SCHEMA
from profiler.run_files import Appender, Header, check_header

__all__ = ["new_lines", "read_lines"]

T = TypeVar("T")


def new_lines(file: Path, record: type[Any]) -> Appender:
    """A new file for records of this type. Raises OSError."""
    return Appender(file, Header(SCHEMA, record.__name__).line())


def read_lines(file: Path, record: type[T]) -> tuple[tuple[T, ...], tuple[str, ...]]:
    """The records of a file, and what is wrong with it: a torn or unreadable line costs its record alone.

    Raises:
        StoreError: a newer dyno wrote it, or it holds other records.
        OSError: it cannot be read.
    """
    if not file.is_file():
        return (), (f"{file.name} is missing",)
    header, *lines = file.read_bytes().split(b"\n")
    fault = check_header(header, record.__name__, file)
    notes = [fault] if fault else []
    decoder = msgspec.json.Decoder(record)
    records: list[T] = []
    for number, line in enumerate(lines, start=2):
        last = number == len(lines) + 1
        if last and not line:
            continue
        try:
            records.append(decoder.decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            what = "is torn" if last else "cannot be read"
            notes.append(f"{file.name} line {number} {what}, its record is lost: {error}")
    return tuple(records), tuple(notes)
