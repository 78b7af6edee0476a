"""Replaying sessions on the simulated engine: every class and every loss is known beforehand, to the nanosecond."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from itertools import count, pairwise

import msgspec
import pytest

from backends.base import (
    Delta,
    Engine,
    EngineDied,
    EngineFault,
    Event,
    Evidence,
    Facts,
    Forced,
    JsonObject,
    Prompt,
    Request,
    Unreachable,
)
from backends.scripted import Options, Scripted
from harness.replay import Plan, replay
from harness.session_maker.generator import KINDS, generate
from harness.sessions import Session, Turn
from profiler.inversion import Sample, fit
from profiler.records import AnchorSample, RequestRecord

PREFILL_NS = 100_000
TURNS = 12


def session(kind: str = "append-only") -> Session:
    return generate(kind, seed=7, turns=TURNS, scale=0.1)


def replayed(engine: Engine, *sessions: Session, repeat: int = 1, nonce: str | None = None) -> list[RequestRecord]:
    return [record for record, _ in replay(engine, Plan(sessions, repeat, nonce))]


def losses(record: RequestRecord) -> tuple[int | None, int | None]:
    return record.verdict.lost_prompt_side_tokens, record.verdict.lost_engine_side_tokens


class Wrapped:
    """An engine in front of the simulation that can render and stream, and nothing more."""

    def __init__(self, options: Options | None = None) -> None:
        self.inner = Scripted(options or Options())
        self.seen: list[Request] = []

    def stream(self, request: Request) -> Iterator[Event]:
        self.seen.append(request)
        yield from self.inner.stream(request)

    def render(self, request: Request) -> Prompt | None:
        return self.inner.render(request)

    def facts(self) -> Facts:
        return self.inner.facts()

    def clock(self) -> int:
        return self.inner.clock()

    def pids(self) -> tuple[int, ...]:
        return ()

    def close(self) -> None:
        return None


class Failing(Wrapped):
    """Fails from its n-th request on (the anchor counts), or at that one alone."""

    def __init__(self, at: int, error: Exception, *, once: bool = False) -> None:
        super().__init__()
        self._at = at
        self._error = error
        self._once = once

    def stream(self, request: Request) -> Iterator[Event]:
        number = len(self.seen)
        events = super().stream(request)
        yield next(events)
        if number == self._at or (number > self._at and not self._once):
            raise self._error
        yield from events


def classes(records: list[RequestRecord]) -> list[str]:
    return [record.verdict.cache_class for record in records if record.verdict.continuation]


@pytest.mark.parametrize("slots", [1, 2])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if session(kind).side == "none"])
def test_what_only_grows_is_reused_whole(kind: str, slots: int) -> None:
    records = replayed(Scripted(Options(slots=slots)), session(kind))
    assert [record.verdict.cache_class for record in records] == ["cold", *["hit"] * (TURNS - 1)]
    assert all(losses(record) == (0, 0) for record in records)
    assert all(record.verdict.lost_ns == 0 for record in records)


@pytest.mark.parametrize("slots", [1, 2])
def test_dropped_reasoning_loses_the_reply_before_it_and_only_that(slots: int) -> None:
    records = replayed(Scripted(Options(slots=slots)), session("reasoning-dropped"))
    assert classes(records) == ["partial"] * (TURNS - 1)
    for before, record in pairwise(records):
        assert losses(record) == (before.evidence.generated_tokens, 0)


@pytest.mark.parametrize("slots", [1, 2])
def test_a_clock_at_the_start_loses_everything(slots: int) -> None:
    records = replayed(Scripted(Options(slots=slots)), session("clock-in-system-prompt"))
    assert classes(records) == ["full_miss"] * (TURNS - 1)
    for record in records[1:]:
        assert losses(record) == ((record.verdict.prev_tokens or 0) - (record.verdict.lcp_tokens or 0), 0)


def test_tools_in_another_order_lose_all_that_follows_them() -> None:
    records = replayed(Scripted(Options()), session("tools-reordered"))
    assert classes(records) == ["partial"] * (TURNS - 1)
    assert all((record.verdict.lost_prompt_side_tokens or 0) > 500 for record in records[1:])


def test_a_compaction_is_one_prompt_side_loss() -> None:
    records = replayed(Scripted(Options()), session("compaction"))
    lost = [record for record in records if losses(record) != (0, 0)]
    assert classes(records).count("hit") == TURNS - 2
    assert [record.verdict.cache_class for record in lost] == ["partial"]
    assert losses(lost[0])[1] == 0
    assert (lost[0].verdict.prompt_tokens or 0) < (lost[0].verdict.prev_tokens or 0)


@pytest.mark.parametrize(("slots", "lost"), [(1, "full_miss"), (2, "hit")])
def test_a_title_call_costs_the_main_conversation_its_only_slot(slots: int, lost: str) -> None:
    records = replayed(Scripted(Options(slots=slots)), session("title-call"))
    after_titles = [
        record for before, record in pairwise(records) if before.conversation != record.conversation == "main"
    ]
    assert len(after_titles) == 3
    assert {record.verdict.cache_class for record in after_titles} == {lost}
    for record in after_titles:
        assert record.verdict.lost_prompt_side_tokens == 0
        reusable, cached = record.verdict.reusable_tokens, record.verdict.cached_tokens
        assert reusable is not None
        assert cached is not None
        missed = reusable - cached
        assert record.verdict.lost_engine_side_tokens == (missed if slots == 1 else 0)
    others = [r for r in records if r.verdict.continuation and r not in after_titles]
    assert {record.verdict.cache_class for record in others} == {"hit"}


def test_a_sub_agent_with_the_same_head_takes_the_slot() -> None:
    records = replayed(Scripted(Options(slots=2)), session("sub-agent"))
    lost = [record for record in records if losses(record) != (0, 0)]
    assert [record.conversation for record in lost] == ["main", "main"]
    assert {record.verdict.cache_class for record in lost} == {"partial"}
    branches = [record for record in records if record.verdict.cache_class == "branch"]
    assert len(branches) == 2
    assert not any(record.conversation == "main" for record in branches)


@pytest.mark.parametrize(("slots", "expected"), [(1, "full_miss"), (2, "hit")])
def test_two_agents_need_two_slots(slots: int, expected: str) -> None:
    records = replayed(Scripted(Options(slots=slots)), session("interleaved"))
    assert [record.verdict.cache_class for record in records[:2]] == ["cold", "cold"]
    assert classes(records) == [expected] * (TURNS - 2)


@pytest.mark.parametrize("kind", KINDS)
def test_every_lost_token_costs_its_prefill(kind: str) -> None:
    for record in replayed(Scripted(Options(prefill_ns_per_token=PREFILL_NS)), session(kind)):
        verdict = record.verdict
        lcp, prev, prompt = verdict.lcp_tokens, verdict.prev_tokens, verdict.prompt_tokens
        assert lcp is not None
        assert prev is not None
        assert prompt is not None
        by_text = max(0, min(prev, prompt - 1) - lcp) if verdict.lost_prompt_side_tokens else 0
        assert verdict.lost_prompt_side_ns == by_text * PREFILL_NS
        assert verdict.lost_engine_side_ns == (verdict.lost_engine_side_tokens or 0) * PREFILL_NS


@pytest.mark.parametrize("kind", KINDS)
def test_every_reply_is_forced_as_recorded(kind: str) -> None:
    made = session(kind)
    records = replayed(Scripted(Options()), made)
    for record, turn in zip(records, made.turns, strict=True):
        assert record.forcing == "token_ids"
        assert record.fidelity == "rehearse"
        assert record.verdict.confidence == "observed"
        assert record.error is None
        assert (turn.reply.get("content") or "") in "".join(record.reply.text.values())


def test_an_engine_that_does_not_say_what_it_reused_is_unknown_and_never_a_miss() -> None:
    records = replayed(Scripted(Options(report="none")), session("clock-in-system-prompt"))
    assert {record.verdict.cache_class for record in records} == {"unknown"}


def test_a_cache_that_cannot_be_trimmed_loses_on_the_engine_side() -> None:
    records = replayed(Scripted(Options(trimmable=False)), session("compaction"))
    lost = [record for record in records if losses(record) != (0, 0)]
    assert len(lost) == 1
    assert lost[0].verdict.cache_class == "full_miss"
    assert all(tokens for tokens in losses(lost[0]))


def test_records_are_numbered_dated_and_come_with_their_body() -> None:
    made = session()
    wall = count(1000)
    judged = list(replay(Scripted(Options()), Plan((made,)), wall_clock=lambda: next(wall)))
    assert [record.request_id for record, _ in judged] == list(range(1, TURNS + 1))
    assert [record.turn for record, _ in judged] == list(range(TURNS))
    assert [record.sent_unix_ns for record, _ in judged] == list(range(1000, 1000 + TURNS))
    for (record, kept), turn in zip(judged, made.turns, strict=True):
        assert record.session == made.name
        assert record.conversation == turn.conversation
        sent = msgspec.json.decode(kept.body, type=Request)
        assert sent.messages == turn.messages
        assert sent.tools == turn.tools
        assert sent.forced is not None


def test_the_prompt_is_kept_as_the_engine_saw_it() -> None:
    engine = Scripted(Options())
    for record, kept in replay(engine, Plan((session(),))):
        assert kept.rendered is not None
        assert len(kept.rendered.token_ids) == record.verdict.prompt_tokens
        sent = msgspec.json.decode(kept.body, type=Request)
        assert sent.forced is not None
        assert kept.rendered.text == engine.render(sent).text
        assert kept.rendered.generated_ids == array("i", [*sent.forced.token_ids, sent.forced.end_token_id])


def test_repeats_are_salted_so_that_each_starts_cold() -> None:
    made = session()
    plan = Plan((made,), repeat=3)
    judged = list(replay(Scripted(Options()), plan))
    records = [record for record, _ in judged]
    assert (plan.replays, plan.requests) == (3, 3 * TURNS)
    assert [record.repeat for record in records] == [0] * TURNS + [1] * TURNS + [2] * TURNS
    assert [record.verdict.cache_class for record in records] == ["cold", *["hit"] * (TURNS - 1)] * 3
    assert len({record.request_id for record in records}) == 3 * TURNS
    sent = [msgspec.json.decode(kept.body, type=Request).messages[0]["content"] for _, kept in judged]
    own = made.turns[0].messages[0]["content"]
    assert sent == [own] * TURNS + [f"repeat 1\n{own}"] * TURNS + [f"repeat 2\n{own}"] * TURNS


def test_a_nonce_starts_a_session_cold_on_a_warm_engine() -> None:
    engine = Scripted(Options(slots=4))
    replayed(engine, session())
    warm, cold = replayed(engine, session()), replayed(engine, session(), nonce="n1")
    assert warm[0].verdict.cache_class == "unknown"
    assert "before this run" in (warm[0].verdict.note or "")
    assert cold[0].verdict.cache_class == "cold"


def test_the_anchor_is_measured_before_each_session() -> None:
    samples: list[AnchorSample] = []
    engine = Wrapped()
    plan = Plan((session("append-only"), session("compaction")), repeat=2)
    records = [record for record, _ in replay(engine, plan, on_anchor=samples.append)]
    assert len(samples) == 4
    assert len(engine.seen) == 4 + len(records)
    assert {round(sample.prefill_tokens_per_s or 0) for sample in samples} == {10_000}


def test_a_request_that_does_not_fit_is_a_record_and_the_session_goes_on() -> None:
    engine = Scripted(Options())
    prompts = [record.evidence.prompt_tokens or 0 for record in replayed(engine, session())]
    records = replayed(Scripted(Options(max_context=prompts[-3])), session())
    assert [record.error.kind if record.error else None for record in records] == [None] * (TURNS - 3) + [
        "ContextOverflow"
    ] * 3
    assert {record.verdict.cache_class for record in records[-3:]} == {"unknown"}


def test_a_message_that_the_template_refuses_is_a_record() -> None:
    made = session()
    turns = list(made.turns)
    turns[1] = msgspec.structs.replace(turns[1], messages=({"content": "no role"},))
    records = replayed(Scripted(Options()), msgspec.structs.replace(made, turns=tuple(turns)))
    assert len(records) == TURNS
    assert records[1].error is not None
    assert records[1].error.kind == "RequestRejected"
    assert records[1].forcing == "none"
    assert records[2].verdict.continuation
    assert all(record.error is None for record in (*records[:1], *records[2:]))


def test_a_fault_on_one_request_does_not_end_the_replay() -> None:
    records = replayed(Failing(2, EngineFault("hiccup"), once=True), session())
    assert [bool(record.error) for record in records] == [False, True, *[False] * (TURNS - 2)]


def test_a_failed_request_is_not_taken_to_have_generated_its_reply() -> None:
    judged = list(replay(Failing(2, EngineFault("hiccup"), once=True), Plan((session(),))))
    failed = next(kept for record, kept in judged if record.error is not None)
    assert failed.rendered is not None
    assert failed.rendered.generated_ids is None


@pytest.mark.parametrize("error", [EngineDied("killed"), Unreachable("nothing answers")])
def test_when_the_engine_is_gone_its_record_is_the_last(error: Exception) -> None:
    records: list[RequestRecord] = []
    engine = Failing(3, error)
    judged = replay(engine, Plan((session(),)))
    with pytest.raises(EngineDied, match=f"the engine is gone: {error}"):
        records.extend(record for record, _ in judged)
    assert [bool(record.error) for record in records] == [False, False, True]
    assert len(engine.seen) == 4


def test_where_output_cannot_be_forced_only_its_length_is() -> None:
    made = session()
    engine = Wrapped()
    records = replayed(engine, made)
    plain = Scripted(Options())
    for record, sent, turn in zip(records, engine.seen[1:], made.turns, strict=True):
        assert record.forcing == "length"
        assert sent.forced is None
        forced = plain.forced(sent, turn.reply)
        assert forced is not None
        # what the reply adds to the next prompt: its text, its end and the head of the next message
        assert 0 < sent.max_tokens - len(forced.token_ids) < 10 or sent.max_tokens == turn.max_tokens
        assert record.evidence.generated_tokens == sent.max_tokens


class Silent(Wrapped):
    """Says no token ids, and forces only where asked to: every reply but the first."""

    def stream(self, request: Request) -> Iterator[Event]:
        for event in super().stream(request):
            yield msgspec.structs.replace(event, token_ids=None) if isinstance(event, Delta) else event

    def forced(self, request: Request, reply: JsonObject) -> Forced | None:
        return None if len(self.seen) == 1 else self.inner.forced(request, reply)


def test_after_a_reply_of_unknown_tokens_the_common_prefix_is_a_lower_bound() -> None:
    records = replayed(Silent(), session())
    assert [record.forcing for record in records] == ["length", *["token_ids"] * (TURNS - 1)]
    assert records[1].verdict.confidence == "inferred"


def test_before_any_reply_of_unknown_tokens_the_common_prefix_is_exact() -> None:
    assert replayed(Silent(), session())[0].verdict.confidence == "observed"


class Unrendered(Wrapped):
    def render(self, request: Request) -> Prompt | None:
        return None


def test_an_engine_that_does_not_show_its_prompts_is_judged_on_history_reuse() -> None:
    records = replayed(Unrendered(), session())
    assert [record.verdict.cache_class for record in records] == ["cold", *["hit"] * (TURNS - 1)]
    assert [record.verdict.continuation for record in records] == [False, *[True] * (TURNS - 1)]
    assert {record.verdict.confidence for record in records} == {"inferred"}
    assert {record.verdict.lcp_tokens for record in records} == {None}
    # The recorded reply stands in the next prompt, not the one generated: only the prompt is continued.
    assert [record.verdict.prev_tokens for record in records[1:]] == [r.evidence.prompt_tokens for r in records[:-1]]


def test_without_prompts_what_is_lost_is_known_but_not_on_which_side() -> None:
    records = replayed(Unrendered(), session("clock-in-system-prompt"))
    assert classes(records) == ["full_miss"] * (TURNS - 1)
    for record in records[1:]:
        verdict = record.verdict
        assert losses(record) == (None, None)
        assert verdict.history_tokens is not None
        assert verdict.cached_tokens is not None
        lost = verdict.history_tokens - verdict.cached_tokens
        assert (verdict.lost_tokens, verdict.lost_ns) == (lost, lost * PREFILL_NS)


class ShowsNothing(Unrendered):
    """Shows no prompts, but its output can be forced."""

    def forced(self, request: Request, reply: JsonObject) -> Forced | None:
        return self.inner.forced(request, reply)


def test_a_forced_reply_is_part_of_what_the_next_request_continues() -> None:
    records = replayed(ShowsNothing(), session())
    for before, record in pairwise(records):
        said = before.evidence
        assert record.verdict.prev_tokens == (said.prompt_tokens or 0) + (said.generated_tokens or 0)
        assert record.verdict.cache_class == "hit"


def test_the_request_after_one_that_broke_off_is_not_inferred() -> None:
    """The engine may still be at work on it."""
    engine = Failing(2, EngineFault("hiccup"), once=True)
    samples = [Sample(tokens, 1_000_000 + tokens * PREFILL_NS) for tokens in (100, 200, 400, 800, 1600, 3200) * 3]
    calibration = fit(samples)
    assert calibration is not None
    hidden = Hidden(engine)
    records = [record for record, _ in replay(hidden, Plan((session(),)), calibration=calibration)]
    notes = [record.verdict.note or "" for record in records]
    assert notes[1] == "not reported"
    assert "another request may have been in progress" in notes[2]
    assert "another request" not in "".join(notes[3:])


class Hidden(Wrapped):
    """Does not say what it reused."""

    def __init__(self, engine: Wrapped) -> None:
        super().__init__()
        self.engine = engine

    def stream(self, request: Request) -> Iterator[Event]:
        for event in self.engine.stream(request):
            if isinstance(event, Evidence):
                event = msgspec.structs.replace(event, cached_tokens=None, evaluated_tokens=None)
            yield event

    def clock(self) -> int:
        return self.engine.clock()


def test_a_reply_whose_length_cannot_be_told_is_not_forced_at_all() -> None:
    assert {record.forcing for record in replayed(Unrendered(), session())} == {"none"}


def test_a_session_of_one_turn() -> None:
    made = session()
    turn = Turn("main", ({"role": "user", "content": "hi"},), (), 5, {}, {"role": "assistant", "content": ""})
    (record,) = replayed(Scripted(Options()), msgspec.structs.replace(made, turns=(turn,)))
    assert record.forcing == "length"
    assert record.evidence.generated_tokens is not None
    assert record.verdict.cache_class == "cold"


class Miscounting(Wrapped):
    def stream(self, request: Request) -> Iterator[Event]:
        for event in super().stream(request):
            if isinstance(event, Evidence) and event.prompt_tokens is not None:
                event = msgspec.structs.replace(event, prompt_tokens=event.prompt_tokens + 7)
            yield event


def test_an_engine_that_counts_other_tokens_than_it_renders_is_not_believed() -> None:
    records = replayed(Miscounting(), session())
    assert {record.verdict.cache_class for record in records} == {"unknown"}
    assert "its own rendering has" in (records[0].verdict.note or "")
