"""In what steps chunks of tokens are evaluated, so that speed is kept and memory bounded. Pure arithmetic.

As llama-perplexity does, as many chunks as the engine's batch holds go side by side, each a sequence of its own. A step
gives no more logits than fit the bound: then fewer chunks go together, and one that is too large alone is cut into
several steps that continue each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

MOST_BYTES = 256 * 2**20
"""Logits of one step, where the caller sets no bound: 436 rows of a vocabulary of 150,000."""


class Step(msgspec.Struct, frozen=True):
    """Evaluate the tokens `start` to `stop` of these chunks; the last `rows` of each give logits."""

    chunks: tuple[int, ...]
    start: int
    stop: int
    rows: int


def steps(
    lengths: Sequence[int],
    first: int,
    *,
    row_bytes: int,
    batch: int,
    together: int | None = None,
    block_bytes: int | None = None,
) -> Iterator[Step]:
    """The steps for chunks of these lengths, in the order in which their logits are to be given.

    `first` is the position from which on logits are wanted, `batch` the tokens that the engine takes at once. Only
    chunks of one length go side by side, `together` at most. Without `block_bytes` every chunk is one step.
    """
    most_rows = max(1, (block_bytes or MOST_BYTES) // row_bytes)
    at = 0
    while at < len(lengths):
        length = lengths[at]
        rows = length - first
        if block_bytes is not None and rows > most_rows:
            yield from _cut(at, length, first, most_rows)
            at += 1
            continue
        room = min(batch // length, most_rows // rows, together or len(lengths))
        end = at + 1
        while end < len(lengths) and end - at < room and lengths[end] == length:
            end += 1
        yield Step(tuple(range(at, end)), 0, length, rows)
        at = end


def _cut(chunk: int, length: int, first: int, most_rows: int) -> Iterator[Step]:
    """One chunk in several steps, the first of which has everything that gives no logits."""
    start = 0
    stop = min(first + most_rows, length)
    while start < length:
        yield Step((chunk,), start, stop, stop - max(start, first))
        start, stop = stop, min(stop + most_rows, length)
