"""vLLM's prefix cache: full blocks found by a chain of hashes, in a pool whose free blocks are given away oldest first.

From vLLM's V1 sources (`vllm/v1/core/kv_cache_manager.py`, `block_pool.py`, as of 2026): a hit is a run of full blocks
from the start of the prompt, never with its last token; blocks go back to the pool last block first, so that the tail
of a sequence is given away before its head; a block without a hash goes to the front. Not verified on the real program.

Not modelled: sliding windows and recurrent layers, whose groups of blocks have sizes and rules of their own,
offloading, preemption, speculative decoding, images, and requests that overlap.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from typing import Annotated

import msgspec

from backends.base import CacheKind
from profiler.ledger import TOKEN_BYTES
from profiler.policies.base import Predicted, Sent

__all__ = ["Options", "VllmPolicy", "open_policy"]

Count = Annotated[int, msgspec.Meta(ge=1)]


class Options(msgspec.Struct, frozen=True):
    """vLLM's settings that decide about the cache.

    `block_size` is in tokens; `blocks` is the number of GPU blocks that it names at its start (one of them is never
    used); unset: as many as are asked for. `ctx` is `--max-model-len`; `caching` is off with
    `--no-enable-prefix-caching`.
    """

    block_size: Count = 16
    blocks: Annotated[int, msgspec.Meta(ge=2)] | None = None
    caching: bool = True
    cache_kind: CacheKind = "full"
    ctx: Count | None = None


def open_policy(options: Options) -> VllmPolicy:
    """An empty pool under these settings."""
    return VllmPolicy(options)


class VllmPolicy:
    """The block pool of one vLLM process."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._pool = _Pool(None if options.blocks is None else options.blocks - 1)
        self._chains: dict[tuple[int, bytes], int] = {}

    def serve(self, sent: Sent) -> Predicted:
        """See `Policy.serve`."""
        total, size = len(sent.prompt), self._options.block_size
        if self._options.cache_kind != "full":
            return Predicted(None, f"vLLM's cache of {self._options.cache_kind} layers is not modelled")
        if self._options.ctx is not None and total >= self._options.ctx:
            return Predicted(None, f"refused: the prompt has {total} tokens, the context {self._options.ctx}")
        if not self._options.caching:
            return Predicted(0, "prefix caching is off")
        # The last generated token is sampled and never evaluated.
        held = sent.prompt + sent.generated[: max(0, len(sent.generated) - 1)]
        needed = -(-len(held) // size)
        if self._pool.capacity is not None and needed > self._pool.capacity:
            return Predicted(None, f"{needed} blocks are needed, the pool has {self._pool.capacity}")
        chain = self._chain(held)
        found = self._pool.run_of(chain[: (total - 1) // size])
        self._pool.use(found, chain, needed)
        cached = len(found) * size
        if not cached:
            return Predicted(0, "no full block at the start of the prompt is held")
        return Predicted(cached, f"the first {len(found)} full blocks of {size} tokens are held")

    def _chain(self, tokens: array[int]) -> list[int]:
        """A number for each full block, the same for equal blocks behind equal ones: a hash without collisions."""
        data, step = tokens.tobytes(), self._options.block_size * TOKEN_BYTES
        numbers: list[int] = []
        before = -1
        for end in range(step, len(data) + 1, step):
            before = self._chains.setdefault((before, data[end - step : end]), len(self._chains))
            numbers.append(before)
        return numbers


class _Pool:
    """`BlockPool`: blocks by number, which chain each holds, and the free ones in the order in which they go.

    Without a capacity, a block is made whenever none is free of a chain.
    """

    def __init__(self, capacity: int | None) -> None:
        self.capacity = capacity
        self._free: OrderedDict[int, None] = OrderedDict((block, None) for block in range(capacity or 0))
        self._made = capacity or 0
        self._chain_of: dict[int, int] = {}
        # Equal blocks are not merged: a last block that is evaluated again is held twice.
        self._blocks_of: dict[int, dict[int, None]] = {}

    def run_of(self, chain: list[int]) -> list[int]:
        """Blocks that hold the start of a chain, up to the first that none holds."""
        run: list[int] = []
        for number in chain:
            if not (blocks := self._blocks_of.get(number)):
                break
            run.append(next(iter(blocks)))
        return run

    def use(self, found: list[int], chain: list[int], needed: int) -> None:
        """Serve one sequence to its end: take the found blocks and new ones, note the full ones, free them all."""
        for block in found:
            del self._free[block]
        taken = found + [self._take() for _ in range(needed - len(found))]
        for block, number in list(zip(taken, chain, strict=False))[len(found) :]:
            self._chain_of[block] = number
            self._blocks_of.setdefault(number, {})[block] = None
        for block in reversed(taken):
            self._free[block] = None
            if block not in self._chain_of:
                self._free.move_to_end(block, last=False)

    def _take(self) -> int:
        """The next free block, without what it held."""
        if self.capacity is None and not (self._free and next(iter(self._free)) not in self._chain_of):
            self._made += 1
            return self._made
        block, _ = self._free.popitem(last=False)
        if (number := self._chain_of.pop(block, None)) is not None:
            del self._blocks_of[number][block]
        return block
