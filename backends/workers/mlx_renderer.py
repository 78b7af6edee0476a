"""The parent's side of `mlx_render`: prompts of a model folder, by its own template and tokenizer."""

from __future__ import annotations

from backends.base import EngineError, Prompt, Request
from backends.workers.frames import Load, Ready, Render, Rendered, unpack_ids
from backends.workers.model_folder import ModelFolder
from backends.workers.process import Worker


class Renderer:
    """The worker that renders prompts, and what it found of the model."""

    def __init__(self, worker: Worker, ready: Ready, template_sha256: str | None) -> None:
        self._worker = worker
        self.ready = ready
        self.template_sha256 = template_sha256

    @classmethod
    def start(cls, folder: ModelFolder, template: str) -> Renderer:
        """Load tokenizer and template of a folder in a worker. Raises `LaunchError`."""
        worker = Worker("backends.workers.mlx_render", "mlx-server")
        try:
            ready = worker.start(Load(str(folder.path.absolute()), template, {}), Ready)
        except (EngineError, KeyboardInterrupt):
            worker.close()
            raise
        return cls(worker, ready, folder.template_sha256(template))

    def render(self, request: Request) -> Prompt:
        """The prompt of a request. Raises `RequestRejected` where the template refuses it."""
        rendered = self._worker.ask(Render(request), Rendered)
        return Prompt(rendered.text, unpack_ids(rendered.token_ids))

    def close(self) -> None:
        """End the worker. May be called twice."""
        self._worker.close()
