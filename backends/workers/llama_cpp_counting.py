"""`llama_cpp.Llama` with a meter: evaluated tokens are counted, the prompt stamped, the output forced.

Nothing of how the library reuses its cache is changed here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import llama_cpp


class Aborted(Exception):
    """The parent does not want the rest."""


class CountingLlama(llama_cpp.Llama):
    """`Llama` that counts and stamps. Attributes speak of the request that `begin` started.

    `prompt_evaluated_tokens` and `prompt_done_ns` are `None` until the first token is sampled.
    """

    evaluated_tokens = 0
    prompt_evaluated_tokens: int | None = None
    prompt_done_ns: int | None = None
    script: tuple[int, ...] = ()
    chosen = 0
    aborted: Callable[[], bool] = staticmethod(lambda: False)

    def begin(self, script: tuple[int, ...], aborted: Callable[[], bool]) -> None:
        """Start counting for one request; `script` is the output to force, if any."""
        self.evaluated_tokens = self.chosen = 0
        self.prompt_evaluated_tokens = self.prompt_done_ns = None
        self.script = script
        self.aborted = aborted

    def eval(self, tokens: Sequence[int]) -> None:
        """`Llama.eval`, batch by batch, counted."""
        for start in range(0, max(len(tokens), 1), self.n_batch):
            if self.aborted():
                raise Aborted
            batch = tokens[start : start + self.n_batch]
            super().eval(batch)
            self.evaluated_tokens += len(batch)

    def sample(self, *args: Any, **kwargs: Any) -> int:
        """`Llama.sample`; a forced token costs the same, as the sampler runs all the same."""
        if self.prompt_done_ns is None:
            llama_cpp.llama_synchronize(self.ctx)
            self.prompt_done_ns = time.perf_counter_ns()
            self.prompt_evaluated_tokens = self.evaluated_tokens
        token: int = super().sample(*args, **kwargs)
        if self.script:
            token = self.script[min(self.chosen, len(self.script) - 1)]
        self.chosen += 1
        return token
