"""A server's Prometheus counters as a second witness: what one request added to them, believed where it fits.

Counters are those of the whole server. They are read after each reply, never before one (that would be timed), so that
what they added since the last reading belongs to this request only if it added exactly its prompt.
"""

from __future__ import annotations

import re

import msgspec

from backends import wire
from backends.base import EngineError, Evidence
from backends.http_chat.chat import Said
from backends.http_chat.connection import Connection

_SAMPLE = re.compile(r"^(?P<name>[a-zA-Z_:][\w:]*)(?:\{(?P<labels>.*)\})?\s+(?P<value>\S+)(?:\s+-?\d+)?$")


def total(text: str, name: str) -> int | None:
    """The sum of a counter over its labels; `None` if the text does not have it."""
    found = [
        sample["value"] for line in text.splitlines() if (sample := _SAMPLE.match(line)) and sample["name"] == name
    ]
    try:
        return round(sum(float(value) for value in found)) if found else None
    except (ValueError, OverflowError):
        return None


def label(text: str, name: str, key: str) -> str | None:
    """The value of a label of a metric's first sample."""
    for line in text.splitlines():
        sample = _SAMPLE.match(line)
        if sample and sample["name"] == name:
            found = re.search(rf'\b{re.escape(key)}="([^"]*)"', sample["labels"] or "")
            return found[1] if found else None
    return None


class Counters:
    """The witness of a server that counts prompt tokens and cached ones, and may say the latter in its replies too.

    `flag` is what makes the server say them; without any word of it, the evidence tells to set it.
    """

    def __init__(self, connection: Connection, prompt: str, cached: str, flag: str) -> None:
        self._connection = connection
        self._prompt = prompt
        self._cached = cached
        self._flag = flag
        self._before = self._read()

    def __call__(self, said: Said) -> Evidence:
        """The reply's own counts, completed or contradicted by what the counters grew by."""
        evidence = wire.evidence_of(said.usage, said.timings)
        before, self._before = self._before, self._read()
        counted = _added(before, self._before, evidence.prompt_tokens)
        if counted is None:
            return evidence if evidence.cached_tokens is not None else _with_note(evidence, self._flag)
        if evidence.cached_tokens is None:
            usage = {**(said.usage or {}), "prompt_tokens_details": {"cached_tokens": counted}}
            found = wire.evidence_of(usage, said.timings)
            source = {**found.sources, "cached_tokens": f"metrics {self._cached}"}
            return _with_note(msgspec.structs.replace(found, sources=source), self._flag)
        if counted != evidence.cached_tokens and evidence.conflict is None:
            words = f"the reply says {evidence.cached_tokens} cached tokens, {self._cached} grew by {counted}"
            return msgspec.structs.replace(evidence, conflict=words)
        return evidence

    def _read(self) -> tuple[int | None, int | None]:
        try:
            text = self._connection.text("/metrics")
        except EngineError:
            return None, None
        return total(text, self._prompt), total(text, self._cached)


def _added(
    before: tuple[int | None, int | None], after: tuple[int | None, int | None], prompt: int | None
) -> int | None:
    """The cached tokens that were added, if the prompt that was added beside them is this request's."""
    if before[0] is None or before[1] is None or after[0] is None or after[1] is None or prompt is None:
        return None
    cached = after[1] - before[1]
    return cached if after[0] - before[0] == prompt and 0 <= cached <= prompt else None


def _with_note(evidence: Evidence, flag: str) -> Evidence:
    note = f"the reply says no cached tokens: none, or not told to; start the server with {flag}"
    return msgspec.structs.replace(evidence, log=(note,))
