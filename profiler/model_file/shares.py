"""What share of a model each type has. Arithmetic only."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from profiler.model_file.base import TypeShare

LEAST_SHARE: Final = 0.5
"""A label is true if what it names holds so much of the weights that it speaks of."""


def type_shares(rows: Iterable[tuple[str, int, int]]) -> tuple[TypeShare, ...]:
    """Shares by type, the largest in bytes first, of (type, parameters, bytes) of each tensor."""
    sums: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
    for name, parameters, size in rows:
        held = sums[name]
        held[0] += 1
        held[1] += parameters
        held[2] += size
    shares = [TypeShare(name, *held) for name, held in sums.items()]
    return tuple(sorted(shares, key=lambda share: (-share.bytes, share.type)))
