"""llama-swap: its activity list as a witness for a server that says no cached tokens."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from backends.base import Evidence, Request
from tests.backends.recorded_http import played

ACTIVITY = "/api/metrics/activity"
HELLO = Request(({"role": "user", "content": "hello"},), stream=False)


def entry(number: int, model: str = "m", **tokens: Any) -> dict[str, Any]:
    return {
        "id": number,
        "model": model,
        "tokens": {"cache_tokens": -1, "input_tokens": 16, "output_tokens": 2, **tokens},
    }


def witnessed(before: list[dict[str, Any]], after: Any, details: Any = None) -> Evidence:
    usage = {"prompt_tokens": 80, "completion_tokens": 2, "prompt_tokens_details": details}
    reply = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}], "usage": usage}
    answers = {
        "/v1/models": b'{"data": [{"id": "m"}]}',
        "/v1/chat/completions": msgspec.json.encode(reply),
        ACTIVITY: msgspec.json.encode(before),
    }
    with played("llama-swap", answers) as (engine, server):
        server.answers[ACTIVITY] = msgspec.json.encode(after)
        (evidence,) = [event for event in engine.stream(HELLO) if isinstance(event, Evidence)]
    return evidence


def test_the_list_says_what_the_reply_does_not() -> None:
    """`input_tokens` has two meanings there, and is not used: the prompt is the reply's."""
    said = witnessed([entry(0)], [entry(0), entry(1, cache_tokens=64)])
    assert (said.prompt_tokens, said.cached_tokens, said.evaluated_tokens) == (80, 64, 16)
    assert said.sources["cached_tokens"] == "llama-swap activity cache_tokens"
    assert witnessed([], [entry(0, cache_tokens=0)]).cached_tokens == 0
    assert witnessed([], {"data": [entry(0, cache_tokens=64)], "page": 1, "total": 1}).cached_tokens == 64


@pytest.mark.parametrize(
    "after",
    [
        [entry(0), entry(1, cache_tokens=-1)],
        [entry(0)],
        [entry(0), entry(1, "other", cache_tokens=64)],
        [entry(0), entry(1, cache_tokens=64), entry(2, cache_tokens=64)],
        [entry(0), entry(1, cache_tokens=64, output_tokens=3)],
        {"error": "gone"},
    ],
    ids=["-1", "not yet", "other model", "two", "other reply", "no list"],
)
def test_what_is_not_surely_this_request_is_unknown(after: Any) -> None:
    said = witnessed([entry(0)], after)
    assert said.cached_tokens is None
    assert said.evaluated_tokens is None


def test_the_reply_comes_first() -> None:
    said = witnessed([], [entry(0, cache_tokens=64)], {"cached_tokens": 70})
    assert said.cached_tokens == 70
    assert said.sources["cached_tokens"] == "usage.prompt_tokens_details.cached_tokens"


def test_prompts_are_shown_by_the_server_behind_it() -> None:
    answers = {
        "/v1/models": b'{"data": [{"id": "m"}]}',
        "/upstream/m/apply-template": b'{"prompt": "hello"}',
        "/upstream/m/tokenize": b'{"tokens": [5, 6]}',
    }
    with played("llama-swap", answers) as (engine, _):
        assert list(engine.render(HELLO).token_ids) == [5, 6]
