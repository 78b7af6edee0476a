"""vLLM: what it says of itself, and its counters as a second witness."""

from __future__ import annotations

import msgspec

from backends.base import Evidence, Request
from tests.backends.recorded_http import played

MODELS = {"/v1/models": b'{"data": [{"id": "m", "max_model_len": 4096}]}'}
INFO = b'vllm:cache_config_info{block_size="%s",cache_dtype="auto"} 1.0\n'
HELLO = Request(({"role": "user", "content": "hello"},), stream=False)


def test_the_block_size_is_the_servers_own() -> None:
    """A hybrid model's blocks are larger than 16; without a word of it the step is unknown."""
    for said, expected in ((INFO % b"16", 16), (INFO % b"528", 528), (INFO % b"None", None), (b"", None)):
        with played("vllm", {**MODELS, "/metrics": said, "/version": b'{"version": "0.12.0"}'}) as (engine, _):
            facts = engine.facts()
        assert facts.granularity_tokens == expected
        assert (facts.build, facts.model, facts.context_tokens) == ("0.12.0", "m", 4096)
    with played("vllm", MODELS) as (engine, _):
        assert engine.facts().granularity_tokens is None


def test_the_counters_complete_a_reply_without_details() -> None:
    def counters(prompt: int, cached: int) -> bytes:
        return f"vllm:prompt_tokens_total {prompt}\nvllm:prompt_tokens_cached_total {cached}\n".encode()

    reply = {
        "choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 80, "completion_tokens": 1, "prompt_tokens_details": None},
    }
    answers = {**MODELS, "/metrics": counters(10, 0), "/v1/chat/completions": msgspec.json.encode(reply)}
    with played("vllm", answers) as (engine, server):
        server.answers["/metrics"] = counters(90, 64)
        (evidence,) = [event for event in engine.stream(HELLO) if isinstance(event, Evidence)]
    assert evidence.cached_tokens == 64
    assert evidence.sources["cached_tokens"] == "metrics vllm:prompt_tokens_cached_total"
