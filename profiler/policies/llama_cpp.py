"""llama-cpp-python's cache: the last prompt with its reply, one sequence, no slots, no checkpoints.

Modelled after `Llama.generate`, and what dyno's own adapter adds to it (`backends/llama_cpp.py`): a prefix whose
sliding window is gone is evaluated again. A prompt that is exactly what was decoded last costs nothing at all.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from profiler.ledger import TOKEN_BYTES, common_prefix_tokens
from profiler.policies.base import Predicted, Sent
from profiler.policies.llama_memory.cells import FullAttention, Memory, RecurrentState, SlidingWindow

__all__ = ["Options", "open_policy"]

RING_PADDING = 256


class Options(msgspec.Struct, frozen=True):
    """The target options of the engine `llama-cpp` that decide about its cache, with the adapter's defaults.

    `ctx` unset means that no prompt is too long; `swa_full` unset is on, the library's default. `window` is the
    model's sliding window in tokens, 0 for none.
    """

    ctx: int | None = None
    batch: int = 512
    ubatch: int = 512
    swa_full: bool | None = None
    cache_kind: Literal["full", "sliding_window", "recurrent"] = "full"
    window: int = 0


def open_policy(options: Options) -> LlamaCppPolicy:
    """A model that was just loaded."""
    return LlamaCppPolicy(options)


class LlamaCppPolicy:
    """The one sequence. See `Policy`."""

    def __init__(self, options: Options) -> None:
        self._ctx = options.ctx
        self._ubatch = min(options.ubatch, options.batch)
        self._recurrent = options.cache_kind == "recurrent"
        kept_whole = options.swa_full is None or options.swa_full
        self._window = 0 if kept_whole else options.window
        self._held = b""
        self._memory: Memory = FullAttention()
        if self._recurrent:
            self._memory = RecurrentState(1)
        elif self._window:
            cells = min(self._window + self._ubatch, self._ctx or self._window + self._ubatch)
            self._memory = SlidingWindow(cells + -cells % RING_PADDING, self._window, 1, shared=True)

    def serve(self, sent: Sent) -> Predicted:
        """See `Policy.serve`."""
        prompt, count = sent.prompt.tobytes(), len(sent.prompt)
        held = prompt + sent.generated.tobytes()[:-TOKEN_BYTES]
        if self._ctx is not None and max(count + 1, len(held) // TOKEN_BYTES) > self._ctx:
            return Predicted(None, f"refused: {count} tokens and the reply do not fit the context of {self._ctx}")
        reuse, why = self._reuse(prompt, count, cache_prompt=sent.cache_prompt)
        self._memory.cut(0, reuse)
        self._memory.evaluate(0, reuse, count, self._ubatch)
        self._memory.evaluate(0, count, len(held) // TOKEN_BYTES, 1)
        self._held = held
        return Predicted(reuse, why)

    def _reuse(self, prompt: bytes, count: int, *, cache_prompt: bool) -> tuple[int, str]:
        if not cache_prompt:
            return 0, "the request forbids reuse"
        if not self._held:
            return 0, "nothing is held"
        matched = common_prefix_tokens(self._held, prompt)
        found = f"{matched} of the {len(self._held) // TOKEN_BYTES} tokens held matched"
        # The last token is evaluated again where the prompt has no other, unless it was the last one evaluated.
        reuse = matched - 1 if matched == count else matched
        if self._window and reuse > 0 and self._memory.oldest(0) > max(0, reuse - self._window + 1):
            return 0, f"{found}, but their window is gone"
        if prompt == self._held:
            return count, f"{found}: all of the prompt, just decoded"
        if self._recurrent and reuse * TOKEN_BYTES < len(self._held):
            return 0, f"{found}, but this cache cannot be cut back"
        return reuse, found
