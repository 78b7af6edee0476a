"""The worker that holds llama-cpp-python (`python -m backends.workers.llama_cpp`).

Its orders are served by `serving`; the model is in `llama_cpp_model`.
"""

from __future__ import annotations

import msgspec

from backends.llama_cpp import Settings
from backends.workers.frames import Load
from backends.workers.llama_cpp_model import Model
from backends.workers.serving import serve


def load(order: Load) -> Model:
    """The model of an order."""
    return Model(order.model, order.template, msgspec.convert(order.settings, Settings))


if __name__ == "__main__":
    serve(load)
