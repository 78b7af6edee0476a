"""Attempts to take more disk or memory than allowed. Standard library only: this runs inside."""

from __future__ import annotations

import os
import time
from pathlib import Path

from harness.sandbox.intruder.attempt import Scene


def large_file(scene: Scene) -> str:
    """A file that is larger than allowed."""
    with open("large", "wb") as file:
        written = 0
        while written <= scene["file_bytes"]:
            written += file.write(bytes(1 << 20))
            file.flush()
    return f"wrote {written} bytes"


def fill_disk(scene: Scene) -> str:
    """Many files that are together larger than allowed."""
    Path("many").mkdir()
    for number in range(scene["files"]):
        Path("many", str(number)).write_bytes(bytes(scene["file_bytes"] // 2))
    time.sleep(2)
    return f"wrote {scene['files']} files"


def take_memory(scene: Scene) -> str:
    """More memory than allowed."""
    try:
        block = bytearray(2 * scene["memory_bytes"])
    except MemoryError:
        raise OSError(12, os.strerror(12)) from None
    return f"has {len(block)} bytes"
