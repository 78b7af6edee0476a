"""Rates by depth: exact on a simulated clock, left out where the engine cannot tell, and on the real engines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import msgspec
import pytest

from backends import open_engine, parse_target
from backends.base import (
    ContextOverflow,
    Delta,
    Engine,
    Event,
    Evidence,
    Facts,
    Prompt,
    Request,
    RequestRejected,
    Stop,
)
from backends.scripted import open_engine as open_scripted
from harness.quant.base import RateAt
from harness.quant.depths import DepthPlan, DepthSample, fitting, measure_depths, rates_at
from harness.targets import resolve_target

PLAN = DepthPlan(depths_tokens=(0, 1000), prefill_tokens=512, decode_tokens=32)


def scripted(options: str = "") -> Engine:
    return open_scripted(parse_target(f"scripted:?max_context=8192&{options}"))


def test_rates_are_those_of_the_engines_clock_at_the_depth_that_was_asked() -> None:
    shallow, deep = measure_depths(scripted(), PLAN, "one")
    for sample in (shallow, deep):
        assert (sample.prefill_tokens_per_s, sample.decode_tokens_per_s) == (10_000.0, 100.0)
        assert (sample.prefill_source, sample.decode_source, sample.doubts) == ("scripted", "scripted", ())
    assert (shallow.prefill_at_tokens, deep.decode_at_tokens) == (0, 1000)
    assert deep.prefill_at_tokens is not None
    assert 980 <= deep.prefill_at_tokens <= 1000, "what the template adds behind the text is new each time"


def test_each_repeat_is_cold_and_goes_into_one_value() -> None:
    engine = scripted()
    samples = [sample for repeat in range(3) for sample in measure_depths(engine, PLAN, f"repeat {repeat}")]
    assert rates_at(samples) == (
        RateAt(0, (10_000.0,) * 3, (100.0,) * 3),
        RateAt(1000, (10_000.0,) * 3, (100.0,) * 3),
    )


def test_what_an_engine_does_not_reuse_or_say_is_left_out_with_the_reason() -> None:
    _, evaluates_again = measure_depths(scripted("trimmable=off"), PLAN, "one")
    assert evaluates_again.prefill_tokens_per_s is None
    assert "0 tokens were reused" in evaluates_again.doubts[0]
    assert evaluates_again.decode_tokens_per_s == 100.0
    shallow, silent = measure_depths(scripted("report=none"), PLAN, "one")
    assert shallow.prefill_tokens_per_s == 10_000.0, "nothing can be reused of a prompt with new first words"
    assert silent.prefill_tokens_per_s is None
    assert silent.doubts == ("prefill at 1000 tokens: this engine does not say what it reused",)
    assert rates_at([silent]) == (RateAt(1000, (), (100.0,)),)


def test_depths_for_which_there_is_no_room_are_left_out() -> None:
    plan = DepthPlan((0, 4096, 32768), 512, 64)
    assert fitting(plan, None) is plan
    assert fitting(plan, 8192).depths_tokens == (0, 4096)
    assert fitting(plan, 100).depths_tokens == ()


def test_a_failed_request_is_the_engines_own_error() -> None:
    with pytest.raises(ContextOverflow, match="the measurement of"):
        measure_depths(scripted(), DepthPlan((16_384,), 512, 32), "one")


class Remote:
    """A server that shows no prompts, ends replies early unless told not to, and keeps a clock of its own."""

    def __init__(self, *, refuses: tuple[str, ...] = (), ends_after: int = 5, timed: bool = True) -> None:
        self.refuses, self.ends_after, self.timed = refuses, ends_after, timed
        self.now_ns = 0
        self.asked: list[Request] = []

    def clock(self) -> int:
        return self.now_ns

    def stream(self, request: Request) -> Iterator[Event]:
        if any(key in self.refuses for key in request.parameters):
            raise RequestRejected("no such parameter")
        self.asked.append(request)
        tokens = len(request.messages[0]["content"]) // 4
        asked = request.max_tokens
        made = asked if request.parameters.get("ignore_eos") else min(asked, self.ends_after)
        self.now_ns += tokens * 1_000_000
        for _ in range(made):
            yield Delta("content", "x")
            self.now_ns += 50_000_000
        said = Evidence(prompt_tokens=tokens, generated_tokens=made)
        if self.timed:
            said = msgspec.structs.replace(said, cached_tokens=0, evaluated_tokens=tokens, prefill_ns=tokens * 500_000)
        yield said
        yield Stop("length")

    def render(self, request: Request) -> Prompt | None:
        return None

    def facts(self) -> Facts:
        return Facts(engine="remote")

    def pids(self) -> tuple[int, ...]:
        return ()

    def close(self) -> None:
        pass


def test_a_model_that_would_stop_is_kept_talking_where_the_engine_can() -> None:
    (sample,) = measure_depths(Remote(), DepthPlan((0,), 512, 32), "one")
    assert sample.decode_tokens_per_s == pytest.approx(20.0)
    assert sample.decode_source == "client"
    (short,) = measure_depths(Remote(refuses=("ignore_eos",)), DepthPlan((0,), 512, 32), "one")
    assert short.decode_tokens_per_s is None
    assert short.doubts == ("decoding: the model ended its reply after 5 of 32 tokens",)


def test_the_engines_own_time_comes_before_the_clients() -> None:
    (timed,) = measure_depths(Remote(), DepthPlan((0,), 512, 32), "one")
    assert timed.prefill_tokens_per_s == pytest.approx(2000.0)
    (silent,) = measure_depths(Remote(timed=False), DepthPlan((0,), 512, 32), "one")
    assert silent.prefill_tokens_per_s == pytest.approx(1000.0)
    assert silent.prefill_source == "client"
    assert "by the client's clock" in silent.doubts[0]


def test_lengths_are_learnt_from_an_engine_that_shows_no_prompts() -> None:
    remote = Remote()
    measure_depths(remote, DepthPlan((0, 4000), 512, 32), "one")
    deep = len(remote.asked[2].messages[0]["content"]) // 4
    assert abs(deep - 4000) <= 40, "the first prompt of 512 tokens told how many characters make a token"


@pytest.mark.engine
@pytest.mark.parametrize("engine", ["llama-cpp", "llama-server"])
def test_real_engines_give_rates_at_exact_depths(engine: str) -> None:
    tiny = resolve_target("tiny")
    options = {"ctx": "2048", "threads": "1"}
    with closing(open_engine(msgspec.structs.replace(tiny, engine=engine, options=options))) as opened:
        shallow, deep = measure_depths(opened, DepthPlan((0, 700), 256, 16), "one")
    for sample in (shallow, deep):
        assert sample.doubts == ()
        assert sample.prefill_tokens_per_s is not None
        assert sample.decode_tokens_per_s is not None
    assert deep.decode_at_tokens is not None
    assert abs(deep.decode_at_tokens - 700) <= 1
    assert deep.prefill_at_tokens is not None
    assert 680 <= deep.prefill_at_tokens <= 700


def test_samples_are_values_that_can_be_stored() -> None:
    sample = DepthSample(0, 1.5, None, doubts=("why",))
    assert msgspec.json.decode(msgspec.json.encode(sample), type=DepthSample) == sample
