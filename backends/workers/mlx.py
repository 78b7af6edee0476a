"""The worker that holds mlx-lm (`python -m backends.workers.mlx`).

Its orders are served by `serving`; the model is in `mlx_model`.
"""

from __future__ import annotations

import msgspec

from backends.mlx import Settings
from backends.workers.frames import Load
from backends.workers.mlx_model import Model
from backends.workers.serving import serve


def load(order: Load) -> Model:
    """The model of an order."""
    return Model(order.model, order.template, msgspec.convert(order.settings, Settings))


if __name__ == "__main__":
    serve(load)
