"""dyno's own engine `mlx`: one live cache for every conversation, as `backends.workers.mlx_cache` keeps it.

It is cut back to what the next prompt shares with it, or made anew where the model's cache cannot be cut back.
"""

from __future__ import annotations

from array import array
from typing import Annotated

import msgspec

from backends.base import CacheKind
from profiler.ledger import common_prefix_tokens
from profiler.policies.base import Predicted, Sent

__all__ = ["MlxPolicy", "Options", "open_policy"]

Count = Annotated[int, msgspec.Meta(ge=1)]


class Options(msgspec.Struct, frozen=True):
    """What decides about the cache.

    `cache_kind` is the model's, `window` the sliding window of its windowed layers, in tokens: such a cache can be cut
    back while it holds fewer. `ctx` is the engine's own limit: prompt and reply must fit.
    """

    cache_kind: CacheKind = "full"
    window: Annotated[int, msgspec.Meta(ge=0)] = 0
    ctx: Count = 32_768


def open_policy(options: Options) -> MlxPolicy:
    """An empty cache under these settings."""
    return MlxPolicy(options)


class MlxPolicy:
    """The cache of one worker."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._held: array[int] = array("i")

    def serve(self, sent: Sent) -> Predicted:
        """See `Policy.serve`."""
        total, reply = len(sent.prompt), len(sent.generated)
        if total + max(reply, 1) > self._options.ctx:
            what = f"the prompt has {total} tokens and the reply {reply}"
            return Predicted(None, f"refused: {what}, the context {self._options.ctx}")
        held = self._held if sent.cache_prompt else array("i")
        # The library evaluates a token before it hands it out, so the last generated one is held too.
        self._held = sent.prompt + sent.generated
        if not sent.cache_prompt:
            return Predicted(0, "the request asks for no cache, so it was emptied")
        shared = common_prefix_tokens(sent.prompt.tobytes(), held.tobytes())
        cached = min(shared, total - 1)
        if not cached:
            return Predicted(0, "the one cache shares nothing with the prompt")
        if len(held) == cached:
            return Predicted(cached, f"the prompt extends the one cache of {cached} tokens")
        if self._can_be_cut(len(held)):
            return Predicted(cached, f"the one cache of {len(held)} tokens was cut back to the {cached} it shares")
        return Predicted(0, f"{shared} tokens are shared with the one cache, which cannot be cut back")

    def _can_be_cut(self, length: int) -> bool:
        if self._options.cache_kind == "sliding_window":
            return length < self._options.window
        return self._options.cache_kind == "full"
