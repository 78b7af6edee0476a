"""The bundled sessions on real engines: C and L of every request checked independently, each judged as it must be."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import msgspec
import pytest

from backends import open_engine, parse_target
from backends.base import Engine, Evidence, Request
from harness.replay import Plan, replay
from harness.sessions import Session, bundled_sessions
from profiler.records import RequestRecord
from tests.tiny_model.architectures import write_hybrid, write_sliding_window

pytestmark = pytest.mark.engine

TINY = Path(__file__).parents[2] / "profiles" / "models" / "tiny" / "tiny-f16.gguf"
PLAYS_ALL = ("llama-server/sliding_window", "llama-server/recurrent", "llama-server/full/all")
"""The long session takes a minute on full attention and seconds on the small random models, whose caches have more to
lose: they need a checkpoint for every hit."""
ENGINES = (
    "llama-server/full",
    *PLAYS_ALL[:2],
    pytest.param(PLAYS_ALL[2], marks=pytest.mark.slow),
    # A minute and a half; `test_engines_agree` plays the short sessions there every time.
    pytest.param("llama-cpp/full", marks=pytest.mark.slow),
)


class Spy:
    """An engine that keeps, beside dyno's own bookkeeping, what went through it: prompts, ids generated, evidence."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.exchanges: list[tuple[list[int], list[int], Evidence]] = []
        for name in ("render", "forced", "facts", "pids", "close", "reset"):
            if hasattr(engine, name):
                setattr(self, name, getattr(engine, name))

    def stream(self, request: Request) -> Iterator[object]:
        prompt = self._engine.render(request)
        assert prompt is not None
        generated: list[int] = []
        evidence = Evidence()
        for event in self._engine.stream(request):
            if isinstance(event, Evidence):
                evidence = event
            generated += getattr(event, "token_ids", None) or ()
            yield event
        if request.forced is not None:
            generated = [*request.forced.token_ids, request.forced.end_token_id]
        self.exchanges.append((list(prompt.token_ids), generated, evidence))


def target_of(kind: str, folder: Path) -> str:
    """The target for one engine and cache kind."""
    engine, cache = kind.split("/")[:2]
    model = {"full": lambda: TINY, "sliding_window": lambda: write_sliding_window(folder / "swa.gguf")}.get(
        cache, lambda: write_hybrid(folder / "hybrid.gguf")
    )()
    return f"{engine}:{model}?ctx=32768&threads=1"


def played(kind: str) -> tuple[Session, ...]:
    """The sessions that an engine plays: all, or all but the long one."""
    return tuple(s for s in bundled_sessions() if kind in PLAYS_ALL or s.name != "append-only-long")


class Replayed(msgspec.Struct):
    """All sessions on one engine: the records, and what the spy saw for each of them (anchors left out)."""

    sessions: tuple[Session, ...]
    records: list[RequestRecord]
    seen: list[tuple[list[int], list[int], Evidence]]
    everything: list[tuple[list[int], list[int], Evidence]]


@pytest.fixture(scope="module", params=ENGINES)
def replayed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Replayed:
    """Every bundled session replayed once on one engine."""
    engine = open_engine(parse_target(target_of(request.param, tmp_path_factory.mktemp("models"))))
    spy = Spy(engine)
    records: list[RequestRecord] = []
    positions: list[int] = []
    try:
        for record, _ in replay(spy, Plan(played(request.param))):  # type: ignore[arg-type]
            records.append(record)
            positions.append(len(spy.exchanges) - 1)
    finally:
        engine.close()
    return Replayed(played(request.param), records, [spy.exchanges[i] for i in positions], spy.exchanges)


def test_every_request_succeeded_and_was_forced(replayed: Replayed) -> None:
    assert [r.error for r in replayed.records] == [None] * len(replayed.records)
    assert {r.forcing for r in replayed.records} == {"token_ids"}
    assert len(replayed.records) == sum(len(s.turns) for s in replayed.sessions)


def test_cached_tokens_are_the_engines_own(replayed: Replayed) -> None:
    for record, (prompt, _, evidence) in zip(replayed.records, replayed.seen, strict=True):
        assert record.verdict.cached_tokens == evidence.cached_tokens
        assert evidence.cached_tokens is not None
        assert evidence.evaluated_tokens is not None
        assert evidence.cached_tokens + evidence.evaluated_tokens == len(prompt) == evidence.prompt_tokens


def test_lcp_equals_a_token_by_token_count(replayed: Replayed) -> None:
    sequences: list[list[int]] = []
    wanted: dict[int, int] = {}
    for index, (prompt, generated, _) in enumerate(replayed.everything):
        wanted[index] = max((lcp(prompt, s) for s in sequences), default=0)
        sequences.append(prompt + generated)
    positions = [i for i, seen in enumerate(replayed.everything) if any(seen is s for s in replayed.seen)]
    for record, index in zip(replayed.records, positions, strict=True):
        assert record.verdict.lcp_tokens == wanted[index], (record.session, record.turn)


def lcp(a: list[int], b: list[int]) -> int:
    """Common prefix, the slow and obvious way."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(a, b, strict=False)))


def test_no_more_was_cached_than_could_be(replayed: Replayed) -> None:
    for record in replayed.records:
        verdict = record.verdict
        assert verdict.cached_tokens is not None
        assert verdict.lcp_tokens is not None
        assert verdict.cached_tokens <= verdict.lcp_tokens


def continuations(replayed: Replayed, session: str, conversation: str | None = None) -> list[RequestRecord]:
    return [
        r
        for r in replayed.records
        if r.session == session and r.verdict.continuation and conversation in (None, r.conversation)
    ]


@pytest.mark.parametrize("session", ["append-only", "append-only-long", "reasoning-kept"])
def test_append_only_sessions_hit_on_every_continuation(replayed: Replayed, session: str) -> None:
    if session not in {s.name for s in replayed.sessions}:
        pytest.skip("not played on this engine")
    records = continuations(replayed, session)
    assert len(records) >= 13
    assert {r.verdict.cache_class for r in records} == {"hit"}
    assert all(r.verdict.lost_ns == 0 for r in records)


def test_the_long_session_is_long(replayed: Replayed) -> None:
    records = continuations(replayed, "append-only-long")
    if not records:
        pytest.skip("not played on this engine")
    assert max(r.verdict.prompt_tokens or 0 for r in records) >= 16_000


@pytest.mark.parametrize("session", ["clock-in-system-prompt", "tools-reordered"])
def test_changed_heads_lose_on_the_prompt_side_in_every_turn(replayed: Replayed, session: str) -> None:
    records = continuations(replayed, session)
    assert len(records) == 11
    for record in records:
        assert record.verdict.cache_class in ("partial", "full_miss")
        assert (record.verdict.lost_prompt_side_tokens or 0) > 500
        assert (record.verdict.lost_prompt_side_ns or 0) > 0


def test_dropped_reasoning_loses_on_the_prompt_side(replayed: Replayed) -> None:
    records = continuations(replayed, "reasoning-dropped")
    assert all((r.verdict.lost_prompt_side_tokens or 0) > 0 for r in records)


def test_compaction_loses_once(replayed: Replayed) -> None:
    losing = [r for r in continuations(replayed, "compaction") if r.verdict.lost_prompt_side_tokens]
    assert len(losing) == 1
    assert losing[0].turn == 8


@pytest.fixture
def on_llama_server(replayed: Replayed, request: pytest.FixtureRequest) -> Replayed:
    if "llama-server" not in request.node.callspec.id:
        pytest.skip("slots and host prompt cache are llama-server's")
    return replayed


def test_sub_agent_steals_the_slot_on_defaults(on_llama_server: Replayed) -> None:
    """cache.md §1.7 c: the sub-agent takes main's slot; main comes back to what the two share."""
    main = continuations(on_llama_server, "sub-agent", "main")
    losing = [r for r in main if r.verdict.lost_engine_side_tokens]
    assert len(losing) == 2
    assert all(r.verdict.lost_prompt_side_tokens == 0 for r in main)
    assert all((r.verdict.lost_engine_side_tokens or 0) > 500 for r in losing)


def test_side_calls_of_other_conversations_cost_nothing_with_four_slots(on_llama_server: Replayed) -> None:
    for session in ("title-call", "interleaved"):
        records = continuations(on_llama_server, session)
        assert {r.verdict.cache_class for r in records} == {"hit"}, session


def test_one_sequence_loses_to_every_side_call(replayed: Replayed, request: pytest.FixtureRequest) -> None:
    """llama-cpp-python holds one sequence and no host cache, so whoever came last has it."""
    if "llama-cpp" not in request.node.callspec.id:
        pytest.skip("llama-server has slots")
    for session in ("interleaved", "title-call", "sub-agent"):
        lost = sum(r.verdict.lost_engine_side_tokens or 0 for r in continuations(replayed, session))
        assert lost > 1000, session
        assert all(r.verdict.lost_prompt_side_tokens == 0 for r in continuations(replayed, session))


def test_array_of_tokens_is_int32() -> None:
    assert array("i").itemsize == 4
