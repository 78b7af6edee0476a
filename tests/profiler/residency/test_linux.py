"""Process memory from `/proc`: recorded texts of a real llama-server, and processes of this test."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.residency.linux import LinuxProcesses, Memory, rollup_memory, status_memory

RECORDED = Path(__file__).parent / "proc"
"""llama-server with 100 MiB of weights and 128 MiB of KV, loaded."""
KIB = 1024
S = 1_000_000_000
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def recorded(name: str) -> str:
    return (RECORDED / f"{name}.txt").read_text(encoding="utf-8")


def folder(proc: Path, pid: int, **files: str) -> Path:
    """A made `/proc/PID`."""
    (proc / str(pid) / "task" / str(pid)).mkdir(parents=True)
    for name, text in files.items():
        (proc / str(pid) / name).write_text(text)
    return proc


def test_the_rollup_of_a_real_server() -> None:
    expected = Memory("smaps_rollup", 147180 * KIB, 117578 * KIB, 270768 * KIB, 0)
    assert rollup_memory(recorded("smaps_rollup")) == expected


def test_its_status_counts_shared_pages_whole() -> None:
    assert status_memory(recorded("status")) == Memory("status", 147180 * KIB, 123588 * KIB, 270768 * KIB, 0)


def test_shared_memory_is_must_have_and_swap_is_counted_by_share() -> None:
    text = "Rss: 100 kB\nPss_Anon: 5 kB\nPss_File: 3 kB\nPss_Shmem: 7 kB\nSwap: 40 kB\nSwapPss: 20 kB\n"
    assert rollup_memory(text) == Memory("smaps_rollup", 12 * KIB, 3 * KIB, 100 * KIB, 20 * KIB)


def read_once(pid: int, proc: Path = Path("/proc")) -> Memory | None:
    return LinuxProcesses(proc).read(pid, at_ns=0)


def test_status_is_the_way_where_the_rollup_is_closed_or_does_not_split(tmp_path: Path) -> None:
    proc = folder(tmp_path, 7, status=recorded("status"))
    read = read_once(7, proc)
    assert read is not None
    assert read.source == "status"
    folder(tmp_path, 8, status=recorded("status"), smaps_rollup="Rss: 100 kB\nPss: 90 kB\n")
    assert read_once(8, proc) == read
    folder(tmp_path, 9, status=recorded("status"), smaps_rollup=recorded("smaps_rollup"))
    assert read_once(9, proc) == rollup_memory(recorded("smaps_rollup"))


def status(anonymous: int, files: int, swap: int = 0) -> str:
    rss = anonymous + files
    return f"RssAnon: {anonymous} kB\nRssFile: {files} kB\nRssShmem: 0 kB\nVmRSS: {rss} kB\nVmSwap: {swap} kB\n"


def rollup(anonymous: int, files: int, swap: int = 0) -> str:
    return f"Rss: 1 kB\nPss_Anon: {anonymous} kB\nPss_File: {files} kB\nPss_Shmem: 0 kB\nSwapPss: {swap} kB\n"


def test_between_two_rollups_status_is_read_less_what_was_shared(tmp_path: Path) -> None:
    folder(tmp_path, 7, status=status(100, 60, 9), smaps_rollup=rollup(90, 20, 4))
    processes = LinuxProcesses(tmp_path, cpu_clock=lambda: 0)
    assert processes.read(7, 0) == Memory("smaps_rollup", 90 * KIB, 20 * KIB, KIB, 4 * KIB)
    (tmp_path / "7" / "status").write_text(status(300, 61, 10))
    (tmp_path / "7" / "smaps_rollup").write_text(rollup(280, 30, 5))
    assert processes.read(7, S - 1) == Memory("smaps_rollup", 290 * KIB, 21 * KIB, 361 * KIB, 5 * KIB)
    assert processes.read(7, S) == Memory("smaps_rollup", 280 * KIB, 30 * KIB, KIB, 5 * KIB)
    (tmp_path / "7" / "status").write_text(status(1, 1))
    shrunk = processes.read(7, S + 1)
    assert shrunk is not None
    assert (shrunk.must_have_bytes, shrunk.file_bytes) == (0, 0), "never below nothing"


def test_a_costly_rollup_is_read_seldom(tmp_path: Path) -> None:
    """48 ms of CPU time for 4 GiB: once in 9.6 s is half a hundredth of a core."""
    ticks = iter(range(0, 10**12, 48_000_000))
    folder(tmp_path, 7, status=status(100, 60), smaps_rollup=rollup(90, 20))
    processes = LinuxProcesses(tmp_path, cpu_clock=lambda: next(ticks))
    processes.read(7, 0)
    (tmp_path / "7" / "smaps_rollup").write_text(rollup(80, 10))
    for at_ns, expected in ((S, 90), (9 * S, 90), (96 * S // 10, 80)):
        read = processes.read(7, at_ns)
        assert read is not None
        assert read.must_have_bytes == expected * KIB


def test_an_id_that_is_used_again_starts_anew(tmp_path: Path) -> None:
    folder(tmp_path, 7, status=status(100, 60), smaps_rollup=rollup(90, 20))
    processes = LinuxProcesses(tmp_path)
    processes.read(7, 0)
    (tmp_path / "7" / "status").write_text("")
    assert processes.read(7, 1) is None
    (tmp_path / "7" / "status").write_text(status(50, 50))
    (tmp_path / "7" / "smaps_rollup").write_text(rollup(50, 50))
    read = processes.read(7, 2)
    assert read is not None
    assert read.must_have_bytes == 50 * KIB


def test_a_zombie_and_a_process_that_is_gone_have_no_memory(tmp_path: Path) -> None:
    proc = folder(tmp_path, 7, status="Name:\tx\nState:\tZ (zombie)\nThreads:\t1\n", smaps_rollup="")
    assert read_once(7, proc) is None
    assert read_once(8, proc) is None
    assert LinuxProcesses(proc).children(8) == ()


def test_children_of_every_thread_are_found(tmp_path: Path) -> None:
    proc = folder(tmp_path, 7)
    (tmp_path / "7" / "task" / "7" / "children").write_text("8 9 ")
    (tmp_path / "7" / "task" / "71").mkdir()
    (tmp_path / "7" / "task" / "71" / "children").write_text("10 ")
    assert sorted(LinuxProcesses(proc).children(7)) == [8, 9, 10]


@linux
def test_a_real_process_that_grows_and_then_dies() -> None:
    grow = "import sys; sys.stdin.readline(); b = bytearray(b'x') * (64 << 20); print(1, flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", grow]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        before = wait_for_start(process.pid)
        process.stdin.write("\n")
        process.stdin.flush()
        process.stdout.readline()
        after = read_once(process.pid)
        assert after is not None
        grown = (after.must_have_bytes or 0) - (before.must_have_bytes or 0)
        assert (64 << 20) <= grown < (70 << 20) + (after.swap_bytes or 0)
        process.kill()
        process.wait()
        assert read_once(process.pid) is None


def wait_for_start(pid: int) -> Memory:
    """Memory of a Python that has started up: it does not grow any more."""
    last = read_once(pid)
    for _ in range(100):
        time.sleep(0.05)
        now = read_once(pid)
        if now is not None and now == last:
            return now
        last = now
    raise AssertionError("the process never came to rest")


@given(st.text(), st.text())
def test_any_text_is_read(one: str, other: str) -> None:
    for text in (one, other, f"Pss_Anon: {one}\nPss_Shmem: {other}"):
        rollup_memory(text)
        status_memory(text)
