"""The worker that renders prompts for an mlx_lm.server (`python -m backends.workers.mlx_render`): no weights.

The model is built without its weights being read, only to see which caches mlx-lm makes for it. It generates nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from backends.base import CacheKind, EngineFault, Forced, JsonObject, LaunchError, Request
from backends.workers.frames import Began, Ended, Load, Piece, Ready, Rendered
from backends.workers.mlx_cache import LiveCache
from backends.workers.mlx_library import BUILD, load_model
from backends.workers.mlx_text import MlxText
from backends.workers.serving import serve


class Renderer:
    """The text side of a model folder."""

    def __init__(self, folder: str, template: str) -> None:
        self._text = MlxText(folder, template)
        try:
            self._kind: CacheKind = LiveCache(load_model(Path(folder), lazy=True)[0]).kind()
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, ImportError) as error:
            raise LaunchError(f"mlx-lm cannot run the model {folder}: {error}") from error

    def ready(self) -> Ready:
        """The kind of cache that mlx-lm makes for this model; the context is not known here (0)."""
        return Ready(build=BUILD, context_tokens=0, cache_kind=self._kind)

    def rendered(self, request: Request) -> Rendered:
        """The prompt of a request; see `MlxText.rendered`."""
        return self._text.rendered(request)

    def forced(self, request: Request, reply: JsonObject) -> Forced | None:
        """The server's output cannot be forced."""
        return None

    def generate(self, serial: int, request: Request, aborted: Callable[[], bool]) -> Iterator[Began | Piece | Ended]:
        """The server generates. Raises `EngineFault`."""
        raise EngineFault("this worker renders prompts and generates nothing")

    def reset(self) -> None:
        """There is no cache here. Raises `EngineFault`."""
        raise EngineFault("this worker has no cache")


def load(order: Load) -> Renderer:
    """The renderer of an order."""
    return Renderer(order.model, order.template)


if __name__ == "__main__":
    serve(load)
