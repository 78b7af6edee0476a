"""A comparison on disk: read back as it was written, appended to, and good after a kill at any byte."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.experiment.plan import PlanError
from harness.quant.plan import steps_of
from harness.quant.running import still_to_do
from harness.quant.steps import CallsFound, GreedyCall, Loaded, StepDone
from harness.quant.store import Comparison, StepWriter, create, find_comparison, read_comparison
from profiler.records import AnchorSample
from profiler.run_files import StoreError
from tests.harness.quant import made_up
from tests.harness.quant.comparisons import plan, stored

STEPS = steps_of(plan())


def loaded(number: int) -> StepDone:
    found = Loaded(1.5, 1000, 20, None, (AnchorSample(5, 100.0, 50.0),), build="b1")
    return StepDone(STEPS[number], found, 1.25, load="001", window_ns=(10, 20))


def append(path: Path, *done: StepDone) -> None:
    with closing(StepWriter(path)) as writer:
        for one in done:
            writer.step(one)


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    comparison = Comparison("a-comparison", 7, plan(), {"F16": made_up.predicted(10, 5.0)}, "this machine", ("a note",))
    path = create(tmp_path, comparison)
    calls = CallsFound(("a 0",), (GreedyCall("x", "{}"),), (None,))
    done = (loaded(0), StepDone(STEPS[1], calls, 0.5), StepDone(STEPS[2], None, 0.0, failed="died"))
    append(path, *done[:1])
    append(path, *done[1:])
    found = read_comparison(path)
    assert found.comparison == comparison
    assert found.done == done
    assert not found.notes


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(cut=st.integers(1, 400))
def test_a_torn_last_line_costs_its_step_alone_and_what_follows_is_whole(tmp_path: Path, cut: int) -> None:
    path = (
        create(tmp_path / str(cut), Comparison("a-comparison", 7, plan()))
        if not (tmp_path / str(cut)).exists()
        else tmp_path / str(cut) / "a-comparison"
    )
    file = path / "quant.jsonl"
    file.unlink(missing_ok=True)
    append(path, loaded(0), loaded(1))
    data = file.read_bytes()
    last = data.rstrip(b"\n").rfind(b"\n") + 1
    file.write_bytes(data[: max(last, len(data) - cut)])
    torn = len(file.read_bytes()) not in (last, len(data) - 1)
    left = read_comparison(path).done
    assert left[0] == loaded(0)
    append(path, loaded(2))
    found = read_comparison(path)
    assert found.done[-1] == loaded(2)
    assert found.done[0] == loaded(0)
    assert len(found.done) == len(left) + 1
    assert bool(found.notes) == torn
    assert len(still_to_do(STEPS, found.done)) == len(STEPS) - len(found.done)


def test_a_comparison_is_found_by_its_name(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="no comparison 'latest'"):
        find_comparison(tmp_path, "latest")
    path = stored(tmp_path, plan())
    assert find_comparison(tmp_path, "latest") == path
    assert find_comparison(tmp_path, "20261120-12") == path
    assert find_comparison(tmp_path, str(path)) == path
    with pytest.raises(PlanError, match="no comparison 'other'") as raised:
        find_comparison(tmp_path, "other")
    assert path.name in (raised.value.hint or "")


def test_what_is_no_comparison_says_so(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no comparison in"):
        read_comparison(tmp_path)
    path = stored(tmp_path, plan())
    (path / "plan.json").write_text("{")
    with pytest.raises(StoreError, match=r"plan\.json"):
        read_comparison(path)
    (path / "plan.json").write_bytes(msgspec.json.encode({"schema": 99}))
    with pytest.raises(StoreError, match="99"):
        read_comparison(path)
