"""mlx_lm.server's prompt cache: a trie of whole caches, ten of them, least recently stored first out.

From `LRUPromptCache` (mlx_lm/models/cache.py) and `ResponseGenerator` (mlx_lm/server.py) of mlx-lm 0.32.2. A lookup
takes the sequence that shares most with the prompt and cuts it back, where every layer's cache can be cut back; else
the longest stored sequence that is a prefix of the prompt. What is stored: the prompt with its reply, and on the
batched path snapshots on the way there. A lookup does not refresh an entry.

Where snapshots lie depends on the messages: `Sent.messages` must hold them all, with the roles of the request. A prompt
that is a stored sequence to its last token ends the server's generation thread (seen on 0.32.2).

Not modelled: `--prompt-cache-bytes`, images, draft models, requests that overlap, and clients that hang up during the
prefill, of whose prompt nothing is stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Literal

import msgspec

from backends.base import CacheKind
from profiler.ledger import TOKEN_BYTES, common_prefix_tokens
from profiler.policies.base import Predicted, Sent

__all__ = ["MlxServerPolicy", "Options", "Stored", "open_policy"]

Segment = Literal["assistant", "user", "system"]
_EVICTED: tuple[Segment, ...] = ("assistant", "user", "system")
"""Types of entries, in the order in which they are given up."""

Count = Annotated[int, msgspec.Meta(ge=1)]


class Options(msgspec.Struct, frozen=True):
    """What decides about the cache; the defaults are mlx_lm.server's.

    `cache_kind` is the model's, `window` the sliding window of its windowed layers, in tokens: such a cache can be cut
    back while it holds fewer. `sequential`: the requests have a seed; they, and servers with `kv_bits`, take a path
    that stores no snapshots. `user_head_tokens` are the tokens that the template puts before the content
    of a user message (ChatML: `<|im_start|>`, `user`, newline), `think_tail_tokens` those from a thinking tag that the
    template opens (at most 11 tokens before the end) to the end of the prompt. `ctx` is kept by dyno's adapter.
    """

    prompt_cache_size: Count = 10
    cache_kind: CacheKind = "full"
    window: Annotated[int, msgspec.Meta(ge=0)] = 0
    kv_bits: int | None = None
    sequential: bool = False
    user_head_tokens: Annotated[int, msgspec.Meta(ge=0)] = 3
    think_tail_tokens: Annotated[int, msgspec.Meta(ge=0)] = 0
    ctx: Count | None = None


def open_policy(options: Options) -> MlxServerPolicy:
    """An empty cache under these settings."""
    return MlxServerPolicy(options)


class MlxServerPolicy:
    """The prompt cache of one mlx_lm.server process."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self.stored = Stored(options.prompt_cache_size)

    def serve(self, sent: Sent) -> Predicted:
        """See `Policy.serve`."""
        total = len(sent.prompt)
        if self._options.ctx is not None and total >= self._options.ctx:
            return Predicted(None, f"refused: the prompt has {total} tokens, the context {self._options.ctx}")
        prompt = sent.prompt.tobytes()
        found = self._found(prompt, total)
        cached = found.cached_tokens
        if cached is None:
            return found
        if not self._options.sequential and self._options.kv_bits is None:
            for length, segment in _snapshots(self._segments(sent), cached, total):
                self._store(prompt[: length * TOKEN_BYTES], segment)
        # Unlike other engines it evaluates a token before it hands it out: the last one is held too.
        self._store(prompt + sent.generated.tobytes(), "assistant")
        return found

    def _found(self, prompt: bytes, total: int) -> Predicted:
        """`LRUPromptCache.fetch_nearest_cache`: exact, then longer and cut back, then shorter."""
        exact, shorter, longer, shared = self.stored.search(prompt)
        if exact:
            return Predicted(None, "the prompt is a stored sequence to its last token: mlx_lm.server dies of it")
        if longer is not None and shared > shorter and self._can_be_cut(longer):
            cached = min(total - 1, shared)
            return Predicted(cached, f"a stored sequence of {longer} tokens was cut back to the {cached} it shares")
        if shorter:
            return Predicted(shorter, f"a stored sequence of {shorter} tokens is a prefix of the prompt")
        if shared:
            return Predicted(0, f"{shared} tokens are shared with a stored sequence, which cannot be cut back")
        return Predicted(0, "no stored sequence shares a token with the prompt")

    def _can_be_cut(self, length: int) -> bool:
        if self._options.cache_kind == "sliding_window":
            return length < self._options.window
        return self._options.cache_kind == "full"

    def _store(self, key: bytes, segment: Segment) -> None:
        self.stored.add(key, segment, drop_prefixes=self._can_be_cut(len(key) // TOKEN_BYTES))

    def _segments(self, sent: Sent) -> list[tuple[int, Segment]]:
        """Where the segments of a prompt end, as `ResponseGenerator._tokenize` cuts it; their last one ends with it."""
        total = len(sent.prompt)
        roles = [message.sent_as or message.role for message in sent.messages]
        if not roles or roles[-1] != "user":
            return [(total, "assistant")]
        after_system = sent.messages[next(n for n, role in enumerate(roles) if role != "system")]
        system_end = after_system.start + self._options.user_head_tokens if roles[0] == "system" else 0
        tail = total - self._options.think_tail_tokens
        ends: list[tuple[int, Segment]] = []
        if 0 < system_end < total:
            ends.append((system_end, "system"))
        if system_end < tail:
            ends.append((tail, "user"))
        if tail < total:
            ends.append((total, "assistant"))
        return ends


def _snapshots(ends: list[tuple[int, Segment]], cached: int, total: int) -> Iterator[tuple[int, Segment]]:
    """Lengths at which the batched path stores what it has: the end of each segment, but before the last token.

    A segment that was reused whole is not evaluated, so not stored; a last segment of one token neither.
    """
    start = cached
    for end, segment in ends:
        if end <= start:
            continue
        if end < total:
            yield end, segment
        elif end - start > 1:
            yield end - 1, segment
        start = end


class Stored:
    """`LRUPromptCache`: token sequences as int32 bytes, each with its type, in the order in which they were stored."""

    def __init__(self, max_entries: int) -> None:
        self._max_entries = max_entries
        self._types: dict[bytes, Segment] = {}

    def lengths(self) -> list[tuple[int, Segment]]:
        """Tokens and type of every entry, the oldest first."""
        return [(len(key) // TOKEN_BYTES, segment) for key, segment in self._types.items()]

    def search(self, prompt: bytes) -> tuple[bool, int, int | None, int]:
        """`PromptTrie.search`, in tokens.

        Returns whether the prompt itself is stored; the longest entry that is a prefix of it (0: none, and one of a
        single token does not count); the shortest of the entries that share most with it and go on; what it shares.
        """
        best: tuple[int, int] | None = None
        shared = shorter = 0
        # The latest first: of two equal entries the trie's walk finds the later branch.
        for key in reversed(self._types):
            common, length = common_prefix_tokens(prompt, key), len(key) // TOKEN_BYTES
            shared = max(shared, common)
            if common == length > 1:
                shorter = max(shorter, length)
            if best is None or (-common, length) < (-best[0], best[1]):
                best = (common, length)
        exact = prompt in self._types and bool(prompt)
        longer = best[1] if best is not None and best[0] == shared and shared else None
        return exact, shorter, longer, shared

    def add(self, key: bytes, segment: Segment, *, drop_prefixes: bool) -> None:
        """`LRUPromptCache.insert_cache`: the newest entry; what it makes useless and one too many are given up."""
        self._types.pop(key, None)
        self._types[key] = segment
        if drop_prefixes:
            for old in [old for old in self._types if len(old) < len(key) and key.startswith(old)]:
                del self._types[old]
        if len(self._types) > self._max_entries:
            del self._types[self._oldest(self._given_up())]

    def _given_up(self) -> Segment:
        """`CacheOrder.pop`: a type loses an entry where it has at least as many as the next type."""
        counts = {segment: list(self._types.values()).count(segment) for segment in _EVICTED}
        for segment, following in pairwise(_EVICTED):
            if counts[segment] and counts[segment] >= counts[following]:
                return segment
        return _EVICTED[-1]

    def _oldest(self, segment: Segment) -> bytes:
        return next(key for key, found in self._types.items() if found == segment)
