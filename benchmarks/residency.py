"""What sampling memory costs: CPU time at 10 Hz as a share of a core, on processes of known size.

The engine is a stand-in that holds anonymous memory in pages of 4 KiB, the worst case for the walk over its page
tables, and some threads. `share_of_core` is of the steady state; `ms_first_sample` has one such walk, of which
there are few later. Run: `make bench`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time

from profiler.residency.nvidia import NvidiaGpus, open_gpus
from profiler.residency.records import ResidencySample
from profiler.residency.sampler import CORE_SHARE, INTERVAL_S, MemorySampler, this_system

HOLDER = """
import mmap, sys, threading
area = mmap.mmap(-1, max(4096, int(sys.argv[1])), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
if hasattr(mmap, "MADV_NOHUGEPAGE"):
    area.madvise(mmap.MADV_NOHUGEPAGE)
for at in range(0, len(area), 4096):
    area[at] = 1
for _ in range(int(sys.argv[2])):
    threading.Thread(target=threading.Event().wait, daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
"""


def main() -> None:
    """Print one JSON object: shares of a core, time a sample and lateness for each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mebibytes", type=int, nargs="+", default=[64, 1024, 4096])
    parser.add_argument("--threads", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=15.0)
    arguments = parser.parse_args()
    gpus = open_gpus()
    rows = [run(size, arguments.threads, arguments.seconds) for size in arguments.mebibytes]
    print(json.dumps({"interval_s": INTERVAL_S, "limit": CORE_SHARE, "sizes": rows, **gpu_cost(gpus)}, indent=2))


def run(mebibytes: int, threads: int, seconds: float) -> dict[str, float | int]:
    """Sample a holder of that much memory for some seconds."""
    command = [sys.executable, "-c", HOLDER, str(mebibytes << 20), str(threads)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        holder.stdout.readline()
        try:
            cpu_ns, wall_ns, taken = sampled(holder.pid, seconds)
            start = time.thread_time_ns()
            this_system().read((holder.pid,), 0)
            first_ns = time.thread_time_ns() - start
        finally:
            holder.stdin.close()
    return {
        "mebibytes": mebibytes,
        "threads": threads,
        "samples_per_s": round(len(taken) / (wall_ns / 1e9), 2),
        "share_of_core": round(cpu_ns / wall_ns, 5),
        "ms_first_sample": round(first_ns / 1e6, 3),
        "worst_lateness_ms": round(max(sample.lateness_ns for sample in taken) / 1e6, 2),
    }


def sampled(pid: int, seconds: float) -> tuple[int, int, list[ResidencySample]]:
    """CPU time of this process and wall time after the first sample, while the sampler runs and nothing else does."""
    taken: list[ResidencySample] = []
    with MemorySampler(lambda: (pid,), taken.append):
        cpu_ns, wall_ns = time.process_time_ns(), time.perf_counter_ns()
        time.sleep(seconds)
    return time.process_time_ns() - cpu_ns, time.perf_counter_ns() - wall_ns, taken


def gpu_cost(gpus: NvidiaGpus | None) -> dict[str, float | None]:
    """CPU time of reading the GPUs once, ms; `None` without one."""
    if gpus is None:
        return {"gpu_ms_per_sample": None}
    start = time.thread_time_ns()
    for _ in range(20):
        gpus.read((), None)
    cost_ms = (time.thread_time_ns() - start) / 20 / 1e6
    gpus.close()
    return {"gpu_ms_per_sample": round(cost_ms, 3)}


if __name__ == "__main__":
    main()
