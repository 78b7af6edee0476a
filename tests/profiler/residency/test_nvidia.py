"""GPU readings from a made NVML: whose memory it is and how that is known, and what a driver refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import pytest

from profiler.residency.nvidia import GpuBaseline, NvidiaGpus, engine_part, open_gpus

MIB = 1 << 20


class Refused(Exception):
    """What NVML raises: not supported, no permission, lost."""


class Gpu:
    """One GPU: bytes used, bytes by process, and the queries that its driver refuses."""

    def __init__(self, used: int, processes: Mapping[int, int | None], refuses: tuple[str, ...] = ()) -> None:
        self.used = used
        self.processes = processes
        self.graphics: Mapping[int, int | None] = {}
        self.refuses = refuses


class Nvml:
    """The part of `pynvml` that is used; a query that it does not have fails the test."""

    NVMLError = Refused
    NVML_CLOCK_SM = 1
    NVML_CLOCK_MEM = 2

    def __init__(self, *gpus: Gpu, starts: bool = True) -> None:
        self.gpus = gpus
        self.starts = starts
        self.open = 0

    def nvmlInit(self) -> None:
        if not self.starts:
            raise Refused
        self.open += 1

    def nvmlShutdown(self) -> None:
        self.open -= 1

    def nvmlDeviceGetCount(self) -> int:
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Gpu:
        return self.gpus[index]

    def __getattr__(self, query: str) -> Callable[..., Any]:
        answers: dict[str, Callable[..., Any]] = {
            "nvmlDeviceGetMemoryInfo": lambda gpu: SimpleNamespace(used=gpu.used, total=1 << 40),
            "nvmlDeviceGetUtilizationRates": lambda gpu: SimpleNamespace(gpu=42, memory=7),
            "nvmlDeviceGetPowerUsage": lambda gpu: 90_500,
            "nvmlDeviceGetTotalEnergyConsumption": lambda gpu: 1_234_567,
            "nvmlDeviceGetClockInfo": lambda gpu, kind: {1: 1980, 2: 2619}[kind],
            "nvmlDeviceGetComputeRunningProcesses": lambda gpu: listed(gpu.processes),
            "nvmlDeviceGetGraphicsRunningProcesses": lambda gpu: listed(gpu.graphics),
        }
        answer = answers[query]

        def ask(gpu: Gpu, *arguments: Any) -> Any:
            if query in gpu.refuses:
                raise Refused
            return answer(gpu, *arguments)

        return ask


def listed(processes: Mapping[int, int | None]) -> list[SimpleNamespace]:
    return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in processes.items()]


def opened(*gpus: Gpu) -> NvidiaGpus:
    found = NvidiaGpus.open(Nvml(*gpus))
    assert found is not None
    return found


def test_everything_that_a_driver_says() -> None:
    (reading,) = opened(Gpu(600 * MIB, {7: 500 * MIB})).read({7}, None)
    assert (reading.index, reading.engine_bytes, reading.engine_source) == (0, 500 * MIB, "process")
    assert (reading.device_used_bytes, reading.utilisation) == (600 * MIB, 0.42)
    assert (reading.power_w, reading.energy_j) == (90.5, 1234.567)
    assert (reading.sm_clock_mhz, reading.memory_clock_mhz) == (1980, 2619)


def test_what_a_driver_refuses_is_unknown_and_nothing_else_is() -> None:
    refuses = ("nvmlDeviceGetMemoryInfo", "nvmlDeviceGetPowerUsage", "nvmlDeviceGetTotalEnergyConsumption")
    (reading,) = opened(Gpu(0, {7: 500 * MIB}, refuses)).read({7}, None)
    assert (reading.device_used_bytes, reading.power_w, reading.energy_j) == (None, None, None)
    assert (reading.engine_bytes, reading.utilisation) == (500 * MIB, 0.42)
    everything = tuple(name for name in QUERIES if name not in refuses)
    (reading,) = opened(Gpu(0, {7: 1}, (*refuses, *everything))).read({7}, (GpuBaseline(None, frozenset()),))
    assert (reading.engine_bytes, reading.engine_source, reading.utilisation) == (None, None, None)
    assert (reading.sm_clock_mhz, reading.memory_clock_mhz) == (None, None)


QUERIES = (
    "nvmlDeviceGetUtilizationRates",
    "nvmlDeviceGetClockInfo",
    "nvmlDeviceGetComputeRunningProcesses",
    "nvmlDeviceGetGraphicsRunningProcesses",
)


def test_two_gpus_of_one_engine_and_one_that_it_leaves_alone() -> None:
    gpus = opened(Gpu(9 * MIB, {7: 4 * MIB, 1: 5 * MIB}), Gpu(3 * MIB, {8: 3 * MIB}), Gpu(MIB, {1: MIB}))
    readings = gpus.read({7, 8}, None)
    assert [(r.engine_bytes, r.engine_source) for r in readings] == [
        (4 * MIB, "process"),
        (3 * MIB, "process"),
        (0, "process"),
    ]


def test_in_a_container_the_one_new_process_is_the_engine() -> None:
    gpu = Gpu(MIB, {4001: MIB})
    gpus = opened(gpu)
    before = gpus.baseline()
    assert before == (GpuBaseline(MIB, frozenset({4001})),)
    gpu.used, gpu.processes = 801 * MIB, {4001: MIB, 4077: 800 * MIB}
    (reading,) = gpus.read({7}, before)
    assert (reading.engine_bytes, reading.engine_source) == (800 * MIB, "new_process")


def test_an_id_that_was_there_before_the_launch_is_not_the_engine() -> None:
    """Ids of the host and of a container can be equal by chance."""
    gpu = Gpu(5 * MIB, {7: 5 * MIB})
    gpus = opened(gpu)
    before = gpus.baseline()
    gpu.used, gpu.processes = 25 * MIB, {7: 5 * MIB, 4077: 20 * MIB}
    (reading,) = gpus.read({7}, before)
    assert (reading.engine_bytes, reading.engine_source) == (20 * MIB, "new_process")


def test_a_graphics_process_is_found_and_a_process_listed_twice_counts_once() -> None:
    gpu = Gpu(9 * MIB, {7: 4 * MIB})
    gpu.graphics = {7: 4 * MIB, 8: 5 * MIB}
    (reading,) = opened(gpu).read({7, 8}, None)
    assert (reading.engine_bytes, reading.engine_source) == (9 * MIB, "process")


BEFORE = GpuBaseline(100 * MIB, frozenset({1}))


@pytest.mark.parametrize(
    ("listing", "ours", "used", "before", "expected"),
    [
        ({}, {}, 700 * MIB, BEFORE, (600 * MIB, "device_delta")),
        ({2: 3, 3: 4}, {}, 700 * MIB, BEFORE, (600 * MIB, "device_delta")),
        ({2: None}, {}, 700 * MIB, BEFORE, (600 * MIB, "device_delta")),
        ({7: None}, {7}, 700 * MIB, BEFORE, (600 * MIB, "device_delta")),
        ({}, {}, 60 * MIB, BEFORE, (0, "device_delta")),
        ({}, {7}, 700 * MIB, BEFORE, (0, "process")),
        ({}, {}, None, BEFORE, None),
        ({}, {}, 700 * MIB, GpuBaseline(None, frozenset()), None),
        ({2: 5}, {}, 700 * MIB, None, None),
        ({7: None}, {7}, 700 * MIB, None, None),
    ],
)
def test_the_order_in_which_the_engines_part_is_sought(
    listing: dict[int, int | None], ours: set[int], used: int | None, before: GpuBaseline | None, expected: object
) -> None:
    assert engine_part(listing, ours, used, before) == expected


def test_no_driver_and_no_gpu_are_no_gpus() -> None:
    assert NvidiaGpus.open(Nvml(starts=False)) is None
    empty = Nvml()
    assert NvidiaGpus.open(empty) is None
    assert empty.open == 0


def test_closing_ends_nvml_once() -> None:
    nvml = Nvml(Gpu(0, {}))
    gpus = NvidiaGpus.open(nvml)
    assert gpus is not None
    assert nvml.open == 1
    gpus.close()
    assert nvml.open == 0


@pytest.mark.gpu
def test_a_real_gpu_says_what_it_holds() -> None:
    gpus = open_gpus()
    assert gpus is not None
    readings = gpus.read((), gpus.baseline())
    gpus.close()
    assert readings
    assert all(reading.device_used_bytes or reading.device_used_bytes is None for reading in readings)
    assert all(reading.power_w is None or 1 < reading.power_w < 3000 for reading in readings)
    assert all(reading.engine_source in ("device_delta", None) for reading in readings)
