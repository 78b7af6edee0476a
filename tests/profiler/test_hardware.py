"""Hardware on made drivers: what they tell, what they leave out, and that a missing one is no fault."""

from __future__ import annotations

from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from profiler.hardware import GpuState, Swap, UnifiedMemory, gpu_states, swap, unified_memory

GIB, MIB = 1 << 30, 1 << 20


class DriverError(Exception):
    """What the made drivers raise."""


def missing(name: str) -> ModuleType:
    raise ImportError(name)


class Nvml(SimpleNamespace):
    """An NVML with one GPU."""

    NVMLError = DriverError

    def __init__(self, driver: Any = "580.95.05", memory: bool = True) -> None:
        super().__init__(driver=driver, memory=memory, open=0)

    def nvmlInit(self) -> None:
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetName(self, handle: int) -> str:
        return "NVIDIA H200"

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        if not self.memory:
            raise DriverError
        return SimpleNamespace(total=141 * GIB, used=GIB)

    def nvmlSystemGetDriverVersion(self) -> Any:
        if self.driver is None:
            raise DriverError
        return self.driver


class Smi(SimpleNamespace):
    """An amdsmi with one GPU, as its documentation describes it."""

    AmdSmiException = DriverError

    def __init__(self, **told: Any) -> None:
        super().__init__(told=told, open=0)

    def amdsmi_init(self) -> None:
        self.open += 1

    def amdsmi_shut_down(self) -> None:
        self.open -= 1

    def amdsmi_get_processor_handles(self) -> list[str]:
        return ["gpu"]

    def _tell(self, what: str) -> dict[str, Any]:
        if what not in self.told:
            raise DriverError
        said: dict[str, Any] = self.told[what]
        return said

    def amdsmi_get_gpu_asic_info(self, handle: str) -> dict[str, Any]:
        return self._tell("asic")

    def amdsmi_get_gpu_vram_usage(self, handle: str) -> dict[str, Any]:
        return self._tell("vram")

    def amdsmi_get_gpu_driver_info(self, handle: str) -> dict[str, Any]:
        return self._tell("driver")


def with_module(name: str, module: Any) -> Any:
    return lambda asked: module if asked == name else missing(asked)


def test_no_driver_is_no_gpu() -> None:
    assert gpu_states(missing) == ()


@pytest.mark.parametrize("error", [OSError, KeyError, AttributeError, RuntimeError])
def test_a_driver_library_that_cannot_be_loaded_is_none(error: type[Exception]) -> None:
    def load(name: str) -> ModuleType:
        raise error("libamd_smi.so") if name == "amdsmi" else ImportError(name)

    assert gpu_states(load) == ()


@pytest.mark.parametrize(
    ("nvml", "expected"),
    [
        (Nvml(), GpuState("NVIDIA H200", 141 * GIB, GIB, "580.95.05")),
        (Nvml(driver=b"570.1"), GpuState("NVIDIA H200", 141 * GIB, GIB, "570.1")),
        (Nvml(driver=None, memory=False), GpuState("NVIDIA H200", None, None, None)),
    ],
)
def test_nvidia(nvml: Nvml, expected: GpuState) -> None:
    assert gpu_states(with_module("pynvml", nvml)) == (expected,)
    assert nvml.open == 0


def test_amd_is_marked_as_not_verified() -> None:
    smi = Smi(
        asic={"market_name": "AMD Instinct MI300X"},
        vram={"vram_total": 196_592, "vram_used": 283},
        driver={"driver_version": "6.10.5"},
    )
    expected = GpuState("AMD Instinct MI300X", 196_592 * MIB, 283 * MIB, "6.10.5", "amdsmi", verified=False)
    assert gpu_states(with_module("amdsmi", smi)) == (expected,)
    assert smi.open == 0
    silent = gpu_states(with_module("amdsmi", Smi(vram={"vram_total": "N/A"})))
    assert silent == (GpuState("AMD GPU", None, None, None, "amdsmi", verified=False),)


def unified(limit: str | None, told: str | None) -> UnifiedMemory | None:
    values = {"hw.memsize": str(64 * GIB), "iogpu.wired_limit_mb": limit}
    return unified_memory(system="darwin", processor="arm64", sysctl=values.get, ask_mlx=lambda: told)


def test_unified_memory_is_apples() -> None:
    assert unified("57344", None) == UnifiedMemory(64 * GIB, 56 * GIB, "sysctl iogpu.wired_limit_mb")
    assert unified("0", "51539607552\n") == UnifiedMemory(64 * GIB, 48 * GIB, "mlx max_recommended_working_set_size")
    assert unified(None, None) == UnifiedMemory(64 * GIB, None, "sysctl")
    assert unified_memory(system="linux", processor="arm64") is None
    assert unified_memory(system="darwin", processor="x86_64") is None


def test_swap_of_this_machine() -> None:
    found = swap()
    assert found is None or (isinstance(found, Swap) and 0 <= found.used_bytes <= found.total_bytes)
