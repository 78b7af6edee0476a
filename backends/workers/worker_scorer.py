"""A scorer that is a worker: chunks go to it in steps, logits come back in shared memory. Knows no engine by name.

While the caller looks at the logits of one step, the worker evaluates the next into the other half of the memory.
"""

from __future__ import annotations

from array import array
from collections.abc import Generator, Sequence
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

from backends.base import EngineDied, EngineError, EngineFault, Facts, RequestRejected
from backends.workers.exchange import Exchange
from backends.workers.frames import Done, Failed, Load, pack_ids, unpack_ids
from backends.workers.process import Worker, error_of
from backends.workers.scoring_messages import Evaluate, ScorerReady, Tokenize, Tokens
from backends.workers.scoring_steps import Step, steps

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_FLOAT_BYTES = 4


class ScoringWorker(Worker):
    """A worker with shared memory, and orders whose answer is fetched later."""

    def __init__(self, module: str, engine: str) -> None:
        """Start `python -m module`. Raises `LaunchError` if it cannot start."""
        self.exchange = Exchange.created()
        self._waiting = 0
        try:
            super().__init__(module, engine, shared=self.exchange.descriptor)
        except EngineError:
            self.exchange.close()
            raise

    def begin(self, order: Evaluate) -> None:
        """Give an order and return at once."""
        self._send(order)
        self._waiting += 1

    def finish(self) -> None:
        """Wait for the oldest order that was begun.

        Raises:
            EngineError: the worker's own refusal; `EngineDied` if it ended.
        """
        answer = self._receive()
        self._waiting -= 1
        if isinstance(answer, Failed):
            raise error_of(answer)
        if not isinstance(answer, Done):
            raise self._death(f"answered {type(answer).__name__}")

    def settle(self) -> None:
        """Drop what was begun and not fetched. Raises `EngineDied` if the worker ended."""
        while self._waiting:
            with suppress(EngineFault):
                self.finish()

    def close(self) -> None:
        """End the worker, wait for it, let the memory go. May be called twice."""
        super().close()
        self._waiting = 0
        self.exchange.close()


class WorkerScorer:
    """A loaded model that gives logits; see `backends.abilities.Scorer`.

    Each chunk must fit `facts().context_tokens`, if the target said one.
    """

    def __init__(self, worker: ScoringWorker, ready: ScorerReady, facts: Facts, context_tokens: int | None) -> None:
        self._worker = worker
        self._ready = ready
        self._facts = facts
        self._context_tokens = context_tokens
        # Here, and not above: backends start without numpy, which takes longer than all of them.
        self._numpy: Any = import_module("numpy")

    def tokenize(self, text: str) -> array[int]:
        """The token ids of a plain text: no template, no special tokens read out of it, none added."""
        return unpack_ids(self._worker.ask(Tokenize(text), Tokens).token_ids)

    def first_token(self) -> int | None:
        """The token that this model wants before every text; `None` where it wants none."""
        return self._ready.first_token

    def logits(
        self,
        chunks: Sequence[Sequence[int]],
        first: int,
        *,
        batch_tokens: int | None = None,
        block_bytes: int | None = None,
    ) -> Generator[NDArray[np.float32], None, None]:
        """See `Scorer.logits`. An array may be looked at until the next one is asked for, and is then written over.

        Raises:
            RequestRejected: a chunk with no token after `first`, one longer than the context, an unknown token.
            EngineFault, EngineDied: the evaluation failed.
        """
        lengths = [len(chunk) for chunk in chunks]
        self._check(chunks, lengths, first)
        row_bytes = self._ready.vocabulary * _FLOAT_BYTES
        plan = list(
            steps(
                lengths,
                first,
                row_bytes=row_bytes,
                batch=self._ready.batch_tokens,
                together=1 if batch_tokens else None,
                block_bytes=block_bytes,
            )
        )
        half_bytes = max((len(step.chunks) * step.rows for step in plan), default=0) * row_bytes
        width = max((len(step.chunks) for step in plan), default=0)
        longest = max(lengths, default=0)

        def order(number: int) -> Evaluate:
            step = plan[number]
            pieces = [chunks[chunk][step.start : step.stop] for chunk in step.chunks]
            return Evaluate(
                token_ids=pack_ids(token for piece in pieces for token in piece),
                lengths=tuple(map(len, pieces)),
                start=step.start,
                rows=step.rows,
                at_byte=number % 2 * half_bytes,
                shared_bytes=2 * half_bytes,
                context_tokens=longest,
                sequences=width,
                batch_tokens=batch_tokens,
            )

        self._worker.settle()
        try:
            for number, step in enumerate(plan):
                if number == 0:
                    self._worker.begin(order(0))
                self._worker.finish()
                if number + 1 < len(plan):
                    self._worker.begin(order(number + 1))
                yield from self._views(step, number % 2 * half_bytes, 2 * half_bytes)
        finally:
            # Whoever closes us early has a reason of its own, which a death must not replace.
            with suppress(EngineDied):
                self._worker.settle()

    def facts(self) -> Facts:
        """Library, model, settings in force."""
        return self._facts

    def pids(self) -> tuple[int, ...]:
        """The worker: the model's memory is all its own."""
        return (self._worker.pid,)

    def close(self) -> None:
        """End the worker. May be called twice."""
        self._worker.close()

    def _views(self, step: Step, at_byte: int, shared_bytes: int) -> Generator[NDArray[np.float32], None, None]:
        shared = self._worker.exchange.mapped(shared_bytes)
        shape = (len(step.chunks), step.rows, self._ready.vocabulary)
        count = shape[0] * shape[1] * shape[2]
        rows = self._numpy.frombuffer(shared, self._numpy.float32, count, at_byte).reshape(shape)
        rows.flags.writeable = False
        yield from rows

    def _check(self, chunks: Sequence[Sequence[int]], lengths: Sequence[int], first: int) -> None:
        if first < 0 or any(length <= first for length in lengths):
            raise RequestRejected(f"a chunk has no token after position {first}", hint="use longer chunks")
        limit = self._context_tokens
        if limit is not None and any(length > limit for length in lengths):
            raise RequestRejected(
                f"a chunk has {max(lengths)} tokens, the target's ctx is {limit}",
                hint="raise ctx, or use shorter chunks",
            )
        known = range(self._ready.vocabulary)
        if any(token not in known for chunk in chunks for token in (min(chunk), max(chunk))):
            raise RequestRejected(
                f"a token is none of the model's {self._ready.vocabulary}",
                hint="use tokens of this model's tokenizer",
            )


def start_scorer(worker: ScoringWorker, load: Load) -> ScorerReady:
    """Load the model of an order; the worker is closed if that fails.

    Raises:
        LaunchError: the library could not load the model; with the last lines of its log.
    """
    try:
        return worker.start(load, ScorerReady)
    except (EngineError, KeyboardInterrupt):
        worker.close()
        raise
