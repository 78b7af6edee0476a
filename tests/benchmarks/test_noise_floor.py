"""What the proof of `dyno aa` holds against two floors, and that its busy processes end."""

from __future__ import annotations

import psutil
import pytest

from benchmarks.noise_floor import BUSY, COUNTS, faults, floor, hogs
from profiler.ab_document import AbDocument
from profiler.guards import CODES
from tests.benchmarks.documents import document, metric

FOREIGN = CODES["foreign_cpu"].format(mean=0.7, worst=0.9)


def seen(shows_from: float | None, *doubts: str, counts: float = 1.0) -> AbDocument:
    times = [metric("prefill_s", 1.01, low=0.9, high=1.1, detectable=shows_from)]
    primary = metric("time to verified success", 1.0, low=0.95, high=1.05, detectable=shows_from)
    metrics = (*times, *(metric(name, counts) for name in COUNTS))
    return document(("A", "B"), word="equivalent", primary=primary, metrics=metrics, doubts=doubts)


def test_a_floor_that_is_higher_and_marked_is_right() -> None:
    assert faults(seen(0.95, "the anchor has drifted"), seen(0.7, FOREIGN)) == []


def test_a_mark_on_the_quiet_machine_or_none_on_the_busy_one_is_wrong() -> None:
    assert faults(seen(0.95, FOREIGN), seen(0.7, FOREIGN)) == ["the machine left alone is marked in 4 of 4"]
    assert faults(seen(0.95), seen(0.7, "late")) == ["busy processes are marked in 0 of 4 dispatches"]


@pytest.mark.parametrize("busy", [0.95, 0.97, None])
def test_a_floor_that_is_no_higher_is_wrong(busy: float | None) -> None:
    assert [fault.partition(" ")[0] for fault in faults(seen(0.95), seen(busy, FOREIGN))] == [
        "time_to_success_s",
        "prefill_s",
    ]


def test_a_count_has_no_noise() -> None:
    assert (
        faults(seen(0.95), seen(0.7, FOREIGN, counts=1.1))[0] == "evaluated_tokens is no time, and differs: [1.0, 1.1]"
    )


def test_a_floor_names_the_primary_as_plans_do_and_leaves_out_what_has_no_interval() -> None:
    assert floor(seen(0.95)).keys() == {"time_to_success_s", "prefill_s"}


def test_busy_processes_end_with_an_error_too() -> None:
    def busy() -> list[psutil.Process]:
        return [child for child in psutil.Process().children() if BUSY in child.cmdline()]

    def fail() -> None:
        assert len(busy()) == 2
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), hogs(2):
        fail()
    assert busy() == []
