"""Flags become settings; what cannot be is said in the user's words."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from backends.base import TargetError, UnknownEngine
from harness.simulation.settings import (
    FACTS,
    chosen_engines,
    differing,
    options_of,
    read_values,
    settings_of,
    split_facts,
)
from profiler.policies import load, policy_names


def test_values_come_from_flags_and_pairs() -> None:
    values = read_values(["cache-ram=0,8192", "kv_unified=on"], {"slots": "1, 4,1", "ctx": None})
    assert values == {"slots": ("1", "4"), "cache_ram": ("0", "8192"), "kv_unified": ("on",)}


@pytest.mark.parametrize("pair", ["slots", "=1", "slots=", "slots=1,,2", " =3"])
def test_a_pair_without_key_or_value_is_refused(pair: str) -> None:
    with pytest.raises(TargetError) as caught:
        read_values([pair], {})
    assert caught.value.hint


def test_an_option_given_twice_is_refused() -> None:
    with pytest.raises(TargetError, match="'slots' is given twice"):
        read_values(["slots=1"], {"slots": "2"})


def test_the_defaults_come_first_then_a_runs_own_then_every_combination() -> None:
    asked = {"slots": ("1", "2"), "cache_ram": ("0",)}
    settings = settings_of(["llama-server"], asked, [("llama-server", {"slots": "3"}), ("mlx", {})])
    assert [(s.options, s.is_default, s.is_own) for s in settings] == [
        ({}, True, False),
        ({"slots": "3"}, False, True),
        ({"slots": "1", "cache_ram": "0"}, False, False),
        ({"slots": "2", "cache_ram": "0"}, False, False),
    ]


def test_each_engine_gets_the_options_that_it_has() -> None:
    settings = settings_of(["llama-server", "vllm"], {"slots": ("1",), "block_size": ("32",)}, [])
    assert [(s.engine, s.options) for s in settings if not s.is_default] == [
        ("llama-server", {"slots": "1"}),
        ("vllm", {"block_size": "32"}),
    ]


def test_without_a_wish_the_usual_grid_is_compared() -> None:
    settings = settings_of(["llama-server"], {}, [])
    assert len(settings) == 1 + 4 * 4 * 2
    assert [s.options for s in settings_of(["llama-cpp"], {}, [])] == [{}]


@pytest.mark.parametrize(
    ("asked", "message", "hint"),
    [
        ({"slot": ("1",)}, "no option 'slot'", "did you mean slots?"),
        ({"zzzzzz": ("1",)}, "no option 'zzzzzz'", "options: batch"),
        ({"slots": ("many",)}, "slots=many is not a whole number", ""),
        ({"slots": ("0",)}, "slots=0 is not a whole number", ">= 1"),
        ({"slot_prompt_similarity": ("2",)}, "slot_prompt_similarity=2", "<= 1"),
        ({"cache_kind": ("half",)}, "one of full, sliding_window, recurrent", ""),
    ],
)
def test_a_wrong_option_is_named_with_what_is_right(asked: dict[str, tuple[str, ...]], message: str, hint: str) -> None:
    with pytest.raises(TargetError, match=message) as caught:
        settings_of(["llama-server"], asked, [])
    assert hint in (caught.value.hint or "")


def test_too_many_combinations_are_refused() -> None:
    many = tuple(map(str, range(1, 60)))
    with pytest.raises(TargetError, match="too many"):
        settings_of(["llama-server"], {"slots": many, "batch": many}, [])


def test_all_engines_are_those_with_a_policy() -> None:
    assert set(chosen_engines(["all"])) == set(policy_names()) - {"infinite"}
    assert chosen_engines(["mlx", "mlx", "vllm"]) == ("mlx", "vllm")
    assert chosen_engines([]) == ()
    with pytest.raises(TargetError, match="no engine"):
        chosen_engines(["infinite"])
    with pytest.raises(UnknownEngine) as caught:
        chosen_engines(["llama_server"])
    assert caught.value.hint == "did you mean llama-server?"


def test_options_are_the_defaults_what_a_run_keeps_the_facts_and_the_setting() -> None:
    facts = {"window": 128, "kv_bytes_per_token": 10.0, "sequential": True}
    options = options_of("llama-server", {"slots": "2"}, facts, {"slots": "4", "cache_ram": "0", "unknown": "1"})
    values = msgspec.structs.asdict(options)
    assert (values["slots"], values["cache_ram"], values["window"]) == (2, 0, 128)
    assert differing("llama-server", options) == {"slots": "2", "cache_ram": "0"}


def test_a_given_fact_wins_and_auto_leaves_an_option_to_the_engine() -> None:
    options = options_of("llama-server", {"window": "64", "slots": "auto"}, {"window": 128}, {"slots": "4"})
    values = msgspec.structs.asdict(options)
    assert values["window"] == 64
    assert values["slots"] is None


@pytest.mark.parametrize("engine", policy_names())
def test_the_defaults_differ_in_nothing(engine: str) -> None:
    assert options_of(engine, {}) == load(engine).Options()
    assert differing(engine, options_of(engine, {})) == {}


def test_sizes_are_shown_where_they_are_varied() -> None:
    options = options_of("llama-server", {"ctx": "4096", "swa_full": "on"})
    assert differing("llama-server", options) == {"swa_full": "on"}
    assert differing("llama-server", options, ["ctx"]) == {"ctx": "4096", "swa_full": "on"}


def test_facts_of_the_model_are_no_settings() -> None:
    facts, varied = split_facts(["llama-server"], {"window": ("128",), "slots": ("1", "2")})
    assert facts == {"window": 128}
    assert varied == {"slots": ("1", "2")}
    with pytest.raises(TargetError, match="one value"):
        split_facts(["llama-server"], {"window": ("128", "256")})


@pytest.mark.parametrize("engine", [name for name in policy_names() if name != "infinite"])
def test_the_document_lists_every_option(engine: str) -> None:
    text = (Path(__file__).parents[3] / "docs" / "simulate.md").read_text(encoding="utf-8")
    (row,) = re.findall(rf"^\| `{engine}` \| (.*) \|$", text, re.MULTILINE)
    fields = {field.name for field in msgspec.structs.fields(load(engine).Options)}
    assert set(re.findall(r"`(\w+)`", row)) == fields - set(FACTS)
