from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from profiler.inversion import (
    COVERAGE,
    WITHHOLD_SHARE,
    Calibration,
    Interval,
    Sample,
    calibration_lengths,
    fit,
    invert,
)

Noise = Callable[[np.random.Generator, float], float]
LONGEST = 8192
MS = 1_000_000


class Server(msgspec.Struct, frozen=True):
    """A server as the model has it, and in ways it has not: full batches, drift, reused tokens that cost something."""

    overhead_ns: float
    per_token_ns: float
    per_pair_ns: float
    batch_share: float = 0.0
    reused_share: float = 0.0
    drift: float = 0.0

    def ttft_ns(self, prompt: int, cached: int, progress: float = 0.0) -> float:
        """`progress` is 0 at the first calibration request and 1 at the last."""
        fresh = prompt - cached
        batches = math.ceil(fresh / 512) * 512 * self.batch_share + fresh * (1 - self.batch_share)
        pairs = self.per_pair_ns * fresh * (fresh / 2 + cached)
        tokens = self.per_token_ns * (batches + self.reused_share * cached)
        return (self.overhead_ns + tokens + pairs) * (1 + self.drift * progress)


PLAIN = Server(5 * MS, 100_000, 20)


def exact(server: Server, lengths: Sequence[int]) -> list[Sample]:
    return [Sample(tokens, round(server.ttft_ns(tokens, 0))) for tokens in lengths]


def calibrated(server: Server = PLAIN) -> Calibration:
    found = fit(exact(server, calibration_lengths(LONGEST)))
    assert found is not None
    return found


servers = st.builds(
    Server,
    overhead_ns=st.floats(1e5, 1e8),
    per_token_ns=st.floats(3e4, 3e6),
    per_pair_ns=st.floats(0, 300),
)


# Without noise


@given(servers)
@settings(max_examples=15, deadline=None)
def test_without_noise_the_constants_come_back(server: Server) -> None:
    found = calibrated(server)
    whole = server.ttft_ns(LONGEST, 0)
    assert found.overhead_ns == pytest.approx(server.overhead_ns, abs=whole / 1e5)
    assert found.per_token_ns * LONGEST == pytest.approx(server.per_token_ns * LONGEST, abs=whole / 1e5)
    assert found.per_pair_ns * LONGEST**2 == pytest.approx(server.per_pair_ns * LONGEST**2, abs=whole / 1e5)


@given(servers, st.integers(2, LONGEST), st.floats(0, 1))
@settings(max_examples=40, deadline=None)
def test_without_noise_every_interval_holds_the_truth(server: Server, prompt: int, share: float) -> None:
    cached = min(prompt - 1, round(share * prompt))
    said = invert(calibrated(server), prompt, round(server.ttft_ns(prompt, cached)))
    if isinstance(said, Interval):
        assert 0 <= said.low_tokens <= cached <= said.high_tokens <= prompt - 1
        assert said.high_tokens - said.low_tokens <= 2 * WITHHOLD_SHARE * prompt
    else:
        assert said.startswith(("too short:", "too wide:"))


def test_a_hit_and_a_miss_of_a_long_prompt_are_told_apart() -> None:
    found = calibrated()
    hit = invert(found, 8000, round(PLAIN.ttft_ns(8000, 7600)))
    miss = invert(found, 8000, round(PLAIN.ttft_ns(8000, 0)))
    assert isinstance(hit, Interval)
    assert isinstance(miss, Interval)
    assert hit.low_tokens > 6800
    assert miss.high_tokens < 3200


# With noise


def gaussian(share: float) -> Noise:
    return lambda rng, t: t * (1 + share * rng.standard_normal()) + abs(rng.normal(0, 2e5))


def spikes(often: float) -> Noise:
    """Some requests are delayed by a share of their time that is mostly small and at times large."""
    return lambda rng, t: (
        t * (1 + 0.02 * abs(rng.standard_normal())) * (1 + (rng.random() < often) * 0.5 * rng.lognormal(0, 0.8))
    )


def trial(seed: int, server: Server, noise: Noise) -> tuple[int, int, int]:
    """Calibrate once and invert 16 requests: how many of them, intervals given, intervals that hold the truth."""
    rng = np.random.default_rng(seed)
    constants = 10 ** rng.uniform((6, 4.5, 0.5), (8, 6.5, 2.5))
    server = msgspec.structs.replace(
        server, **dict(zip(("overhead_ns", "per_token_ns", "per_pair_ns"), constants.tolist(), strict=True))
    )
    longest = int(rng.integers(2000, 16000))
    lengths = calibration_lengths(longest)
    samples = [
        Sample(tokens, max(1, round(noise(rng, server.ttft_ns(tokens, 0, number / len(lengths))))))
        for number, tokens in enumerate(lengths)
    ]
    found = fit(samples)
    if found is None:
        return 16, 0, 0
    given_count = right = 0
    for number in range(16):
        prompt = int(rng.integers(longest // 8, longest))
        fresh = int(rng.integers(20, 600))
        cached = (0, max(0, prompt - fresh), int(prompt * rng.random()), prompt - 1)[number % 4]
        said = invert(found, prompt, max(1, round(noise(rng, server.ttft_ns(prompt, cached, 1 + number / 16)))))
        if isinstance(said, Interval):
            given_count += 1
            right += said.low_tokens <= cached <= said.high_tokens
    return 16, given_count, right


@pytest.mark.parametrize(
    ("server", "noise", "least_given"),
    [
        (PLAIN, gaussian(0.02), 0.75),
        (PLAIN, gaussian(0.1), 0.45),
        (PLAIN, spikes(0.05), 0.6),
        (PLAIN, spikes(0.2), 0.35),
        (msgspec.structs.replace(PLAIN, drift=0.15), gaussian(0.02), 0.5),
        (msgspec.structs.replace(PLAIN, drift=-0.15), gaussian(0.02), 0.4),
        (msgspec.structs.replace(PLAIN, batch_share=0.2), gaussian(0.02), 0.6),
        (msgspec.structs.replace(PLAIN, reused_share=0.05), gaussian(0.02), 0.75),
    ],
    ids=["gaussian", "noisy", "spikes", "many-spikes", "slower", "faster", "batches", "reused-tokens-cost"],
)
def test_intervals_cover_the_truth(server: Server, noise: Noise, least_given: float) -> None:
    totals = np.sum([trial(seed, server, noise) for seed in range(25)], axis=0)
    requests, given_count, right = (int(total) for total in totals)
    assert right >= COVERAGE * given_count
    assert given_count >= least_given * requests


def test_a_delayed_calibration_request_does_not_tilt_the_fit() -> None:
    samples = exact(PLAIN, calibration_lengths(LONGEST))
    delayed = [
        msgspec.structs.replace(sample, ttft_ns=sample.ttft_ns * 3) if number in (4, 11) else sample
        for number, sample in enumerate(samples)
    ]
    found = fit(delayed)
    assert found is not None
    assert found.per_token_ns == pytest.approx(PLAIN.per_token_ns, rel=0.02)
    # It still counts for what a request may take.
    assert found.slow_spreads > 10 * calibrated().slow_spreads


def test_what_the_calibration_saw_of_load_withholds_more() -> None:
    samples = exact(PLAIN, calibration_lengths(LONGEST))
    loaded = [Sample(s.uncached_tokens, round(s.ttft_ns * (1 + 0.4 * (n % 3)))) for n, s in enumerate(samples)]
    found = fit(loaded)
    assert found is not None
    reason = invert(found, 8000, round(PLAIN.ttft_ns(8000, 2000) * 1.4))
    assert isinstance(reason, str)


# Order and ends


@given(servers, st.integers(100, LONGEST), st.lists(st.integers(1, 10**11), min_size=2, max_size=8))
@settings(max_examples=40, deadline=None)
def test_a_longer_time_never_raises_the_interval(server: Server, prompt: int, times: list[int]) -> None:
    found = calibrated(server)
    said = [invert(found, prompt, ttft) for ttft in sorted(times)]
    intervals = [one for one in said if isinstance(one, Interval)]
    lows, highs = [i.low_tokens for i in intervals], [i.high_tokens for i in intervals]
    assert lows == sorted(lows, reverse=True)
    assert highs == sorted(highs, reverse=True)


@pytest.mark.parametrize(
    ("prompt", "ttft_ns", "reason"),
    [
        (20_000, 10**9, "too long:"),
        (30, 8 * MS, "too short:"),
        (8000, 10**11, "too slow:"),
        (300, MS, "too fast:"),
        (100, round(9.5 * MS), "too wide:"),
        (0, MS, "no measurement:"),
        (-5, MS, "no measurement:"),
        (100, 0, "no measurement:"),
        (100, -1, "no measurement:"),
        (1, MS, "too short:"),
    ],
)
def test_what_is_withheld_has_a_reason(prompt: int, ttft_ns: int, reason: str) -> None:
    said = invert(calibrated(Server(5 * MS, 100_000, 0)), prompt, ttft_ns)
    assert isinstance(said, str)
    assert said.startswith(reason)


# What cannot be fitted

GOOD = exact(PLAIN, calibration_lengths(LONGEST))


@pytest.mark.parametrize(
    "samples",
    [
        [],
        GOOD[:2],
        GOOD[:7],
        [Sample(500, 50 * MS)] * 21,
        exact(PLAIN, [500, 501, 502, 503] * 5),
        exact(PLAIN, [500, 4000, 500, 4000, 500, 4000, 500, 4000]),
        [*GOOD[:-1], Sample(0, 5 * MS)],
        [*GOOD[:-1], Sample(-3, 5 * MS)],
        [*GOOD[:-1], Sample(100, 0)],
        [*GOOD[:-1], Sample(100, -1)],
        [*GOOD[:-1], Sample(100, 10**400)],
        [Sample(s.uncached_tokens, 5 * MS) for s in GOOD],
        [Sample(s.uncached_tokens, round(1e12 / s.uncached_tokens)) for s in GOOD],
    ],
    ids=[
        "none", "two", "seven", "one-length", "near-lengths", "two-lengths", "no-tokens", "negative-tokens", "no-time",
        "negative-time", "endless", "constant", "longer-is-faster",
    ],
)  # fmt: skip
def test_what_tells_nothing_is_not_fitted(samples: list[Sample]) -> None:
    assert fit(samples) is None


@given(
    st.lists(st.builds(Sample, st.integers(-10, 10**6), st.integers(-10, 10**13)), max_size=30),
    st.integers(-10, 5000),
    st.integers(-10, 10**13),
)
@settings(max_examples=100, deadline=None)
def test_any_samples_give_an_interval_a_reason_or_nothing(samples: list[Sample], prompt: int, ttft_ns: int) -> None:
    found = fit(samples)
    if found is None:
        return
    said = invert(found, prompt, ttft_ns)
    if isinstance(said, Interval):
        assert 0 <= said.low_tokens <= said.high_tokens <= prompt - 1


def test_noise_alone_is_not_fitted_or_says_nothing() -> None:
    rng = np.random.default_rng(1)
    samples = [Sample(tokens, int(rng.lognormal(17, 2))) for tokens in calibration_lengths(LONGEST)]
    found = fit(samples)
    assert found is None or all(isinstance(invert(found, p, 20 * MS), str) for p in (100, 1000, 8000))


# What to measure


@given(st.integers(-5, 300_000))
def test_calibration_lengths_serve_the_fit(longest: int) -> None:
    lengths = calibration_lengths(longest)
    if longest < 8:
        assert lengths == ()
        return
    assert len(set(lengths)) >= 4
    assert max(lengths) == longest
    assert max(lengths) >= 4 * min(lengths) > 0
    assert lengths == calibration_lengths(longest)
    if longest >= 2048:
        assert sum(lengths) < 5.1 * longest


def test_calibration_lengths_are_mixed() -> None:
    lengths = calibration_lengths(LONGEST)
    order = np.corrcoef(np.arange(len(lengths)), np.log(lengths))[0, 1]
    assert abs(order) < 0.35
    assert len({tokens % 512 for tokens in lengths if tokens > 512}) >= 7


def test_a_calibration_is_stored_and_read() -> None:
    found = calibrated()
    assert msgspec.json.decode(msgspec.json.encode(found), type=Calibration) == found
    assert msgspec.convert(msgspec.to_builtins(found), Calibration) == found
