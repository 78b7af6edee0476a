"""Buffer sizes from load logs: recorded ones of both engines, the shapes of lines that this machine cannot make."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.load_log import load_sizes
from profiler.residency.records import LoadSizes

LOGS = Path(__file__).parent / "load_logs"
MIB = 1 << 20


def mib(value: float) -> int:
    return round(value * MIB)


EXPECTED = {  # weights, of these mapped, KV, compute with output buffer
    "llama-server-q4_k_m": (mib(1.91) + mib(1.44), mib(1.91), mib(16), mib(15.02) + mib(0.02)),
    "llama-cpp-q4_k_m": (mib(1.91) + mib(1.44), mib(1.91), mib(16), mib(83.01)),
    "llama-server-swa": (mib(0.69), mib(0.69), mib(1) + mib(0.56), mib(6.15)),
    "llama-cpp-swa": (mib(0.69), mib(0.69), mib(1) + mib(3), mib(49.26)),
    "llama-server-mamba": (mib(0.38), mib(0.38), mib(0.07), mib(1.92)),
    "llama-cpp-mamba": (mib(0.38), mib(0.38), mib(0.02), mib(1.64)),
}


def test_every_recording_is_expected() -> None:
    assert {file.stem for file in LOGS.glob("*.txt")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_recorded_logs(name: str) -> None:
    text = (LOGS / f"{name}.txt").read_text(encoding="utf-8")
    assert load_sizes(text) == LoadSizes(*EXPECTED[name], device_bytes=0)


@pytest.mark.parametrize("name", [name for name in EXPECTED if "mamba" not in name])
def test_the_cache_is_what_the_engine_sums_up_itself(name: str) -> None:
    """Its `llama_kv_cache: size = … MiB (cells, …)` lines, one a cache, are computed apart from the buffers'."""
    lines = (LOGS / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    totals = [line.partition("size =")[2].split()[0] for line in lines if "llama_kv_cache: size =" in line]
    sizes = load_sizes("\n".join(lines))
    assert totals
    assert sizes is not None
    assert sizes.kv_bytes == sum(mib(float(total)) for total in totals)


def test_weights_and_cache_of_a_gpu_are_told_from_pinned_host_memory() -> None:
    sizes = load_sizes(
        "load_tensors:   CPU_Mapped model buffer size =   166.92 MiB\n"
        "load_tensors:        CUDA0 model buffer size =  4403.49 MiB\n"
        "llama_context:  CUDA_Host  output buffer size =     0.58 MiB\n"
        "llama_kv_cache:      CUDA0 KV buffer size =  1152.00 MiB\n"
        "Mar 12 07:01:05 host python[7]: sched_reserve:      CUDA0 compute buffer size =   304.75 MiB\n"
        "sched_reserve:  CUDA_Host compute buffer size =    24.01 MiB\n"
    )
    assert sizes is not None
    assert sizes.device_bytes == mib(4403.49) + mib(1152) + mib(304.75)
    assert sizes.weights_bytes == mib(166.92) + mib(4403.49)
    assert sizes.compute_bytes == mib(0.58) + mib(304.75) + mib(24.01)


def test_older_lines_on_weights_are_read_too() -> None:
    sizes = load_sizes(
        "llm_load_tensors:        CPU buffer size = 68068.00 MiB\n"
        "llm_load_tensors:  CUDA_Host buffer size =   497.11 MiB\n"
        "llm_load_tensors:      CUDA0 buffer size = 17216.38 MiB\n"
    )
    assert sizes is not None
    assert sizes.weights_bytes == mib(68068) + mib(497.11) + mib(17216.38)
    assert sizes.device_bytes == mib(17216.38)
    assert sizes.kv_bytes is None
    assert sizes.compute_bytes is None


def test_a_buffer_reserved_anew_counts_once_but_one_of_another_context_counts_too() -> None:
    line = "sched_reserve:        CPU compute buffer size =    {} MiB\n"
    context = "llama_context: constructing llama_context\n"
    sizes = load_sizes(context + line.format("10.00") + line.format("12.00") + context + line.format("3.00"))
    assert sizes is not None
    assert sizes.compute_bytes == mib(15)


def test_a_log_without_buffers_says_nothing() -> None:
    assert load_sizes("") is None
    assert load_sizes("0.00.014.160 I common_params_fit_impl: projected to use 31 MiB of host memory\n") is None


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    sizes = load_sizes(text)
    assert sizes is None or isinstance(sizes, LoadSizes)


@given(st.lists(st.floats(0, 1e6).map(lambda x: round(x, 2)), min_size=1, max_size=5))
def test_caches_add_up(each: list[float]) -> None:
    log = "\n".join(f"llama_kv_cache:  CUDA{n} KV buffer size = {size:8.2f} MiB" for n, size in enumerate(each))
    sizes = load_sizes(log)
    assert sizes is not None
    assert sizes.kv_bytes == sizes.device_bytes == sum(mib(size) for size in each)
    assert sizes.weights_bytes is None
