"""Readings: pure differences with exact figures, the formats of proc(5), and one true reading of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.readings import (
    ProcessKey,
    ProcessTimes,
    Readings,
    linux_process,
    nice_share,
    read_machine,
    sample,
    swapped_in_bytes,
)

S = 1_000_000_000
ON_LINUX = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def reading(
    at_s: float,
    busy_s: float,
    *,
    cores: int = 4,
    steal_s: float | None = 0.0,
    swap: int | None = 0,
    nice_s: float = 0.0,
    processes: dict[ProcessKey, ProcessTimes] | None = None,
) -> Readings:
    return Readings(
        at_ns=round(at_s * S),
        total_ns=round(cores * at_s * S),
        busy_ns=round(busy_s * S),
        nice_ns=round(nice_s * S),
        steal_ns=None if steal_s is None else round(steal_s * S),
        swap_in_bytes=swap,
        processes=processes or {},
    )


def times(own_s: float, reaped_s: float = 0.0, faults: int | None = 0, *, engine: bool = False) -> ProcessTimes:
    return ProcessTimes(round(own_s * S), round(reaped_s * S), faults, engine)


US, ENGINE, CHILD = (1, 1), (2, 1), (3, 9)


def test_foreign_cpu_is_what_is_neither_ours_nor_the_engines() -> None:
    before = reading(10, 5, processes={US: times(1), ENGINE: times(2, faults=7, engine=True)})
    after = reading(12, 10, processes={US: times(1.5), ENGINE: times(4.5, faults=19, engine=True)})
    seen = sample(before, after, lateness_ns=3)
    # 5 s busy in 8 core seconds; half a second ours, two and a half the engine's.
    assert seen.foreign_cpu == 2 / 8
    assert (seen.at_ns, seen.interval_ns, seen.lateness_ns) == (12 * S, 2 * S, 3)
    assert seen.major_faults == 12
    assert (seen.steal, seen.swap_in_bytes) == (0.0, 0)


def test_a_child_that_ended_is_ours_and_its_earlier_time_is_not_counted_twice() -> None:
    before = reading(10, 5, processes={US: times(1), CHILD: times(3)})
    after = reading(12, 9, processes={US: times(1, reaped_s=4)})
    assert sample(before, after).foreign_cpu == 3 / 8
    never_seen = reading(10, 5, processes={US: times(1)})
    assert sample(never_seen, after).foreign_cpu == 0.0


def test_a_process_that_vanished_without_its_parent_is_fine() -> None:
    before = reading(10, 5, processes={US: times(1), ENGINE: times(2, engine=True)})
    after = reading(12, 7, processes={US: times(2)})
    seen = sample(before, after)
    assert seen.foreign_cpu == 1 / 8
    assert seen.major_faults is None


def test_a_process_id_that_is_used_again_is_another_process() -> None:
    before = reading(10, 5, processes={(7, 1): times(100)})
    after = reading(12, 7, processes={(7, 2): times(1)})
    assert sample(before, after).foreign_cpu == 1 / 8


def test_too_short_an_interval_cannot_judge_shares_but_counts_faults() -> None:
    engine = {ENGINE: times(1, faults=1, engine=True)}
    later = {ENGINE: times(1, faults=4, engine=True)}
    short = sample(reading(10, 5, processes=engine), reading(10.199, 5.1, swap=4096, processes=later))
    assert (short.foreign_cpu, short.steal) == (None, None)
    assert (short.major_faults, short.swap_in_bytes) == (3, 4096)
    assert nice_share(reading(10, 5), reading(10.199, 5.1)) is None
    long_enough = sample(reading(10, 5), reading(10.2, 5.4))
    assert long_enough.foreign_cpu == pytest.approx(0.5)


def test_what_a_system_does_not_say_is_unknown() -> None:
    seen = sample(reading(10, 5, steal_s=None, swap=None), reading(12, 5, steal_s=None, swap=None))
    assert (seen.steal, seen.swap_in_bytes, seen.major_faults) == (None, None, None)
    silent = {ENGINE: times(1, faults=None, engine=True)}
    assert sample(reading(10, 5, processes=silent), reading(12, 5, processes=silent)).major_faults is None
    assert sample(reading(10, 5, cores=0), reading(12, 5, cores=0)).foreign_cpu is None


def test_steal_and_nice_are_shares_of_all_cores() -> None:
    before, after = reading(10, 5, nice_s=1), reading(12, 8, nice_s=3, steal_s=0.4)
    assert sample(before, after).steal == 0.05
    assert nice_share(before, after) == 0.25


counters = st.integers(0, 10**12)
trees = st.dictionaries(
    st.tuples(st.integers(1, 4), st.integers(1, 2)),
    st.builds(ProcessTimes, counters, counters, st.none() | st.integers(0, 9), st.booleans()),
    max_size=4,
)
any_reading = st.builds(
    Readings, counters, counters, counters, counters, st.none() | counters, st.none() | counters, trees
)


@given(any_reading, any_reading)
def test_shares_stay_shares_whatever_the_counters_do(before: Readings, after: Readings) -> None:
    seen = sample(before, after)
    assert seen.foreign_cpu is None or 0 <= seen.foreign_cpu <= 1
    assert seen.steal is None or 0 <= seen.steal <= 1
    assert seen.swap_in_bytes is None or seen.swap_in_bytes >= 0


def test_a_process_is_read_from_proc_whatever_its_name(tmp_path: Path) -> None:
    process = tmp_path / "42"
    for task, of_task in (("42", "43 44 "), ("50", "45 "), ("51", "")):
        (process / "task" / task).mkdir(parents=True)
        (process / "task" / task / "children").write_text(of_task)
    fields = "S 1 42 42 0 -1 4194304 11 12 13 14 200 50 30 20 20 0 3 0 98765 1 2 3"
    (process / "stat").write_text(f"42 (a) b (c) {fields}\n")
    found = linux_process(42, engine=True, proc=tmp_path)
    assert found is not None
    tick_ns = S // os.sysconf("SC_CLK_TCK")
    key, seen, children = found
    assert key == (42, 98765)
    assert seen == ProcessTimes(own_ns=250 * tick_ns, reaped_ns=50 * tick_ns, major_faults=13, engine=True)
    assert sorted(children) == [43, 44, 45]
    assert linux_process(43, engine=True, proc=tmp_path) is None


def test_swap_is_read_from_vmstat(tmp_path: Path) -> None:
    assert swapped_in_bytes(tmp_path) is None
    (tmp_path / "vmstat").write_text("pgpgin 5\npswpin 3\npswpout 9\n")
    assert swapped_in_bytes(tmp_path) == 3 * os.sysconf("SC_PAGE_SIZE")


@ON_LINUX
def test_this_process_and_its_descendants_are_found_and_the_engine_is_told_apart() -> None:
    nested = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'print(1, flush=True); input()'])"
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", nested], stdin=pipe, stdout=pipe, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        plain = read_machine((), 5)
        attached = read_machine((child.pid, 2**22 + 1), 6)
        child.communicate("\n")
    assert plain.at_ns == 5
    pids = {pid for pid, _ in plain.processes}
    assert {os.getpid(), child.pid} <= pids
    assert len(pids) >= 3
    assert not any(times.engine for times in plain.processes.values())
    engine = {pid for (pid, _), times in attached.processes.items() if times.engine}
    assert child.pid in engine
    assert len(engine) == 2
    assert os.getpid() not in engine


@ON_LINUX
def test_our_own_work_is_not_foreign() -> None:
    before = read_machine((), time.perf_counter_ns())
    begun = time.process_time()
    while time.process_time() - begun < 0.3:
        pass
    after = read_machine((), time.perf_counter_ns())
    key = next(k for k in after.processes if k[0] == os.getpid())
    # Two steps of the counters: one at each end.
    assert after.processes[key].own_ns - before.processes[key].own_ns >= 280_000_000
    assert after.busy_ns > before.busy_ns
    assert after.total_ns > before.total_ns
