"""What the probe says of a server, figure by figure: the simulation, hand-made servers for the odd cases, real ones."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends import open_engine, parse_target
from backends.base import (
    ContextOverflow,
    Delta,
    Engine,
    EngineDied,
    EngineError,
    EngineFault,
    Event,
    Evidence,
    Facts,
    Request,
    RequestRejected,
    Stop,
    Unreachable,
)
from backends.scripted import Options, Scripted
from profiler.ledger import Ledger
from profiler.probe import cached_figure, cold_request, probe
from profiler.probe_records import CachedFigure, Figure
from profiler.records import RunInfo
from profiler.store import RunWriter, StoreError, read_run
from tests.profiler.test_summary import INFO

TINY = Path(__file__).parents[2] / "profiles" / "models" / "tiny" / "tiny-f16.gguf"
SHARED_HEAD_TOKENS = 16


class Server:
    """Answers its n-th request with the n-th evidence, on a clock that it moves itself."""

    def __init__(
        self, *said: Evidence, chunks: int = 4, gap_ns: int = 10_000_000, error: EngineError | None = None
    ) -> None:
        self._said = list(said)
        self._chunks, self._gap_ns, self._error = chunks, gap_ns, error
        self._now_ns = 0
        self.seen: list[Request] = []

    def stream(self, request: Request) -> Iterator[Event]:
        self.seen.append(request)
        if self._error is not None:
            raise self._error
        for _ in range(self._chunks):
            self._now_ns += self._gap_ns
            yield Delta("content", "x")
        yield self._said.pop(0) if self._said else Evidence()
        yield Stop("length")

    def render(self, request: Request) -> None:
        return None

    def facts(self) -> Facts:
        return Facts("hand-made")

    def pids(self) -> tuple[int, ...]:
        return ()

    def close(self) -> None:
        return None

    def clock(self) -> int:
        return self._now_ns


def said(cached: int | None, **further: Any) -> Evidence:
    sources = {"prompt_tokens": "usage.prompt_tokens"}
    return Evidence(300, cached, sources=sources if cached is None else {**sources, "cached_tokens": "x"}, **further)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        pytest.param(0, 299, "reported", id="rose"),
        pytest.param(4, 288, "reported", id="rose from a template head, by blocks"),
        pytest.param(None, 288, "reported_when_not_0", id="older vLLM leaves out a 0"),
        pytest.param(None, None, "not_reported", id="left out"),
        pytest.param(0, 0, "always_0", id="0 both times"),
        pytest.param(None, 0, "always_0", id="left out, then 0"),
        pytest.param(77, 77, "always_the_same", id="a constant"),
        pytest.param(40, 10, "falls", id="less the second time"),
        pytest.param(40, None, "falls", id="left out the second time"),
    ],
)
def test_what_the_cached_tokens_did(first: int | None, second: int | None, expected: CachedFigure) -> None:
    assert probe(Server(said(first), said(second)), Ledger(), "n").cached == expected


def test_counts_that_contradict_each_other_are_no_report() -> None:
    assert cached_figure(said(0), said(299, conflict="they disagree")) == "contradictory"


@given(st.none() | st.integers(0, 9), st.none() | st.integers(0, 9))
def test_it_is_reported_only_if_it_rose(first: int | None, second: int | None) -> None:
    figure = cached_figure(said(first), said(second))
    assert (figure in ("reported", "reported_when_not_0")) == ((second or 0) > (first or 0))
    assert (figure == "not_reported") == (first is second is None)


def test_each_figure_is_stated_with_its_source_and_what_is_left_out_is_none() -> None:
    found = probe(Server(said(None), said(None)), Ledger(), "n")
    assert found.prompt_tokens == Figure(300, 300, "usage.prompt_tokens")
    assert found.prompt_tokens.reported
    assert found.cached_tokens == found.generated_tokens == found.slot == Figure(None, None, None)
    assert not found.cached_tokens.reported
    assert (found.token_ids, found.log, found.prompts) == (False, False, False)
    assert found.ttft_ns == Figure(10_000_000, 10_000_000, "client")


def test_the_simulation_reports_everything_but_a_log() -> None:
    engine = Scripted(Options())
    found = probe(engine, Ledger(), "n")
    assert found.cached == "reported"
    prompt = found.prompt_tokens.cold
    assert prompt is not None
    assert prompt >= 64
    assert found.cached_tokens == Figure(0, prompt - 1, "scripted")
    assert found.prefill_ns == Figure(prompt * 100_000, 100_000, "scripted")
    assert (found.token_ids, found.log, found.prompts, found.streams) == (True, False, True, True)
    assert found.tokens_per_character == pytest.approx(prompt / found.prompt_characters)


def test_a_simulation_that_leaves_the_cached_tokens_out() -> None:
    found = probe(Scripted(Options(report="none")), Ledger(), "n")
    assert found.cached == "not_reported"
    assert not found.evaluated_tokens.reported
    assert found.prompt_tokens.reported


def test_a_cache_that_cannot_take_up_a_whole_prompt_again() -> None:
    assert probe(Scripted(Options(trimmable=False)), Ledger(), "n").cached == "always_0"


@pytest.mark.parametrize(
    ("server", "streams"),
    [
        pytest.param(Server(chunks=4), True, id="with time between the chunks"),
        pytest.param(Server(chunks=4, gap_ns=5_000), False, id="all at once"),
        pytest.param(Server(said(0, generated_tokens=8), chunks=1), False, id="eight tokens in one piece"),
        pytest.param(Server(said(0, generated_tokens=1), chunks=1), None, id="one token"),
        pytest.param(Server(said(0, generated_tokens=8), chunks=0), None, id="no text: a tool call that was cut"),
    ],
)
def test_whether_text_comes_while_it_is_generated(server: Server, streams: bool | None) -> None:
    assert probe(server, Ledger(), "n").streams is streams


def test_the_same_is_sent_twice_and_begins_with_the_nonce() -> None:
    server, other = Server(), Server()
    probe(server, Ledger(), "a")
    probe(other, Ledger(), "b")
    first, second = server.seen
    assert first == second
    texts = [str(request.messages[0]["content"]) for request in (first, other.seen[0])]
    assert texts[0].split()[0] != texts[1].split()[0]
    assert texts[0].split()[1:] == texts[1].split()[1:]
    assert len(texts[0].split()) > 64
    assert first.max_tokens <= 32


@given(st.text(), st.integers(0, 20_000))
def test_a_cold_request_has_the_length_that_was_asked_for(label: str, characters: int) -> None:
    text = str(cold_request(label, characters, 4).messages[0]["content"])
    assert len(text) == max(characters, 17)
    assert text[:16] == str(cold_request(label, 0, 1).messages[0]["content"]).strip()


def test_the_ledger_knows_what_was_sent() -> None:
    engine, ledger = Scripted(Options()), Ledger()
    found = probe(engine, ledger, "n")
    sent = engine.render(cold_request("probe n", found.prompt_characters, 1)).token_ids
    match = ledger.match("a session", sent)
    assert match.lcp_tokens == found.prompt_tokens.cold == len(sent)
    assert not match.continuation


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (EngineDied("killed"), EngineDied),
        (Unreachable("nobody"), Unreachable),
        (RequestRejected("HTTP 401: no key", status=401), RequestRejected),
        (ContextOverflow("too long"), ContextOverflow),
        (EngineFault("HTTP 500"), EngineFault),
    ],
)
def test_an_engine_that_fails_is_one_clear_error(error: EngineError, raised: type[EngineError]) -> None:
    with pytest.raises(raised, match=f"failed on the probe, the first request of a run: {error}"):
        probe(Server(error=error), Ledger(), "n")


def test_it_is_stored_with_the_run_and_older_runs_have_none() -> None:
    info = msgspec.structs.replace(INFO, probe=probe(Server(said(0), said(9)), Ledger(), "n"))
    assert msgspec.json.decode(msgspec.json.encode(info), type=RunInfo) == info
    older = msgspec.to_builtins(INFO)
    del older["probe"], older["calibration"]
    assert msgspec.convert(older, RunInfo) == INFO


def test_a_run_that_is_described_again_holds_what_was_found(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path, INFO)
    found = msgspec.structs.replace(INFO, probe=probe(Server(said(0), said(9)), Ledger(), "n"))
    writer.describe(found)
    assert read_run(writer.path).info == found
    writer.close("complete")
    with pytest.raises(StoreError, match="closed"):
        writer.describe(INFO)


@pytest.fixture(scope="module", params=["llama-server", "llama-cpp"])
def real(request: pytest.FixtureRequest) -> Iterator[Engine]:
    pytest.importorskip({"llama-server": "xllamacpp", "llama-cpp": "llama_cpp"}[request.param])
    engine = open_engine(parse_target(f"{request.param}:{TINY}?ctx=4096&threads=1"))
    yield engine
    engine.close()


@pytest.mark.engine
def test_a_real_engine_reports_its_cache(real: Engine) -> None:
    ledger = Ledger()
    found = probe(real, ledger, "n")
    assert found.cached == "reported"
    # On a machine that is busy enough, all of a reply may be there before we are woken.
    assert found.streams or probe(real, ledger, "once more").streams
    assert found.prompts is True
    prompt, cold, repeat = found.prompt_tokens.cold, found.cached_tokens.cold, found.cached_tokens.repeat
    assert None not in (prompt, cold, repeat)
    assert (cold or 0) <= SHARED_HEAD_TOKENS
    assert (prompt or 0) - 1 <= (repeat or 0) <= (prompt or 0)
    assert all(figure.source for figure in (found.prompt_tokens, found.cached_tokens, found.generated_tokens))
    assert (probe(real, ledger, "another").cached_tokens.cold or 0) <= SHARED_HEAD_TOKENS
