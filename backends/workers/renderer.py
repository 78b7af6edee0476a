"""The parent's side of a worker that renders prompts for a server which does not show them."""

from __future__ import annotations

from backends.base import EngineError, Prompt, Request
from backends.workers.frames import Load, Ready, Render, Rendered, unpack_ids
from backends.workers.process import Worker


class Renderer:
    """The worker that renders prompts, and what it found of the model."""

    def __init__(self, worker: Worker, ready: Ready) -> None:
        self._worker = worker
        self.ready = ready

    @classmethod
    def start(cls, module: str, engine: str, load: Load) -> Renderer:
        """Start `python -m module`, which loads tokenizer and template. Raises `LaunchError`."""
        worker = Worker(module, engine)
        try:
            ready = worker.start(load, Ready)
        except (EngineError, KeyboardInterrupt):
            worker.close()
            raise
        return cls(worker, ready)

    def render(self, request: Request) -> Prompt:
        """The prompt of a request. Raises `RequestRejected` where the server would refuse it."""
        rendered = self._worker.ask(Render(request), Rendered)
        return Prompt(rendered.text, unpack_ids(rendered.token_ids))

    def close(self) -> None:
        """End the worker. May be called twice."""
        self._worker.close()
