"""SGLang: what it says of itself."""

from __future__ import annotations

from tests.backends.recorded_http import played

MODELS = {"/v1/models": b'{"data": [{"id": "m"}]}'}


def test_the_page_size_is_the_servers_own() -> None:
    info = b'{"version": "0.5.4", "page_size": 64, "context_length": 4096}'
    with played("sglang", {**MODELS, "/get_server_info": info}) as (engine, _):
        facts = engine.facts()
    assert (facts.build, facts.granularity_tokens, facts.context_tokens) == ("0.5.4", 64, 4096)


def test_what_it_does_not_say_is_unknown() -> None:
    with played("sglang", MODELS) as (engine, _):
        facts = engine.facts()
    assert (facts.build, facts.granularity_tokens, facts.context_tokens) == (None, None, None)
