"""An engine that is a worker: its answers become events. It knows frames and the contract, no engine by name."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from contextlib import closing

from backends.base import Delta, Event, Facts, Forced, JsonObject, Opened, Prompt, Request, Stop
from backends.workers.frames import (
    AskForced,
    Began,
    Done,
    Ended,
    ForcedReply,
    Render,
    Rendered,
    Reset,
    unpack_ids,
)
from backends.workers.process import Worker
from backends.workers.reply_parts import ReplySplitter


class WorkerEngine:
    """A loaded model. Offers `Forcer`, `Resetter` and `LogsLoad`.

    Every generated id is in `Delta.token_ids`, an end token in a delta without text. A token may hold a part of a
    character: text is given when the character is whole.
    """

    def __init__(self, worker: Worker, facts: Facts) -> None:
        self._worker = worker
        self._facts = facts

    def stream(self, request: Request) -> Iterator[Event]:
        """Serve one request; see `Engine.stream`. A forced reply ends by its own length, not by `max_tokens`.

        Raises:
            ContextOverflow: before anything is evaluated.
            RequestRejected: a parameter that this engine has not, or messages that the template refuses.
            EngineFault, EngineDied: generation failed, or the worker ended.
        """
        decode = codecs.getincrementaldecoder("utf-8")("replace").decode
        splitter = ReplySplitter()
        waiting: list[int] = []
        called = False
        at_ns: int | None = None
        with closing(self._worker.generate(request)) as answers:
            for answer in answers:
                if isinstance(answer, Began):
                    splitter = ReplySplitter(in_reasoning=answer.in_reasoning)
                    yield Opened(answer.at_ns)
                    continue
                if isinstance(answer, Ended):
                    parts = splitter.push(decode(b"", True)) + splitter.finish()
                else:
                    waiting.append(answer.token_id)
                    parts = splitter.push(decode(answer.text))
                    at_ns = answer.at_ns
                for kind, text in parts:
                    called = called or kind == "tool_call"
                    yield Delta(kind, text, tuple(waiting), at_ns)
                    waiting.clear()
                if isinstance(answer, Ended):
                    if waiting:
                        yield Delta("content", "", tuple(waiting), at_ns)
                    yield answer.evidence
                    reason = "tool_calls" if called and answer.reason == "stop" else answer.reason
                    yield Stop(reason, answer.at_ns)

    def render(self, request: Request) -> Prompt:
        """The prompt by the template in force and the model's tokenizer.

        Raises:
            RequestRejected: messages that the template refuses.
        """
        rendered = self._worker.ask(Render(request), Rendered)
        return Prompt(rendered.text, unpack_ids(rendered.token_ids))

    def forced(self, request: Request, reply: JsonObject) -> Forced | None:
        """What the template puts for `reply` after this request, up to its end token.

        `None` if the template does not extend the prompt by it, if its tokens merge with the prompt's, or if
        the reply itself holds an end token.
        """
        return self._worker.ask(AskForced(request, reply), ForcedReply).forced

    def reset(self) -> None:
        """Forget every cached token."""
        self._worker.ask(Reset(), Done)

    def facts(self) -> Facts:
        """Library, model, settings in force."""
        return self._facts

    def pids(self) -> tuple[int, ...]:
        """The worker: the model's memory is all its own."""
        return (self._worker.pid,)

    def load_log(self) -> str:
        """What the engine logged while it loaded; empty after `close`."""
        return self._worker.load_log()

    def close(self) -> None:
        """End the worker. May be called twice."""
        self._worker.close()
