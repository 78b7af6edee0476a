"""Machine facts: limits of control groups in both versions, from made trees; this machine without a fault."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import psutil
import pytest

from profiler.machine import ENGINE_PACKAGES, Gpu, available_memory_bytes, gpus, machine, nvml_gpus, versions

CORES = psutil.cpu_count() or 1
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc and /sys")


def made(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def test_this_machine() -> None:
    here = machine()
    assert here.system
    assert here.cores_logical is not None
    assert 1 <= here.cores_logical <= CORES
    assert here.memory_bytes is not None
    assert 0 < here.memory_bytes <= psutil.virtual_memory().total
    assert 0 < available_memory_bytes() <= psutil.virtual_memory().total


def test_without_any_file_the_plain_figures_stand(tmp_path: Path) -> None:
    assert machine(tmp_path).memory_bytes == psutil.virtual_memory().total
    assert available_memory_bytes(tmp_path) > 0


@ON_LINUX
@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("processor\t: 0\nmodel name\t: Some CPU @ 3GHz\n\nmodel name\t: other\n", "Some CPU @ 3GHz"),
        ("processor : 0\nBogoMIPS : 108.00\nModel : Raspberry Pi 5\n", "Raspberry Pi 5"),
    ],
)
def test_processor_name(tmp_path: Path, text: str, name: str) -> None:
    assert machine(made(tmp_path, {"proc/cpuinfo": text})).cpu == name


@ON_LINUX
def test_processor_name_from_the_device_tree(tmp_path: Path) -> None:
    files = {"proc/cpuinfo": "processor : 0\n", "proc/device-tree/model": "NVIDIA Jetson\0"}
    assert machine(made(tmp_path, files)).cpu == "NVIDIA Jetson"


@pytest.mark.parametrize(
    ("files", "cores", "memory_bytes"),
    [
        (
            {
                "proc/self/cgroup": "0::/box/inner\n",
                "sys/fs/cgroup/box/inner/cpu.max": "max 100000\n",
                "sys/fs/cgroup/box/inner/memory.max": "max\n",
                "sys/fs/cgroup/box/cpu.max": "150000 100000\n",
                "sys/fs/cgroup/box/memory.max": "1073741824\n",
            },
            1,
            1 << 30,
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/docker/abc\n1:cpu,cpuacct:/docker/abc\n0::/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "536870912\n",
                "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us": "50000\n",
                "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us": "100000\n",
            },
            1,
            1 << 29,
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/\n1:cpu:/\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            None,
            None,
        ),
    ],
    ids=["v2, limited by an ancestor", "v1, paths of the host", "v1, no limits"],
)
def test_limits_of_control_groups(
    tmp_path: Path, files: dict[str, str], cores: int | None, memory_bytes: int | None
) -> None:
    found = machine(made(tmp_path, files))
    free = machine(tmp_path / "nothing")
    assert found.cores_logical == (cores or free.cores_logical)
    assert found.memory_bytes == (memory_bytes or free.memory_bytes)
    assert found.cores_physical is None or found.cores_logical is None or found.cores_physical <= found.cores_logical


def test_available_memory_counts_reclaimable_cache(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/box\n",
        "sys/fs/cgroup/box/memory.max": "100000000\n",
        "sys/fs/cgroup/box/memory.current": "90000000\n",
        "sys/fs/cgroup/box/memory.stat": "anon 5\ninactive_file 30000000\n",
    }
    assert available_memory_bytes(made(tmp_path, files)) == 40_000_000


def test_versions_name_python_dyno_and_engines_alone() -> None:
    found = versions()
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["llmdyno"]
    assert set(found) <= {"python", "llmdyno", *ENGINE_PACKAGES}


class NVMLError(Exception):
    pass


def nvml(names: list[object], *, broken: str | None = None) -> ModuleType:
    """A stand-in for the driver's library; calling what it lacks fails the test."""

    def fail(*_: object) -> None:
        raise NVMLError("not supported")

    def nothing() -> None: ...

    def memory(_: int) -> object:
        return SimpleNamespace(total=1000, used=10)

    module = ModuleType("pynvml")
    calls = {
        "nvmlInit": nothing,
        "nvmlShutdown": nothing,
        "nvmlDeviceGetCount": lambda: len(names),
        "nvmlDeviceGetHandleByIndex": lambda index: index,
        "nvmlDeviceGetName": lambda handle: names[handle],
        "nvmlDeviceGetMemoryInfo": memory,
    }
    for name, call in calls.items():
        setattr(module, name, fail if name == broken else call)
    setattr(module, "NVMLError", NVMLError)  # noqa: B010 (a module has no such attribute to a type checker)
    return module


@pytest.mark.parametrize(
    ("broken", "expected"),
    [
        (None, (Gpu("A", 1000, 10), Gpu("B", 1000, 10))),
        ("nvmlDeviceGetMemoryInfo", (Gpu("A"), Gpu("B"))),
        ("nvmlInit", ()),
        ("nvmlDeviceGetCount", ()),
        ("nvmlDeviceGetName", ()),
    ],
)
def test_gpus(broken: str | None, expected: tuple[Gpu, ...]) -> None:
    assert nvml_gpus(nvml(["A", b"B"], broken=broken)) == expected


def test_gpus_of_this_machine_are_asked_without_a_fault() -> None:
    assert tuple(gpu.name for gpu in gpus()) == machine().gpus
