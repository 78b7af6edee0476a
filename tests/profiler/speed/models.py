"""Model files as values, for tests of the speed that is predicted from them."""

from __future__ import annotations

import msgspec

from profiler.model_file.base import Layer, ModelFile, TypeShare
from tests.profiler.bare_model import BARE


def model(
    *,
    type: str = "Q4_K",
    active_bytes: int | None = 4_000_000_000,
    active_parameters: int | None = 7_000_000_000,
    layers: tuple[Layer, ...] | None = (Layer("attention", 1024, 1024),) * 32,
    experts: int | None = None,
    types: tuple[TypeShare, ...] | None = None,
) -> ModelFile:
    """A dense model of 4 GB whose cache takes 128 KiB a token in f16."""
    share = TypeShare(type, 200, active_parameters or 1, active_bytes or 1)
    return msgspec.structs.replace(
        BARE,
        types=(share,) if types is None else types,
        tensor_bytes=active_bytes or 1,
        parameters=active_parameters or 1,
        active_bytes=active_bytes,
        active_parameters=active_parameters,
        layers=layers,
        experts=experts,
        experts_used=8 if experts else None,
    )
