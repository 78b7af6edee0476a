"""The line on memory: what a reader sees for a host, a GPU, a remote server and an engine that says nothing."""

from __future__ import annotations

from typing import Any

import msgspec

from profiler.document import Residency, ResidencyRow
from profiler.report.memory import memory_lines, size
from profiler.residency.records import LoadSizes

MIB = 1 << 20
GIB = 1 << 30
LOAD = LoadSizes(100 * MIB, 90 * MIB, 128 * MIB, 20 * MIB, 0)


def residency(**further: Any) -> Residency:
    plain = Residency(
        reason=None,
        source="smaps_rollup",
        load=LOAD,
        samples=9,
        worst_lateness_ns=0,
        must_have_peak_bytes=312 * MIB,
        file_peak_bytes=101 * MIB,
        rss_peak_bytes=420 * MIB,
        swap_peak_bytes=0,
        gpu_peak_bytes=None,
        gpu_sources=(),
        gpu_power_peak_w=None,
        sessions=(),
    )
    return msgspec.structs.replace(plain, **further)


def row(session: str, dispatch: float | None, token: float | None) -> ResidencyRow:
    return ResidencyRow(session, 9, None, None, None, None, None, dispatch, token)


def test_a_host_engine_has_one_line() -> None:
    assert memory_lines(residency()) == [
        "memory peak 312 MiB must-have + 101 MiB reclaimable file pages · its load log: weights 100 MiB, KV 128 MiB, "
        "compute 20 MiB"
    ]


def test_what_is_not_known_is_left_out_or_said() -> None:
    (line,) = memory_lines(residency(load=None, file_peak_bytes=None, source="status"))
    assert line == "memory peak 312 MiB must-have (shared pages counted whole)"
    (line,) = memory_lines(residency(load=LoadSizes(None, None, 3 * GIB, None, None)))
    assert line.endswith("its load log: KV 3.0 GiB")
    (line,) = memory_lines(residency(must_have_peak_bytes=None, load=None))
    assert line == "memory peak 420 MiB resident (what of it can be dropped is not known here)"
    (line,) = memory_lines(residency(swap_peak_bytes=5 * MIB, load=None))
    assert "5 MiB swapped out" in line


def test_a_gpu_says_how_its_part_was_found_and_what_it_took() -> None:
    rows = (row("a", 10.0, 0.5), row("b", 30.0, None), row("c", None, None))
    memory, energy = memory_lines(
        residency(gpu_peak_bytes=5 * GIB + 100 * MIB, gpu_sources=("device_delta",), sessions=rows)
    )
    assert "GPU 5.1 GiB (what the device holds more than before the launch)" in memory
    assert energy == "energy 20 J a dispatch, most in b: whole GPU boards"
    _, energy = memory_lines(residency(gpu_peak_bytes=MIB, gpu_sources=("process",), sessions=rows[:1]))
    assert energy == "energy 10 J a dispatch, most in a (10 J, 0.5 J a generated token): whole GPU boards"


def test_a_remote_server_and_a_simulation() -> None:
    assert memory_lines(residency(reason="not measurable from here: why")) == ["memory not measurable from here: why"]
    assert memory_lines(None) == []


def test_sizes() -> None:
    assert [size(n) for n in (None, 0, 1023 * MIB, GIB)] == ["?", "0 MiB", "1023 MiB", "1.0 GiB"]
