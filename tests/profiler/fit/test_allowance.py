"""What a machine can give, from readings."""

from __future__ import annotations

import pytest

from profiler.fit.allowance import allowance_of, limited, this_machine
from profiler.fit.base import Allowance
from profiler.hardware import GpuState, UnifiedMemory

GIB = 1 << 30
CARD = GpuState("RTX 4090", 24 * GIB, 4 * GIB)


def test_a_machine_without_a_gpu() -> None:
    assert allowance_of(12 * GIB, (), None) == Allowance(12 * GIB, None, "12.0 GiB of main memory free")


def test_what_is_free_on_gpus_is_added_up() -> None:
    found = allowance_of(12 * GIB, (CARD, CARD), None)
    assert (found.device_bytes, found.unified) == (40 * GIB, False)
    assert "40.0 GiB free on RTX 4090, RTX 4090 (nvml)" in found.source


def test_a_gpu_that_shares_the_systems_memory() -> None:
    found = allowance_of(100 * GIB, (GpuState("GB10", None, None),), None)
    assert (found.device_bytes, found.unified) == (100 * GIB, True)


@pytest.mark.parametrize(("limit", "device"), [(21 * GIB, 21 * GIB), (40 * GIB, 30 * GIB), (None, 30 * GIB)])
def test_apples_limit_is_no_more_than_what_is_free(limit: int | None, device: int) -> None:
    found = allowance_of(30 * GIB, (), UnifiedMemory(32 * GIB, limit, "sysctl"))
    assert (found.host_bytes, found.device_bytes, found.unified) == (30 * GIB, device, True)


def test_a_users_limit() -> None:
    assert limited(allowance_of(12 * GIB, (), None), 8 * GIB).host_bytes == 8 * GIB
    with_gpu = limited(allowance_of(12 * GIB, (CARD,), None), 8 * GIB)
    assert (with_gpu.host_bytes, with_gpu.device_bytes) == (12 * GIB, 8 * GIB)
    assert limited(allowance_of(4 * GIB, (), None), 8 * GIB).host_bytes == 4 * GIB


def test_this_machine_has_some() -> None:
    assert this_machine(gpus=tuple, unified=lambda: None).host_bytes > 0
