"""llama-cpp-python's server: what its log says of the cache, and what its silence does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends import open_engine, parse_target
from backends.base import Evidence, MissingExtra
from backends.llama_cpp_server import Options, command_line, evidence_in_log
from profiler.measure import measure
from tests.backends.contract import conversation

PERF = "llama_perf_context_print: prompt eval time =       0.88 ms /{:6d} tokens (    0.15 ms per token)\n"
HIT = "Llama.generate: {} prefix-match hit, remaining {} prompt tokens to eval\n"


def known(log: str, prompt: int | None = None) -> tuple[int | None, int | None, int | None]:
    sources = {} if prompt is None else {"prompt_tokens": "usage.prompt_tokens"}
    found = evidence_in_log(log, Evidence(prompt_tokens=prompt, sources=sources))
    return found.prompt_tokens, found.cached_tokens, found.evaluated_tokens


@pytest.mark.parametrize(
    ("log", "prompt", "expected"),
    [
        (HIT.format(3, 6) + PERF.format(6), None, (9, 3, 6)),
        (HIT.format(3, 6) + PERF.format(6), 9, (9, 3, 6)),
        (PERF.format(27), None, (27, 0, 27)),
        (
            "Llama.generate: 9 prefix-match found but partial kv removal not supported\n" + PERF.format(27),
            27,
            (27, 0, 27),
        ),
        ("Llama.generate: full prompt already cached, skipping reset\n" + PERF.format(1), 27, (27, 27, 0)),
        ("Llama.generate: full prompt already cached, skipping reset\n" + PERF.format(1), None, (None, None, None)),
        ("", 27, (27, None, None)),
        (PERF.format(1), 27, (27, None, None)),
        (HIT.format(3, 6), 9, (9, None, None)),
        (PERF.format(6) + PERF.format(6), 6, (6, None, None)),
    ],
    ids=["hit", "hit whole", "cold", "not removable", "all", "all streamed", "silent", "one", "cut", "two requests"],
)
def test_what_the_log_says(log: str, prompt: int | None, expected: tuple[int | None, ...]) -> None:
    assert known(log, prompt) == expected


def test_a_log_and_a_reply_that_disagree_are_a_conflict() -> None:
    found = evidence_in_log(HIT.format(3, 6) + PERF.format(6), Evidence(prompt_tokens=10))
    assert found.conflict == "the server's counts disagree: its log says 3 + 6 tokens, its reply 10"


@given(st.text().filter(lambda text: "prompt eval time" not in text), st.none() | st.integers(0, 99))
def test_a_log_without_counts_is_never_a_miss(text: str, prompt: int | None) -> None:
    assert known(text, prompt) == (prompt, None, None)


def test_every_option_reaches_the_program() -> None:
    argv = command_line("a/m.gguf", 7, Options(ctx=1, threads=2, gpu_layers=3, batch=4, cache=True, logits_all=False))
    text = " ".join(argv)
    for part in ("--n_ctx 1", "--n_threads 2", "--n_threads_batch 2", "--n_gpu_layers 3", "--n_batch 4"):
        assert part in text
    for part in ("--cache True", "--logits_all False", "--model a/m.gguf", "--model_alias m.gguf", "--port 7"):
        assert part in text


@pytest.mark.engine
def test_a_continuation_is_seen_to_reuse() -> None:
    try:
        engine = open_engine(parse_target("llama-cpp-server:profiles/models/tiny/tiny-f16.gguf?ctx=4096&threads=1"))
    except MissingExtra as error:
        pytest.skip(f"{error}: {error.hint}")
    try:
        cold, warm = (measure(engine, conversation("log", max_tokens=4)).evidence for _ in range(2))
    finally:
        engine.close()
    assert cold.cached_tokens == 0
    assert warm.prompt_tokens == cold.prompt_tokens == cold.evaluated_tokens
    assert warm.evaluated_tokens == 1
    assert warm.sources["cached_tokens"] == "engine_log"
    assert any("prefix-match hit" in line for line in warm.log)
