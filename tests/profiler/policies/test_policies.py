"""Policies are found by name, and each has what the others have."""

from __future__ import annotations

from array import array

import msgspec
import pytest

from backends import engine_names
from backends.base import UnknownEngine
from profiler.policies import Message, Predicted, Sent, find_messages, load, policy_names
from profiler.policies.base import Role


def test_a_policy_is_named_as_the_engine_that_it_models() -> None:
    assert {"llama-server", "llama-cpp", "infinite"} <= set(policy_names())
    assert set(policy_names()) - {"infinite"} <= set(engine_names())


def test_an_unknown_name_is_told_the_nearest_one() -> None:
    with pytest.raises(UnknownEngine) as caught:
        load("lama-server")
    assert caught.value.hint == "did you mean llama-server?"


@pytest.mark.parametrize("name", policy_names())
def test_a_policy_starts_with_its_engines_settings_and_an_empty_cache(name: str) -> None:
    module = load(name)
    assert issubclass(module.Options, msgspec.Struct)
    policy = module.open_policy(module.Options())
    first = policy.serve(Sent("c", array("i", range(100)), array("i", [1, 2])))
    assert isinstance(first, Predicted)
    assert first.cached_tokens in (0, None)
    assert first.why


def test_messages_are_found_by_how_a_template_opens_them() -> None:
    prompt = array("i", [0, 1, 5, 9, 1, 6, 9, 1, 5, 9, 9, 1])
    openings: dict[Role, array[int]] = {"user": array("i", [1, 5]), "assistant": array("i", [1, 6])}
    found = find_messages(prompt, openings)
    assert found == (Message("user", 1), Message("assistant", 4), Message("user", 7))
