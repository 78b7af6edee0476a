"""What an engine can say of a model that it does not serve: what it would allocate, the logits at given tokens.

Opened instead of an engine (`backends.open_planner`, `backends.open_scorer`), never beside one that is measured. What
an engine can do while it serves are the protocols of `backends.base`.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from backends.base import Facts, Target

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Planner", "Scorer"]


@runtime_checkable
class Planner(Protocol):
    """Says what a target would allocate, without allocating it. One process for many questions."""

    def plan(self, target: Target) -> str:
        """The engine's own log of a load that allocated nothing, with the sizes of all buffers.

        The weights are not in it: their bytes are the model file's. Works on a file that holds no more than the header,
        extended to its full length without data.

        Raises:
            TargetError: a wrong option, or no model file.
            LaunchError: the engine could not load this model with these settings.
        """
        ...

    def quantised_bytes(self, model: str) -> dict[str, int]:
        """Bytes of all tensors of the model file after quantising it to each type that the engine knows, by the type's
        label (`Q4_K_M`). Nothing is written; a type that this model cannot be quantised to is left out.
        """
        ...

    def close(self) -> None:
        """End it. May be called twice."""
        ...


@runtime_checkable
class Scorer(Protocol):
    """Says the logits at given tokens: what the quality of a quant is measured from. Uses no cache between chunks."""

    def tokenize(self, text: str) -> array[int]:
        """The token ids of a plain text: no template, no special tokens read out of it, none added."""
        ...

    def first_token(self) -> int | None:
        """The token that this model wants before every text (BOS); `None` where it wants none."""
        ...

    def logits(
        self,
        chunks: Sequence[Sequence[int]],
        first: int,
        *,
        batch_tokens: int | None = None,
        block_bytes: int | None = None,
    ) -> Iterator[NDArray[np.float32]]:
        """For each chunk of token ids, the logits after each of its tokens from `first` on: an array of
        (len(chunk) - first, vocabulary).

        The array is valid until the next one is asked for: it may be shared with the engine's process. `batch_tokens`
        evaluates so many tokens at a time (1: one after the other, as in decoding); `None` is the engine's own way.
        `block_bytes` bounds an array: a chunk with more logits comes as several arrays, in order.

        Raises:
            EngineFault, EngineDied: the evaluation failed.
        """
        ...

    def facts(self) -> Facts:
        """What the engine says of itself."""
        ...

    def pids(self) -> tuple[int, ...]:
        """Processes whose memory and CPU belong to it."""
        ...

    def close(self) -> None:
        """Free the model. May be called twice."""
        ...
