"""C on llama-cpp-python against llama.cpp's own performance counter, on the same tokens in a model of our own."""

from __future__ import annotations

import msgspec
import pytest

from backends import parse_target
from backends.base import Request
from backends.llama_cpp import open_engine
from harness.session_maker.generator import generate
from profiler.measure import measure
from tests.backends.test_llama_server import TINY

llama_cpp = pytest.importorskip("llama_cpp")

pytestmark = pytest.mark.engine


def test_what_is_not_cached_is_what_llama_cpp_counts_as_evaluated() -> None:
    """Append-only turns, then a compaction: reuse of all, and of a part."""
    session = generate("compaction", seed=3, turns=8, scale=0.3)
    prompts: list[list[int]] = []
    replies: list[list[int]] = []
    evaluated: list[int | None] = []
    engine = open_engine(parse_target(f"llama-cpp:{TINY}?ctx=8192&threads=1"))
    try:
        for turn in session.turns:
            request = Request(turn.messages, turn.tools, turn.max_tokens)
            forced = engine.forced(request, turn.reply)
            assert forced is not None
            prompts.append(list(engine.render(request).token_ids))
            replies.append(list(forced.token_ids))
            measured = measure(engine, msgspec.structs.replace(request, forced=forced))
            assert measured.evidence.prompt_tokens == len(prompts[-1])
            assert measured.evidence.cached_tokens == len(prompts[-1]) - (measured.evidence.evaluated_tokens or 0)
            evaluated.append(measured.evidence.evaluated_tokens)
    finally:
        engine.close()
    assert evaluated == counted(prompts, replies)
    assert min(n for n in evaluated if n is not None) < len(prompts[1]) // 2, "nothing was reused"


def counted(prompts: list[list[int]], replies: list[list[int]]) -> list[int]:
    """Prompt tokens that `llama_perf_context` says were evaluated, turn by turn; replies are evaluated in between."""
    llama = llama_cpp.Llama(str(TINY), n_ctx=8192, n_threads=1, n_batch=512, no_perf=False, verbose=False)
    counts = []
    for prompt, reply in zip(prompts, replies, strict=True):
        llama_cpp.llama_perf_context_reset(llama.ctx)
        next(llama.generate(prompt, temp=0.0))
        counts.append(llama_cpp.llama_perf_context(llama.ctx).n_p_eval)
        llama.eval(reply)
        llama_cpp.llama_synchronize(llama.ctx)  # else the reply is counted with the next prompt
    llama.close()
    return counts
