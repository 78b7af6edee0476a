"""From a stored run to cases: each losing request beside the right ones."""

from __future__ import annotations

from array import array
from pathlib import Path

import msgspec
import pytest

from backends.base import Facts
from profiler.causes.base import Case, Step
from profiler.causes.cases import RECENT, cases_of_run, lost_something
from profiler.findings import find
from profiler.machine import machine
from profiler.records import AnchorSample, RunInfo
from profiler.store import RunWriter, read_run
from tests.profiler.causes.engine_cases import IMAGE, ONE, SECOND, ids, judged, step

LOSES = judged(1200, 3, 1000)


def stored(folder: Path, *steps: Step, load_log: str = "", anchors_s: tuple[int, ...] = (), facts: Facts = ONE) -> Path:
    """A run of these requests; anchors are stamped at a second of their clock."""
    writer = RunWriter.create(folder, RunInfo("r", "test", 1, "t", facts, machine(), {}, {}))
    writer.load_log(load_log)
    for one in steps:
        body = msgspec.json.encode(one.request)
        writer.request(one.record, body, one.rendered)
    for second in anchors_s:
        writer.anchor(AnchorSample(second * SECOND, None, None))
    writer.close("complete")
    return writer.path


def cases(folder: Path, *steps: Step, anchors_s: tuple[int, ...] = ()) -> list[Case]:
    path = stored(folder, *steps, anchors_s=anchors_s)
    run = read_run(path)
    return list(cases_of_run(path, run.requests, run.info.facts, "", run.anchors))


def numbers(steps: tuple[Step, ...]) -> list[int]:
    return [one.record.request_id for one in steps]


def test_a_request_stands_beside_the_one_it_continues_and_those_between(tmp_path: Path) -> None:
    (case,) = cases(
        tmp_path,
        step(1, ids(900, 900, 1)),
        step(2, ids(1000, 1000, 1)),
        step(3, ids(2, 50, 3), conversation="title"),
        step(4, ids(300, 400, 4), conversation="sub", parameters={"id_slot": 2}),
        step(5, ids(1000, 1200, 5), verdict=LOSES),
    )
    assert case.previous is not None
    assert case.best is not None
    assert case.previous.record.request_id == case.best.record.request_id == 2
    assert numbers(case.between) == [3, 4]
    assert case.between[1].request["parameters"] == {"id_slot": 2}
    assert case.step.rendered is not None
    assert len(case.step.rendered.token_ids) == 1200
    assert case.own_requests == 0


def test_requests_that_lost_nothing_are_no_cases(tmp_path: Path) -> None:
    steps = (step(1, ids(900, 900, 1)), step(2, ids(1000, 1000, 1), verdict=judged(1000, 899, 899)))
    assert cases(tmp_path, *steps) == []
    assert not lost_something(steps[1].record)


def test_the_best_match_may_be_an_older_prompt_that_the_last_one_left_behind(tmp_path: Path) -> None:
    (case,) = cases(
        tmp_path,
        step(1, ids(1000, 1000, 1)),
        step(2, ids(600, 900, 2)),
        step(3, ids(1000, 1200, 3), verdict=judged(1200, 600, 1000)),
    )
    assert case.best is not None
    assert case.previous is not None
    assert (case.best.record.request_id, case.previous.record.request_id) == (1, 2)
    assert numbers(case.between) == [2]


def test_of_equal_matches_the_latest_counts(tmp_path: Path) -> None:
    (case,) = cases(
        tmp_path,
        step(1, ids(1000, 1000, 1), conversation="one"),
        step(2, ids(1000, 1100, 2), conversation="two"),
        step(3, ids(1000, 1200, 3), verdict=LOSES),
    )
    assert case.previous is None
    assert case.best is not None
    assert case.best.record.request_id == 2
    assert case.changes == ()


def test_no_more_requests_are_held_than_needed(tmp_path: Path) -> None:
    others = [step(n, ids(2, 50, n), conversation=f"c{n}") for n in range(2, RECENT + 20)]
    last = step(RECENT + 30, ids(1000, 1200, 900), verdict=LOSES)
    (case,) = cases(tmp_path, step(1, ids(1000, 1000, 1)), *others, last)
    assert case.best is not None
    assert case.best.record.request_id == 1
    assert len(case.between) == RECENT
    assert case.between[-1].record.request_id == RECENT + 19


def test_generated_tokens_belong_to_a_sequence(tmp_path: Path) -> None:
    whole = ids(1000, 1000, 1)
    replied = step(1, whole[:900], conversation="replied")
    assert replied.rendered is not None
    rendered = msgspec.structs.replace(replied.rendered, generated_ids=array("i", whole[900:]))
    replied = msgspec.structs.replace(replied, rendered=rendered)
    shorter = step(2, ids(950, 960, 2), conversation="shorter")
    (case,) = cases(tmp_path, replied, shorter, step(3, ids(1000, 1200, 3), verdict=LOSES))
    assert case.best is not None
    assert case.best.record.request_id == 1


def test_without_prompts_the_request_before_is_the_best_that_is_known(tmp_path: Path) -> None:
    (case,) = cases(
        tmp_path,
        step(1, None),
        step(2, None, conversation="title"),
        step(3, None, verdict=LOSES),
    )
    assert case.best is not None
    assert case.best.record.request_id == 1
    assert numbers(case.between) == [2]


@pytest.mark.parametrize(("anchor_s", "counted"), [(5, 0), (15, 1), (25, 0)])
def test_an_anchor_counts_where_it_ran_between(tmp_path: Path, anchor_s: int, counted: int) -> None:
    best, last = step(1, ids(1000, 1000, 1)), step(2, ids(1000, 1200, 2), verdict=LOSES)
    (case,) = cases(tmp_path, best, last, anchors_s=(anchor_s,))
    assert case.own_requests == counted


def test_findings_see_the_anchors(tmp_path: Path) -> None:
    steps = (step(1, ids(1000, 1000, 1), conversation="one"), step(2, ids(1000, 1200, 2), verdict=LOSES))
    path = stored(tmp_path, *steps, anchors_s=(15,))
    (finding,) = find(path, read_run(path)).findings
    assert [charge.cause.code for charge in finding.charges] == ["E1"]
    assert finding.tokens == 997


def test_findings_see_the_load_log(tmp_path: Path) -> None:
    shows = step(2, ids(1000, 1200, 2), verdict=LOSES, messages=(IMAGE,))
    path = stored(tmp_path, step(1, ids(1000, 1000, 1)), shows, load_log="srv load_model: loaded multimodal model, 'm'")
    (finding,) = find(path, read_run(path)).findings
    assert [charge.cause.code for charge in finding.charges] == ["E11"]
