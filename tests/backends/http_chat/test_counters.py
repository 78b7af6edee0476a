"""Prometheus counters: read, and believed only where they fit the request."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base import Evidence
from backends.http_chat.chat import Said
from backends.http_chat.connection import Connection
from backends.http_chat.counters import Counters, label, total
from tests.backends.recorded_http import Playing, serving

TEXT = """# HELP p:prompt_total Prompt tokens.
# TYPE p:prompt_total counter
p:prompt_total{model="a b",engine="0"} 12.0
p:prompt_total{model="c",engine="1"} 30
p:prompt_total_created{model="c"} 1.7e+09
p:info{block_size="16",gpu="0.9"} 1.0
p:plain 7 1395066363000
"""


def test_a_counter_is_summed_over_its_labels() -> None:
    assert total(TEXT, "p:prompt_total") == 42
    assert total(TEXT, "p:plain") == 7
    assert total(TEXT, "p:absent") is None
    assert total("x NaN\n", "x") is None
    assert label(TEXT, "p:info", "block_size") == "16"
    assert label(TEXT, "p:info", "size") is None
    assert label(TEXT, "p:absent", "block_size") is None


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    total(text, "a")
    label(text, "a", "b")


def witnessed(before: tuple[int, int], after: tuple[int, int] | None, usage: dict[str, Any]) -> Evidence:
    def metrics(counts: tuple[int, int]) -> bytes:
        return f'p {counts[0]}\nc{{source="x"}} {counts[1]}\n'.encode()

    with serving(Playing({"/metrics": metrics(before)})) as server:
        connection = Connection(server.url, "test", 5.0)
        witness = Counters(connection, "p", "c", "--flag")
        if after is None:
            server.answers.clear()
        else:
            server.answers["/metrics"] = metrics(after)
        evidence = witness(Said(usage=usage))
        connection.close()
    return evidence


SILENT = {"prompt_tokens": 80, "completion_tokens": 2, "prompt_tokens_details": None}
TOLD = {"prompt_tokens": 80, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 64}}


def test_counters_say_what_the_reply_does_not() -> None:
    said = witnessed((100, 10), (180, 74), SILENT)
    assert (said.prompt_tokens, said.cached_tokens, said.evaluated_tokens) == (80, 64, 16)
    assert said.sources["cached_tokens"] == "metrics c"
    assert "--flag" in said.log[0]


def test_counters_know_a_real_zero() -> None:
    assert witnessed((100, 10), (180, 10), SILENT).cached_tokens == 0


@pytest.mark.parametrize("after", [(100, 10), (181, 74), (260, 74), (180, 9), (180, 110), None])
def test_counters_that_do_not_fit_the_request_are_not_believed(after: tuple[int, int] | None) -> None:
    """Not yet written, somebody else's request among them, a restarted server, or none."""
    said = witnessed((100, 10), after, SILENT)
    assert said.cached_tokens is None
    assert said.evaluated_tokens is None
    assert "--flag" in said.log[0]
    assert witnessed((100, 10), after, TOLD).cached_tokens == 64


def test_a_reply_and_counters_that_agree_and_disagree() -> None:
    assert witnessed((100, 10), (180, 74), TOLD) == witnessed((100, 10), None, TOLD)
    assert "grew by 48" in str(witnessed((100, 10), (180, 58), TOLD).conflict)
