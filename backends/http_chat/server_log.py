"""What a server's log says of one request, for servers whose replies say too little. It knows no server by name.

The log is a file that the user names. It is read after a reply, from where it ended before the request was sent. Its
words are believed for a request only if they are about one prompt, and that prompt is as long as the reply says.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from backends.base import Evidence, TargetError

SOURCE = "engine_log"
"""The first word of the source of every figure that was read in a log; the line it was read in follows."""
WAIT_S = 0.3
"""A server writes its log beside its reply, and another program may carry the lines into the file."""
_PAUSE_S = 0.01

_CACHED = re.compile(r"\btask\s+(\d+)\s*\|\s*(?:cached )?n_tokens = (\d+), memory_seq_rm \[")
_EVALUATED = re.compile(r"\bprompt eval time =\s+[\d.]+ ms /\s+(\d+) tokens")
_DECODED = re.compile(r"(?<!prompt )\beval time =\s+[\d.]+ ms /\s+(\d+) (?:tokens|runs)")
_RELEASED = re.compile(r"\bstop processing: n_tokens = (\d+), truncated = 0")


class Statement(msgspec.Struct, frozen=True):
    """What lines of a log say of one prompt; `prompt_tokens` is `None` where they do not say how long it was."""

    line: str
    cached_tokens: int
    prompt_tokens: int | None


class LogFile:
    """A log file, read request by request."""

    def __init__(self, path: str, hint: str, *, pause: Callable[[float], None] = time.sleep) -> None:
        """Start at the end of the file.

        Raises:
            TargetError: it cannot be read; `hint` says which file is meant.
        """
        self._path = Path(path)
        self._hint = hint
        self._pause = pause
        self._read_to = 0
        self.skip()

    def skip(self) -> None:
        """Leave out what was logged so far; called before a request, it costs a few microseconds."""
        try:
            self._read_to = self._path.stat().st_size
        except OSError as error:
            raise self._unreadable(error) from error

    def news(self, enough: Callable[[str], object]) -> str:
        """The whole lines since the last reading, waiting up to `WAIT_S` until they are `enough`."""
        data = self._whole_lines()
        for _ in range(round(WAIT_S / _PAUSE_S)):
            if enough(data.decode("utf-8", "replace")):
                break
            self._pause(_PAUSE_S)
            data = self._whole_lines()
        self._read_to += len(data)
        return data.decode("utf-8", "replace")

    def _whole_lines(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                if self._path.stat().st_size < self._read_to:
                    # The server began its log anew.
                    self._read_to = 0
                file.seek(self._read_to)
                data = file.read()
        except OSError as error:
            raise self._unreadable(error) from error
        return data[: data.rfind(b"\n") + 1]

    def _unreadable(self, error: OSError) -> TargetError:
        return TargetError(f"log {self._path}: {error.strerror}", hint=self._hint)


def by_llama_server(text: str) -> tuple[Statement, ...]:
    """What llama-server's own lines say of the one request in them; nothing where there is not just one.

    At verbosity 4 it logs the cached tokens; the line repeats for every batch of a prompt, and the first of a task is
    the count. At its default, 3, they follow from the others: when it is done, its slot holds the prompt and all
    generated tokens but the last, which was sampled and not evaluated (verified with xllamacpp 2026.10 for replies
    that ended by themselves, at a stop text and at their limit).
    """
    evaluated = [int(count) for count in _EVALUATED.findall(text)]
    first: dict[str, int] = {}
    for task, cached in _CACHED.findall(text):
        first.setdefault(task, int(cached))
    if len(evaluated) != 1 or len(first) > 1:
        return ()
    if first:
        (cached,) = first.values()
        return (Statement("memory_seq_rm", cached, cached + evaluated[0]),)
    decoded, released = _DECODED.findall(text), _RELEASED.findall(text)
    if len(decoded) != 1 or len(released) != 1:
        return ()
    prompt = int(released[0]) + 1 - int(decoded[0])
    return (Statement("stop processing", prompt - evaluated[0], prompt),) if prompt >= evaluated[0] else ()


def completed(said: Evidence, statements: Iterable[Statement]) -> Evidence:
    """The evidence of a reply with the cached tokens that its log states.

    Statements of the same line are of several requests, of which none is taken. Statements that disagree with each
    other, or with the reply, are a conflict.
    """
    found = tuple(statements)
    prompt = said.prompt_tokens
    if prompt is None or said.conflict or not found or len({s.line for s in found}) < len(found):
        return said
    another = next((s for s in found if s.prompt_tokens not in (None, prompt)), None)
    if another is not None and said.cached_tokens is not None:
        # The reply says it itself: a line that came late, of an earlier request, is no reason to doubt it.
        return said
    conflict = _disagreement(said, found) if another is None else _of_another(another, prompt)
    if conflict is not None:
        return msgspec.structs.replace(said, conflict=conflict)
    return said if said.cached_tokens is not None else _with_cached(said, found[0], prompt)


def _with_cached(said: Evidence, stated: Statement, prompt_tokens: int) -> Evidence:
    sources = {"cached_tokens": f"{SOURCE}: {stated.line}", "evaluated_tokens": "prompt_tokens - cached_tokens"}
    return msgspec.structs.replace(
        said,
        cached_tokens=stated.cached_tokens,
        evaluated_tokens=prompt_tokens - stated.cached_tokens,
        sources={**said.sources, **sources},
    )


def _of_another(stated: Statement, prompt_tokens: int) -> str:
    return f"the log («{stated.line}») is about a prompt of {stated.prompt_tokens} tokens, the reply of {prompt_tokens}"


def _disagreement(said: Evidence, found: tuple[Statement, ...]) -> str | None:
    counts = {s.line: s.cached_tokens for s in found}
    if said.cached_tokens is not None:
        counts["the reply"] = said.cached_tokens
    if len(set(counts.values())) > 1 or max(counts.values()) > (said.prompt_tokens or 0):
        listed = ", ".join(f"{count} by «{line}»" for line, count in counts.items())
        return f"the cached tokens contradict each other, or the prompt of {said.prompt_tokens}: {listed}"
    return None
