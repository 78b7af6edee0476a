"""Whole comparisons on the simulated engine: what they find, what a kill loses (nothing), what a failure leaves."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from backends.base import Target
from harness.cli.quant_stand import QuantStand, given_up
from harness.quant.candidates import Choice
from harness.quant.flips import positions_of_tasks
from harness.quant.measured import results_of
from harness.quant.plan import QuantPlan, steps_of
from harness.quant.planning import sessions_of_plan
from harness.quant.running import Progress, go_through, still_to_do
from harness.quant.store import StepWriter, read_comparison
from harness.settings import find_setting
from profiler.store import read_run
from tests.harness.quant.comparisons import Bench, candidate, choice, plan, stored
from tests.harness.tasks.bare_sandbox import BareSandbox
from tests.profiler.dispatches import CONFINED

ROOT = Path(__file__).parents[2]


class Killed(BaseException):
    """As much of a kill as one process can do to itself."""


def go_on(path: Path, *, stop_after: int | None = None, bench: Bench | None = None) -> list[Progress]:
    """Do what is left of a comparison; `stop_after` so many steps it ends as by a kill."""
    found = read_comparison(path)
    of = found.comparison.plan
    sandbox = BareSandbox()
    positions = positions_of_tasks(of.amount.position_tasks, 97, find_setting("plain"), sandbox, time.perf_counter_ns)
    stand = QuantStand(
        found,
        sandbox,
        CONFINED,
        positions=positions[: of.amount.positions],
        sessions=sessions_of_plan(of, ()),
        scoring=bench or Bench(),
    )
    told: list[Progress] = []

    def tell(progress: Progress) -> None:
        told.append(progress)
        if len(told) == stop_after:
            raise Killed

    with closing(StepWriter(path)) as writer:
        go_through(still_to_do(steps_of(of), found.done), stand.sit, writer.step, failed=given_up, on_done=tell)
    return told


def complete(path: Path, of: QuantPlan) -> bool:
    return not still_to_do(steps_of(of), read_comparison(path).done)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison that was not disturbed."""
    path = stored(tmp_path_factory.mktemp("whole"), plan())
    go_on(path)
    return path


def test_what_is_measured_of_each_candidate(whole: Path) -> None:
    assert complete(whole, plan())
    full, half, quarter = results_of(read_comparison(whole))
    assert full.measured is not None
    assert half.measured is not None
    assert len(half.measured.load_s) == 2
    (rate,) = half.measured.rates
    # The simulation decodes a token in 8.5 ms, and counts the first one into it.
    assert rate.decode_tokens_per_s == pytest.approx((1000 / 8.5,) * 2)
    assert full.measured.rates[0].decode_tokens_per_s == pytest.approx((1000 / 16,) * 2)
    assert rate.prefill_tokens_per_s == pytest.approx((10_000,) * 2)
    assert half.measured.cache is not None
    assert half.measured.cache.continuations == 5
    assert half.measured.cache.full_miss_rate == 0.0
    assert {(task.task, task.success, task.score) for task in half.measured.tasks} == {
        ("toolbench/select-1", True, 1.0),
        ("toolbench/chain2-1", True, 1.0),
    }
    assert half.quality is not None
    assert half.flips is not None
    assert (half.flips.positions, half.flips.changed) == (4, 0)
    assert full.flips is None, "the reference does not differ from itself"
    assert quarter.failed is None
    assert half.measured.must_have_bytes is None, "a simulation has no process"


def test_killed_twice_and_resumed_gives_the_same_and_repeats_nothing(tmp_path: Path, whole: Path) -> None:
    broken = stored(tmp_path, plan())
    for stop_after in (4, 9):
        with pytest.raises(Killed):
            go_on(broken, stop_after=stop_after)
    go_on(broken)
    once, again = read_comparison(whole).done, read_comparison(broken).done
    assert [one.step for one in once] == [one.step for one in again]
    assert max(Counter(one.step.key for one in again).values()) == 1
    for mine, theirs in zip(results_of(read_comparison(whole)), results_of(read_comparison(broken)), strict=True):
        assert mine.measured is not None
        assert theirs.measured is not None
        assert mine.measured.rates == theirs.measured.rates
        assert mine.measured.cache == theirs.measured.cache
        assert (mine.quality, mine.flips) == (theirs.quality, theirs.flips)
        assert [(one.task, one.success) for one in mine.measured.tasks] == [
            (one.task, one.success) for one in theirs.measured.tasks
        ]


_SITTING = """
import os, signal, sys
from pathlib import Path
from tests.harness import test_quant_stand as stand

told = 0
class Writer(stand.StepWriter):
    def step(self, done):
        global told
        super().step(done)
        told += 1
        if told == 7:
            os.kill(os.getpid(), signal.SIGKILL)

stand.StepWriter = Writer
stand.go_on(Path(sys.argv[1]))
"""


def test_a_process_that_is_killed_keeps_every_step_that_had_ended(tmp_path: Path) -> None:
    path = stored(tmp_path, plan())
    ended = subprocess.run([sys.executable, "-c", _SITTING, str(path)], cwd=ROOT, check=False, timeout=120)
    assert ended.returncode == -signal.SIGKILL
    kept = read_comparison(path).done
    assert [one.step for one in kept] == list(steps_of(plan())[:7])
    assert results_of(read_comparison(path))[0].candidate.name == "F16"
    with pytest.raises(Killed):
        go_on(path, stop_after=2)
    done = read_comparison(path).done
    assert [one.step for one in done] == list(steps_of(plan())[:9])
    assert done[:7] == kept


def test_a_candidate_that_cannot_be_loaded_is_a_result(tmp_path: Path) -> None:
    of = choice()
    broken = candidate("Q2_K", 3.2, Target("scripted", "no-such-reply"))
    of = Choice((*of.candidates, broken), of.reference)
    path = stored(tmp_path, plan(of))
    go_on(path, bench=Bench(broken=("Q2_K", "Q8_0")))
    assert complete(path, plan(of))
    results = {one.candidate.name: one for one in results_of(read_comparison(path))}
    assert "no reply 'no-such-reply'" in (results["Q2_K"].failed or "")
    assert results["Q2_K"].measured is None
    assert results["Q8_0"].failed is None
    assert results["Q8_0"].quality is None
    assert results["Q8_0"].measured is not None
    assert "quality was not measured: Q8_0 gave no logits" in results["Q8_0"].measured.doubts
    assert results["F16"].quality is not None


def test_every_load_is_a_run_of_its_own_that_can_be_read(whole: Path) -> None:
    lines = (whole / "quant.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["holds"] == "StepDone"
    loads = [run for run in sorted(whole.iterdir()) if run.is_dir()]
    assert [run.name for run in loads] == [f"{number:03}" for number in range(1, 7)]
    first = read_run(loads[0])
    assert first.closed is not None
    assert first.closed.status == "complete"
    assert len({record.request_id for record in first.requests}) == len(first.requests)
