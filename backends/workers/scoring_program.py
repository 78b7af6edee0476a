"""The program of a scoring worker, whatever library holds its model; its own file says how the model is loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from backends.base import EngineFault, LaunchError
from backends.workers.frames import Answer, Done, Load, Order, pack_ids
from backends.workers.scoring_messages import Evaluate, ScorerReady, Tokenize, Tokens
from backends.workers.serving import serve_orders


class Scoring(Protocol):
    """A loaded model. Every method raises errors of `backends.base` alone."""

    def ready(self) -> ScorerReady:
        """What only the library knows of the loaded model."""
        ...

    def tokenize(self, text: str) -> Iterable[int]:
        """The token ids of a plain text."""
        ...

    def evaluate(self, order: Evaluate) -> None:
        """Carry out one step, its logits into the shared memory."""
        ...


def serve_scoring(load: Callable[[Load], Scoring]) -> None:
    """Serve one parent until it closes our standard input; `load` makes the model of its first order."""
    scoring: Scoring | None = None

    def answer(order: Order) -> Answer:
        nonlocal scoring
        if isinstance(order, Load):
            scoring = load(order)
            return scoring.ready()
        if scoring is None:
            raise LaunchError("no model is loaded")
        if isinstance(order, Tokenize):
            return Tokens(pack_ids(scoring.tokenize(order.text)))
        if isinstance(order, Evaluate):
            scoring.evaluate(order)
            return Done()
        raise EngineFault(f"a scorer has no order {type(order).__name__}")

    serve_orders(answer)
