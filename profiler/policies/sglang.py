"""SGLang's radix cache: a tree of token sequences in pages, whose least recently used leaves are given up.

From SGLang's sources (`sglang/srt/mem_cache/radix_cache.py`, `common.py`, `managers/schedule_batch.py`, as of 2026): a
prompt without its last token is matched page by page; what was evaluated is put into the tree, the reply too when it is
done; memory is freed leaf by leaf, whole leaves, as much as is missing. Not verified on the real program.

Not modelled: hierarchical caches, sliding windows and recurrent layers, speculative decoding, eviction policies other
than `lru`, images, and requests that overlap.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec

from backends.base import CacheKind
from profiler.ledger import TOKEN_BYTES, common_prefix_tokens
from profiler.policies.base import Predicted, Sent

__all__ = ["Options", "SglangPolicy", "open_policy"]

Count = Annotated[int, msgspec.Meta(ge=1)]


class Options(msgspec.Struct, frozen=True):
    """SGLang's settings that decide about the cache.

    `page_size` is in tokens (some attention backends raise it); `max_total_tokens` is the size of the KV pool that it
    names at its start, unset: as much as is asked for; `ctx` is `--context-length`; `radix_cache` is off with
    `--disable-radix-cache`.
    """

    page_size: Count = 1
    max_total_tokens: Count | None = None
    radix_cache: bool = True
    cache_kind: CacheKind = "full"
    ctx: Count | None = None


def open_policy(options: Options) -> SglangPolicy:
    """An empty tree under these settings."""
    return SglangPolicy(options)


class SglangPolicy:
    """The radix cache of one SGLang process."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._page = options.page_size
        self._capacity = None if options.max_total_tokens is None else options.max_total_tokens // options.page_size
        self._tree = _Tree(options.page_size)

    def serve(self, sent: Sent) -> Predicted:
        """See `Policy.serve`."""
        total = len(sent.prompt)
        if self._options.cache_kind != "full":
            return Predicted(None, f"SGLang's cache of {self._options.cache_kind} layers is not modelled")
        if self._options.ctx is not None and total >= self._options.ctx:
            return Predicted(None, f"refused: the prompt has {total} tokens, the context {self._options.ctx}")
        if not self._options.radix_cache:
            return Predicted(0, "the radix cache is off")
        # The last generated token is sampled and never evaluated.
        held = sent.prompt + sent.generated[: max(0, len(sent.generated) - 1)]
        needed = self._pages(len(held))
        if self._capacity is not None and needed > self._capacity:
            return Predicted(None, f"{needed} pages are needed, the pool has {self._capacity}")
        matched = self._tree.match(self._whole_pages(sent.prompt.tobytes(), total - 1))
        for length in (total, len(held)):
            data = self._whole_pages(held.tobytes(), length)
            if self._capacity is not None:
                self._tree.make_room(self._capacity, data, self._pages(length))
            self._tree.insert(data)
        if not matched:
            return Predicted(0, "the tree holds no page of the start of the prompt")
        return Predicted(matched, f"the tree holds the first {matched} tokens of the prompt")

    def _pages(self, tokens: int) -> int:
        return -(-tokens // self._page)

    def _whole_pages(self, data: bytes, tokens: int) -> bytes:
        return data[: tokens // self._page * self._page * TOKEN_BYTES]


class _Node:
    """A piece of a sequence, whole pages as int32 bytes, with what follows it, by its first page."""

    def __init__(self, data: bytes, parent: _Node | None, used: int) -> None:
        self.data = data
        self.parent = parent
        self.used = used
        self.children: dict[bytes, _Node] = {}


class _Tree:
    """`RadixCache` of one request at a time: the path of the running one is what its prompt or reply matches."""

    def __init__(self, page_size: int) -> None:
        self._step = page_size * TOKEN_BYTES
        self._root = _Node(b"", None, 0)
        self._now = 0
        self._pages = 0

    def match(self, data: bytes) -> int:
        """Tokens at the start of a sequence that the tree holds; refreshes what it walks, and cuts where it ends."""
        return sum(len(node.data) for node in self._walk(data)) // TOKEN_BYTES

    def insert(self, data: bytes) -> None:
        """Hold a sequence."""
        node, place = self._root, 0
        for child in self._walk(data):
            node, place = child, place + len(child.data)
        if place < len(data):
            self._link(node, _Node(data[place:], node, self._now))
            self._pages += (len(data) - place) // self._step

    def make_room(self, capacity: int, data: bytes, needed: int) -> None:
        """Give up the least recently used leaves until a sequence of `needed` pages fits beside what stays.

        `data` are its whole pages: those that the tree holds are in use, and are neither given up nor needed again.
        """
        path = set(map(id, self._walk(data)))
        own = sum(len(node.data) for node in self._nodes() if id(node) in path) // self._step
        while self._pages + needed - own > capacity:
            leaves = [node for node in self._nodes() if not node.children and id(node) not in path]
            oldest = min(leaves, key=lambda node: node.used)
            parent = oldest.parent
            assert parent is not None, "a leaf hangs on something"
            del parent.children[oldest.data[: self._step]]
            self._pages -= len(oldest.data) // self._step

    def _walk(self, data: bytes) -> list[_Node]:
        """The nodes that hold the start of a sequence; the last of them is cut to what it shares."""
        self._now += 1
        path: list[_Node] = []
        node, place = self._root, 0
        while place < len(data) and (child := node.children.get(data[place : place + self._step])) is not None:
            child.used = self._now
            shared = common_prefix_tokens(child.data, data[place:]) * TOKEN_BYTES // self._step * self._step
            if shared < len(child.data):
                child = self._cut(child, shared)
            path.append(child)
            node, place = child, place + shared
        return path

    def _cut(self, node: _Node, at: int) -> _Node:
        """Split a node; returns its first part, which takes its place."""
        parent = node.parent
        assert parent is not None, "the root is never cut"
        first = _Node(node.data[:at], parent, self._now)
        self._link(parent, first)
        node.data, node.parent = node.data[at:], first
        self._link(first, node)
        return first

    def _link(self, parent: _Node, child: _Node) -> None:
        parent.children[child.data[: self._step]] = child

    def _nodes(self) -> Iterator[_Node]:
        """Every node but the root."""
        waiting = list(self._root.children.values())
        while waiting:
            node = waiting.pop()
            waiting += node.children.values()
            yield node
