"""Searches files for a regular expression; a program of its own, so that a search can be ended. Needs only Python.

Reads its order as JSON on standard input: `root`, `place` below it, `pattern`, folders to leave out (`ignored`),
`largest_bytes` of a file. Writes `file:line: text`, at most `MOST_LINES`; exit code 2 and a line for a wrong pattern.
"""

import json
import os
import re
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

MOST_LINES = 200
LONGEST_LINE_CHARACTERS = 300


def found(root: str, place: str, pattern: str, ignored: list[str], largest_bytes: int) -> Iterator[str]:
    """Matching lines, file by file in order of their names. Links are not followed; files that are no text are left
    out.
    """
    wanted = re.compile(pattern)
    for path in sorted(_files(place, ignored)):
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode) or status.st_size > largest_bytes:
            continue
        content = Path(path).read_bytes()
        if b"\0" in content[:1024]:
            continue
        name = os.path.relpath(path, root)
        for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), 1):
            if wanted.search(line):
                yield f"{name}:{number}: {line[:LONGEST_LINE_CHARACTERS]}"


def _files(place: str, ignored: list[str]) -> Iterator[str]:
    if not Path(place).is_dir():
        yield place
    for folder, folders, names in os.walk(place):
        folders[:] = [name for name in folders if name not in ignored]
        yield from (os.path.join(folder, name) for name in names)  # noqa: PTH118


def main() -> int:
    """Search as ordered; the exit code."""
    order = json.load(sys.stdin)
    out = sys.stdout.buffer
    try:
        for count, line in enumerate(found(**order)):
            if count == MOST_LINES:
                out.write(b"(more matches are left out; search for less)\n")
                break
            out.write(f"{line}\n".encode("utf-8", "replace"))
    except re.error as error:
        out.write(f"wrong expression: {error}\n".encode())
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
