"""LM Studio: a reload is noted, the cache is never known, and the loaded model needs no name."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base import EngineFault, TargetError
from backends.http_chat.chat import Said
from backends.lmstudio import evidence_of
from tests.backends.recorded_http import played

USAGE = {"prompt_tokens": 80, "completion_tokens": 2}


def models(*entries: tuple[str, str, str]) -> dict[str, bytes]:
    data = [{"id": name, "type": kind, "state": state, "loaded_context_length": 4096} for name, kind, state in entries]
    return {"/api/v0/models": msgspec.json.encode({"data": data})}


def test_a_reload_is_noted() -> None:
    said = evidence_of(Said(usage=USAGE, further={"stats": {"model_load_time_seconds": 2.5}}))
    assert said.log == ("the model was loaded for this request (2.5 s): its cache was empty",)
    assert evidence_of(Said(usage=USAGE, further={"stats": {"time_to_first_token": 0.1}})).log == ()


@given(
    st.none()
    | st.integers()
    | st.dictionaries(st.sampled_from(["model_load_time_seconds", "x"]), st.none() | st.floats())
)
def test_no_stats_are_a_miss(stats: Any) -> None:
    said = evidence_of(Said(usage=USAGE, further={"stats": stats}))
    assert (said.prompt_tokens, said.cached_tokens, said.evaluated_tokens, said.prefill_ns) == (80, None, None, None)


def test_the_loaded_model_is_meant() -> None:
    listed = models(("a", "llm", "loaded"), ("b", "llm", "not-loaded"), ("e", "embeddings", "loaded"))
    with played("lmstudio", listed) as (engine, _):
        assert (engine.facts().model, engine.facts().context_tokens) == ("a", 4096)
    with played("lmstudio", listed, model="b") as (engine, _):
        assert engine.facts().model == "b"


@pytest.mark.parametrize(
    ("entries", "match"),
    [
        ([("a", "llm", "loaded"), ("b", "vlm", "loaded")], "has 2 models loaded"),
        ([("a", "llm", "not-loaded")], "has no models loaded"),
    ],
)
def test_no_model_or_several_are_said(entries: list[tuple[str, str, str]], match: str) -> None:
    with pytest.raises(TargetError, match=match) as caught, played("lmstudio", models(*entries)):
        pass
    assert "a" in str(caught.value.hint)


def test_another_server_is_said() -> None:
    with pytest.raises(EngineFault, match="lists no models"), played("lmstudio", {"/api/v0/models": b'{"data": [1]}'}):
        pass
