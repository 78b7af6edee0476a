"""What the statistics are told of a dispatch, and where its time went."""

from __future__ import annotations

from typing import Any

import pytest

from harness.experiment.blocks import cells_of
from harness.experiment.decomposition import decomposed, parts_of
from harness.experiment.observations import METRICS, metric_of, observations_of
from harness.experiment.plan import PlanError
from tests.harness.experiment.plans import S, done, plan, record, totals

PLAN = plan(blocks=2)
CELLS = cells_of(PLAN)


def test_outcomes_faults_and_what_is_neither() -> None:
    seen = observations_of(
        PLAN,
        [
            done(CELLS[0], record(), warm_up=True),
            done(CELLS[0], record(exit_status="aborted", verified="not_run")),
            done(CELLS[0], record(exit_status="infra_fault", verified="not_run")),
            done(CELLS[0], record(2.0), attempt=2),
            done(CELLS[1], record(3.0, verified="fail", exit_status="limit_wall")),
            done(CELLS[1], record(9.0)),
        ],
    )
    assert [(one.excluded, one.success, one.time_s, one.censored) for one in seen] == [
        (True, None, 1.0, False), (False, True, 2.0, False), (False, False, 3.0, True),
    ]  # fmt: skip
    assert {one.limit_s for one in seen} == {1800.0}


def test_every_measure_has_a_metric_and_the_other_way_round() -> None:
    (one,) = observations_of(PLAN, [done(CELLS[0], record(10.0))])
    assert set(one.measures) == {name for name, metric in METRICS.items() if metric.kind in ("ratio", "difference")}
    assert one.measures["decode_tokens_per_s"] == pytest.approx(100 / 8)
    assert one.measures["cached_share"] == pytest.approx(0.6)


def test_what_an_engine_does_not_say_is_not_known() -> None:
    (one,) = observations_of(PLAN, [done(CELLS[0], record(decode_ns=None, cached_tokens=None, generated_tokens=None))])
    assert one.measures["decode_s"] is None
    assert one.measures["cached_share"] is None
    assert one.measures["decode_tokens_per_s"] is None


def test_a_metric_that_there_is_not() -> None:
    with pytest.raises(PlanError, match="no metric 'speed'"):
        metric_of("speed")


def test_the_parts_sum_up_to_the_whole() -> None:
    parts = parts_of(totals(10.0, lost_by_cause_s={"P1": 0.25, "E2": 0.5, "P4": None}))
    assert sum(parts.values()) == pytest.approx(10.0)
    assert (parts["lost P1"], parts["lost E2"], parts["prefill"]) == (0.25, 0.5, 0.25)
    together = parts_of(totals(10.0, lost_by_cause_s={"P4": None, "P1": None}, lost_ns=S // 2))
    assert together["lost P1+P4"] == 0.5
    assert sum(together.values()) == pytest.approx(10.0)
    assert parts_of(totals(10.0), {"P1": 0.75, "E2": 1.25}) == pytest.approx(
        {"lost P1": 0.375, "lost E2": 0.625, "prefill": 0.0, "decode": 8.0, "tools": 0.5, "rest": 0.5}
    ), "a price never takes more than there was"
    assert sum(parts_of(totals(10.0, prefill_ns=None)).values()) == pytest.approx(10.0)
    assert sum(parts_of(totals(10.0, prefill_ns=None, engine_ns=None)).values()) == pytest.approx(10.0)


def test_the_difference_is_put_down_to_what_makes_it() -> None:
    """B loses two seconds of prefill to P1 in every dispatch, and nothing else differs."""
    slower: dict[str, Any] = {"prefill_ns": 3 * S, "decode_ns": 8 * S, "engine_ns": 11 * S, "tool_ns": S // 2}
    pairs = [
        done(cell, record(12.0, **slower, lost_by_cause_s={"P1": 2.0}) if cell.arm == "B" else record(10.0))
        for cell in CELLS
    ]
    rows = decomposed(pairs, "A", "B", {})
    assert [rows[0].part, rows[1].part, rows[1].code] == ["whole", "lost", "P1"]
    assert [row.difference_s for row in rows[:2]] == pytest.approx([2.0, 2.0])
    assert rows[1].title
    assert sum(row.difference_s for row in rows[1:]) == pytest.approx(rows[0].difference_s)
    assert (rows[0].pairs, rows[0].tasks) == (12, 6)
    assert rows[0].low_s is None, "no spread between tasks, no interval"


def test_only_pairs_count_in_the_decomposition() -> None:
    alone = [done(cell, record()) for cell in CELLS if cell.arm == "A"]
    assert decomposed(alone, "A", "B", {}) == ()
