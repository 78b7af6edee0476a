"""The models of the battery: the bundled one, and random ones of other cache kinds, written where a battery runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from backends.base import CacheKind
from tests.backends import mlx_models
from tests.tiny_model import architectures

__all__ = ["write_models"]


def write_models(folder: Path, engines: Sequence[tuple[str, CacheKind]]) -> dict[tuple[str, CacheKind], Path]:
    """A model for each of these engines and kinds; those that several use are written once."""
    made: dict[tuple[bool, CacheKind], Path] = {}
    for engine, kind in engines:
        is_mlx = engine.startswith("mlx")
        if (is_mlx, kind) not in made:
            made[is_mlx, kind] = _mlx(folder, kind) if is_mlx else _gguf(folder, kind)
    return {(engine, kind): made[engine.startswith("mlx"), kind] for engine, kind in engines}


def _gguf(folder: Path, kind: CacheKind) -> Path:
    if kind == "full":
        return mlx_models.TINY
    write = architectures.write_sliding_window if kind == "sliding_window" else architectures.write_hybrid
    return write(folder / f"{kind}.gguf")


def _mlx(folder: Path, kind: CacheKind) -> Path:
    write = {
        "full": mlx_models.write_dense,
        "sliding_window": mlx_models.write_sliding_window,
        "recurrent": mlx_models.write_hybrid,
    }[kind]
    return write(folder / f"mlx-{kind}")
