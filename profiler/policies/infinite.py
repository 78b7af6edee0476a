"""The cache that forgets nothing: the most that any prompt cache could reuse, for comparison with real ones.

Every sequence stays, and all of a prompt that begins like one of them is reused but its last token, which has to be
evaluated to go on. The last generated token was never evaluated, so it is not there.
"""

from __future__ import annotations

import msgspec

from profiler.ledger import Ledger
from profiler.policies.base import Predicted, Sent

__all__ = ["Options", "open_policy"]


class Options(msgspec.Struct, frozen=True):
    """There is nothing to set."""


def open_policy(options: Options) -> InfinitePolicy:
    """An empty cache."""
    return InfinitePolicy()


class InfinitePolicy:
    """All sequences so far. See `Policy`."""

    def __init__(self) -> None:
        self._ledger = Ledger()

    def serve(self, sent: Sent) -> Predicted:
        """See `Policy.serve`. `cache_prompt` off forbids reuse here too."""
        match = self._ledger.match(sent.conversation, sent.prompt)
        self._ledger.add(sent.conversation, sent.prompt + sent.generated[:-1])
        if not sent.cache_prompt:
            return Predicted(0, "the request forbids reuse")
        shared = min(match.lcp_tokens or 0, max(0, len(sent.prompt) - 1))
        return Predicted(shared, f"{shared} of {len(sent.prompt)} tokens were seen before at this place")
