"""A policy behind the contract of an engine: what it reuses can be worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from backends import open_engine
from backends.base import ContextOverflow, Engine, Evidence, Forcer, KeepsTime, Request, Resetter, Target
from harness.simulation.modelled import Modelled
from harness.simulation.settings import options_of


def engine(context_tokens: int | None = 4096, **options: str) -> Modelled:
    made = options_of("llama-server", options)
    return Modelled(open_engine(Target("scripted")), "llama-server", made, context_tokens, options)


def asked(modelled: Modelled, text: str, *further: dict[str, Any], reply: str = "yes") -> Evidence:
    request = Request(({"role": "user", "content": text}, *further))
    forced = modelled.forced(request, {"role": "assistant", "content": reply})
    assert forced is not None
    events = list(modelled.stream(Request(request.messages, forced=forced)))
    return next(event for event in events if isinstance(event, Evidence))


def test_it_is_an_engine_that_can_be_forced_and_emptied_and_whose_time_stands_still() -> None:
    made = engine()
    assert isinstance(made, Engine)
    assert isinstance(made, Forcer)
    assert isinstance(made, Resetter)
    assert isinstance(made, KeepsTime)
    assert made.clock() == 0


def test_a_conversation_that_goes_on_evaluates_what_is_new_and_an_emptied_cache_all() -> None:
    made = engine()
    first = asked(made, "a b c d")
    assert (first.cached_tokens, first.prefill_ns, first.decode_ns) == (0, None, None)
    further = ({"role": "assistant", "content": "yes"}, {"role": "user", "content": "e"})
    second = asked(made, "a b c d", *further)
    assert first.prompt_tokens is not None
    assert first.generated_tokens is not None
    # The last token of the reply was sampled and never evaluated.
    assert second.cached_tokens == first.prompt_tokens + first.generated_tokens - 1
    assert second.sources["cached_tokens"] == "policy of llama-server"
    made.reset()
    assert asked(made, "a b c d", *further).cached_tokens == 0


def test_its_facts_are_of_what_is_modelled() -> None:
    facts = engine(cache_ram="0").facts()
    assert (facts.engine, facts.context_tokens, facts.settings) == ("llama-server", 4096, {"cache_ram": "0"})
    assert facts.build is not None
    assert facts.build.startswith("modelled; prompts by scripted")


def test_a_prompt_that_does_not_fit_is_refused_as_the_engine_would() -> None:
    with pytest.raises(ContextOverflow) as raised:
        asked(engine(8), "a b c d e f g h")
    assert raised.value.context_tokens == 8


def test_without_a_known_context_nothing_is_too_long() -> None:
    assert asked(engine(None), "a " * 5000).cached_tokens == 0
