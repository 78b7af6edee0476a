"""Experiments that are simulated: tokens without an engine, no times, and the same tokens as the real engine's."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from backends import parse_target
from backends.base import TargetError
from harness.cli import app
from harness.cli.ab_simulated import check_simulated, open_modelled
from harness.experiment.document import document_of
from harness.experiment.plan import PlanError
from harness.experiment.plan_files import SIMULATE
from harness.experiment.plan_words import checked
from harness.experiment.pricing import told_of
from harness.experiment.store import read_experiment
from profiler.report.ab import print_ab
from tests.harness.experiment.plans import plan
from tests.harness.test_ab_stand import go_on, made


def test_the_cache_of_each_arm_without_an_engine(tmp_path: Path) -> None:
    path = made(tmp_path, target=None, fidelity="simulate", **SIMULATE)
    go_on(path)
    stored = read_experiment(path)
    document = document_of(stored, told_of(stored))
    plain, hostile = (arm.cache for arm in document.arms)
    assert plain is not None
    assert hostile is not None
    assert (plain.partial, plain.full_misses, plain.lost_tokens, plain.lost_by_cause_tokens) == (0, 0, 0, {})
    assert hostile.hits == 0
    assert list(hostile.lost_by_cause_tokens) == ["P1"]
    assert hostile.evaluated_tokens == hostile.prompt_tokens
    (row,) = document.comparisons
    assert (row.word, row.primary.metric, row.parts) == ("worse", "evaluated_tokens", ())
    assert {point.time_s for point in document.points} == {None}
    assert {value for point in document.points for name, value in point.measures.items() if name.endswith("_s")} == {
        None
    }
    out = io.StringIO()
    print_ab(document, json_output=False, out=out)
    assert "lost tokens by cause" in out.getvalue()
    assert "simulate ·" in out.getvalue()


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"primary": "time_to_success_s"}, "a simulation tells no time_to_success_s"),
        ({"guards": ("decode_s",)}, "a simulation tells no decode_s"),
        ({"cache": "cold"}, "no cold engine"),
    ],
)
def test_what_a_simulation_cannot_tell_is_said_before(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(PlanError, match=said) as raised:
        checked(plan(**{"fidelity": "simulate", **SIMULATE, **fields}))
    assert raised.value.hint


def test_an_engine_without_a_policy_is_named() -> None:
    with pytest.raises(TargetError, match="no cache policy models the engine 'ollama'") as raised:
        check_simulated(parse_target("ollama:http://127.0.0.1:1#m"))
    assert "llama-server" in (raised.value.hint or "")


def test_settings_of_the_target_reach_the_policy_and_its_context_is_a_slots() -> None:
    with pytest.raises(TargetError):
        check_simulated(parse_target("llama-server:?slots=many"))
    opened = open_modelled(parse_target("llama-server:?ctx=4096&slots=2&threads=1"))
    assert opened.facts().context_tokens == 2048
    opened.close()


def test_both_fidelities_at_once_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PlanError, match="exclude each other"):
        app(["ab", "plain", "focused", "--tasks", "toolbench:1", "--simulate", "--rehearse"], standalone_mode=False)


@pytest.mark.engine
def test_a_simulation_evaluates_and_loses_the_tokens_of_the_real_engine(tmp_path: Path) -> None:
    seen: list[Any] = []
    for fidelity in ("simulate", "rehearse"):
        further = {**SIMULATE, "fidelity": fidelity, "pauses": 0}
        path = made(tmp_path / fidelity, target="tiny", tasks=["toolbench/chain2-1"], **further)
        go_on(path)
        stored = read_experiment(path)
        document = document_of(stored, told_of(stored))
        names = ("evaluated_tokens", "lost_tokens", "generated_tokens", "turns")
        points = {point.arm: [point.measures[name] for name in names] for point in document.points}
        seen.append((points, [arm.cache for arm in document.arms]))
    simulated, rehearsed = seen
    assert simulated == rehearsed
    assert simulated[0]["plain,prompt.volatile=counter"][1] > 0
