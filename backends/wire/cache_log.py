"""The lines of a llama-server log that bear on its cache. Which cause they are evidence for is judged elsewhere."""

from __future__ import annotations

import re

_SLOT = r"id\s+(?P<slot>\d+)\s*\|\s*task\s+(?P<task>-?\d+)\s*\|\s*"
_SLOT_LINE = re.compile(_SLOT)
_CACHE_LINE = re.compile(
    r"selected slot by|checking sim = |memory_seq_rm \[|kv cache rm \[|forcing full prompt re-processing"
    r"|context checkpoint|clearing cache for lora|slot context shift|saving prompt with length|prompt cache entry"
    r"|cache size limit|cache token limit|looking for better prompt|prompt with length|found better prompt"
    r"|purging slot|failed to load prompt from cache|failed to restore state|truncated = 1"
    r"|clearing slot|clearing prompt with [1-9]"
)
_OF_THE_SERVER = re.compile(r".*?\bsrv\s+\S+\s+(?:- )?\s*")
_REPEATED = re.compile(r"memory_seq_rm \[|kv cache rm \[")
LOG_LINES_KEPT = 64


def cache_log(text: str) -> tuple[tuple[str, ...], int | None]:
    """The lines of a llama-server log (verbosity 4) that bear on its cache, and the slot that served the last task.

    Keyed on `id N | task N |` alone, since prefixes and function names differ between versions and launchers. How much
    was cached is logged again for every batch of a prompt; the first time of a task is the count, and alone is kept.
    """
    kept: list[str] = []
    slot: int | None = None
    counted: set[str] = set()
    for line in text.splitlines():
        found = _SLOT_LINE.search(line)
        if found is not None and int(found["task"]) >= 0:
            slot = int(found["slot"])
        if not _CACHE_LINE.search(line):
            continue
        if found is not None and _REPEATED.search(line):
            if found["task"] in counted:
                continue
            counted.add(found["task"])
        kept.append(line[found.start() :] if found is not None else _OF_THE_SERVER.sub("", line, count=1).strip())
    return tuple(kept[:LOG_LINES_KEPT]), slot
