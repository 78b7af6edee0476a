"""Facts that must be equal, and those that arms differ in on purpose."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from backends import parse_target
from backends.base import Facts
from harness.experiment.comparability import Ground, check_equal, differences
from harness.experiment.plan import PlanError
from tests.profiler.test_store import run_info

FACTS = Facts("llama-server", build="b1", model="a.gguf", quant="f16", context_tokens=4096, slots=1, launched=True)


def ground(arm: str = "A", target: str = "llama-server:a.gguf?slots=1", **changed: Any) -> Ground:
    info = msgspec.structs.replace(run_info(), facts=msgspec.structs.replace(FACTS, **changed))
    return Ground(arm, parse_target(target), info)


def test_equal_ground_is_comparable() -> None:
    check_equal([ground(), ground("B"), ground()])


@pytest.mark.parametrize(
    ("fact", "value"), [("build", "b2"), ("model", "b.gguf"), ("quant", "q4"), ("context_tokens", 512), ("slots", 2)]
)
def test_a_fact_that_differs_between_arms_of_one_target_is_named(fact: str, value: Any) -> None:
    with pytest.raises(PlanError, match=f"A and B cannot be compared: {fact} is .* and {value!r}"):
        check_equal([ground(), ground("B", **{fact: value})])


def test_two_loads_of_one_arm_must_be_equal_too() -> None:
    with pytest.raises(PlanError, match="two loads of A cannot be compared: build"):
        check_equal([ground(), ground(build="b2")])


def test_another_model_on_purpose_may_differ_in_the_model_and_in_nothing_else() -> None:
    other = "llama-server:b.gguf?slots=1"
    check_equal([ground(), ground("B", other, model="b.gguf", quant="q4", architecture="x")])
    with pytest.raises(PlanError, match="build"):
        check_equal([ground(), ground("B", other, model="b.gguf", build="b2")])
    with pytest.raises(PlanError, match="context_tokens"):
        check_equal([ground(), ground("B", other, model="b.gguf", context_tokens=512)])


def test_other_options_on_purpose_may_differ_in_what_they_set() -> None:
    other = "llama-server:a.gguf?slots=2"
    check_equal([ground(), ground("B", other, slots=2, settings={"slots": "2"})])
    with pytest.raises(PlanError, match="model"):
        check_equal([ground(), ground("B", other, slots=2, model="b.gguf")])


def test_another_build_on_purpose_is_another_binary() -> None:
    check_equal([ground(), ground("B", "llama-server:a.gguf?slots=1&binary=other", build="b2")])


def test_machine_version_and_sandbox_are_never_exempt() -> None:
    base = ground()
    other = ground("B", "vllm:http://127.0.0.1:1#b", model="b")
    for changed, name in (
        ({"machine": msgspec.structs.replace(base.info.machine, cores_logical=77)}, "machine.cores_logical"),
        ({"versions": {**base.info.versions, "xllamacpp": "0"}}, "version of xllamacpp"),
        ({"settings": {"sandbox": {"backend": "none"}}}, "sandbox.backend"),
    ):
        against = other._replace(info=msgspec.structs.replace(other.info, **changed))
        assert name in {found for found, _, _ in differences(base, against)}
