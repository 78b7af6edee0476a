"""What is simulated: the requests of a stored run, or of sessions, as the token sequences that an engine would see.

A run holds its prompts, what was generated and what the engine reused. A session is rendered by an engine and nothing
is generated: its replies are the recorded ones. dyno's own requests of a run (probe, calibration, and the anchor before
each session) took part in what the engine held; their tokens are not stored, so they stand here with the head that
templates give a user's message, and as many tokens that no other prompt holds.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec

from backends.base import ContextOverflow, Engine, EngineError, Forcer, JsonObject, Prompt, Request
from harness.sessions import Session, Turn
from harness.simulation.facts import facts_of_run, own_options
from harness.simulation.requests import Ask, FreeIds, OwnRequests
from profiler.policies import Sent
from profiler.policies.base import Role
from profiler.policies.messages import Opening, find_opening, messages_of
from profiler.pricing import PrefillModel, fit_prefill, samples_of
from profiler.records import RequestRecord
from profiler.rendered import Rendered
from profiler.simulate_document import TokenSource
from profiler.store import StoredRun, StoreError, read_bodies, read_prompts, read_run

__all__ = ["Workload", "workload_of_run", "workload_of_sessions"]


class Workload(msgspec.Struct, frozen=True):
    """Requests in the order in which an engine gets them, on an empty cache.

    `facts` describe the model, `own` are the settings of the run's engine as typed (`None`: there is no run, or no
    policy models its engine), `granularity_tokens` is its engine's step. `model` prices tokens by the run's times.
    """

    name: str
    tokens: TokenSource
    asks: tuple[Ask, ...]
    facts: dict[str, Any] = {}
    engine: str | None = None
    own: dict[str, str] | None = None
    granularity_tokens: int = 1
    model: PrefillModel | None = None
    notes: tuple[str, ...] = ()

    @property
    def counted(self) -> tuple[Ask, ...]:
        """The requests that figures are about."""
        return tuple(ask for ask in self.asks if ask.counted)


class _Body(msgspec.Struct):
    messages: list[JsonObject] = []
    parameters: JsonObject = {}


def workload_of_run(path: Path, given: dict[str, Any] | None = None) -> Workload:
    """The requests of the run in folder `path`, its facts, settings and prices. `given` are facts that the user names.

    Raises:
        StoreError: the run cannot be read, or keeps no prompts.
    """
    run = read_run(path)
    prompts = dict(read_prompts(path))
    if not prompts:
        hint = "its server shows no prompts, or it is from before they were kept: simulate its sessions with --model"
        raise StoreError(f"the run {path.name} holds no prompts", hint=hint)
    decoder = msgspec.json.Decoder(_Body)
    bodies = {request_id: decoder.decode(body) for request_id, body in read_bodies(path)}
    facts = facts_of_run(run.info, given)
    asks = tuple(_asks_of_run(run, prompts, bodies))
    seeded = any("seed" in body.parameters for body in bodies.values())
    return Workload(
        name=run.info.run_id,
        tokens="run",
        asks=asks,
        facts=facts.values | ({"sequential": True} if seeded else {}),
        engine=run.info.facts.engine,
        own=own_options(run.info),
        granularity_tokens=run.info.facts.granularity_tokens or 1,
        model=fit_prefill(*samples_of(run.requests)),
        notes=(*run.notes, *facts.notes, *_doubts(run.requests, prompts, bodies)),
    )


def workload_of_sessions(
    sessions: Sequence[Session],
    engine: Engine,
    tokens: TokenSource,
    facts: dict[str, Any] | None = None,
    on_turn: Callable[[str], None] = lambda _: None,
) -> Workload:
    """Sessions, one after the other, rendered by an engine that is asked for nothing else.

    Raises:
        EngineError: it shows no prompts, or refuses one.
    """
    free = FreeIds()
    turns: list[tuple[Session, int, Turn, Prompt, array[int]]] = []
    for session in sessions:
        for number, turn in enumerate(session.turns):
            on_turn(session.name)
            turns.append((session, number, turn, *_rendered(engine, turn, free)))
    opening = find_opening((prompt.text, prompt.token_ids) for _, _, _, prompt, _ in turns)
    asks = tuple(
        Ask(
            _sent(f"{s.name}/{turn.conversation}/0", prompt, generated, list(turn.messages), turn.parameters, opening),
            s.name,
            turn.conversation,
            number,
        )
        for s, number, turn, prompt, generated in turns
    )
    seeded = any("seed" in turn.parameters for session in sessions for turn in session.turns)
    known = (facts or {}) | ({"sequential": True} if seeded else {})
    notes = _image_notes(sum(map(_has_image, (m for s in sessions for t in s.turns for m in t.messages))))
    return Workload(", ".join(session.name for session in sessions), tokens, asks, known, notes=notes)


def _rendered(engine: Engine, turn: Turn, free: FreeIds) -> tuple[Prompt, array[int]]:
    """The prompt of a turn, and the ids of its reply; where they are not known, as many that stand for nothing."""
    request = Request(turn.messages, turn.tools, turn.max_tokens, parameters=turn.parameters)
    prompt = engine.render(request)
    if prompt is None:
        raise EngineError(
            "this engine shows no prompts, so nothing can be simulated on its tokens",
            hint="give --model a GGUF file, or leave it out for approximate tokens",
        )
    forced = engine.forced(request, turn.reply) if isinstance(engine, Forcer) else None
    if forced is not None:
        return prompt, array("i", (*forced.token_ids, forced.end_token_id))
    try:
        after = engine.render(msgspec.structs.replace(request, messages=(*request.messages, turn.reply)))
    except EngineError:
        after = None
    added = len(after.token_ids) - len(prompt.token_ids) if after is not None else 1
    return prompt, free.take(max(1, min(added, turn.max_tokens)))


def _asks_of_run(run: StoredRun, prompts: dict[int, Rendered], bodies: dict[int, _Body]) -> Iterator[Ask]:
    opening = find_opening((r.text, r.token_ids) for r in prompts.values())
    free = FreeIds()
    ours = OwnRequests(run, prompts, opening, free)
    yield from ours.opening()
    for record in (one for one in run.requests if one.engine is None):
        yield from ours.before(record)
        rendered = prompts.get(record.request_id)
        refused = record.error is not None and record.error.kind == ContextOverflow.__name__
        # What was refused otherwise left nothing behind; what failed later may have left its prompt.
        reached = record.error is None or record.stamps.first_sign_ns is not None or refused
        if rendered is None or not reached:
            continue
        body = bodies.get(record.request_id, _Body())
        generated = rendered.generated_ids or free.take(record.evidence.generated_tokens or 1)
        prompt = Prompt(rendered.text, rendered.token_ids)
        conversation = f"{record.session}/{record.conversation}/{record.repeat}"
        yield Ask(
            _sent(conversation, prompt, generated, body.messages, body.parameters, opening),
            record.session,
            record.conversation,
            record.turn,
            record.request_id,
            None if record.evidence.conflict else record.evidence.cached_tokens,
            counted=record.error is None,
        )


def _sent(
    conversation: str,
    prompt: Prompt,
    generated: array[int],
    messages: Sequence[JsonObject],
    parameters: JsonObject,
    opening: Opening | None,
) -> Sent:
    roles: list[Role] = [message["role"] for message in messages]
    slot = parameters.get("id_slot")
    return Sent(
        conversation=conversation,
        prompt=prompt.token_ids,
        generated=generated,
        slot=slot if isinstance(slot, int) and slot >= 0 else None,
        cache_prompt=parameters.get("cache_prompt") is not False,
        messages=messages_of(prompt.text, prompt.token_ids, opening, roles),
    )


def _doubts(
    requests: Sequence[RequestRecord], prompts: dict[int, Rendered], bodies: dict[int, _Body]
) -> tuple[str, ...]:
    """What of a run no policy models, or what of it is missing."""
    notes: list[str] = []
    overlapping = _overlapping(requests)
    if overlapping:
        notes.append(f"{overlapping} requests were sent while another was in progress: that is not modelled")
    missing = sum(r.request_id not in prompts for r in requests if r.error is None)
    if missing:
        notes.append(f"the prompts of {missing} requests are not stored: those are left out")
    unknown = sum(p.generated_ids is None for p in prompts.values())
    if unknown:
        notes.append(f"the generated ids of {unknown} requests are not known: only their number is used")
    return (*notes, *_image_notes(sum(map(_has_image, (m for body in bodies.values() for m in body.messages)))))


def _overlapping(requests: Iterable[RequestRecord]) -> int:
    count, busy_until = 0, 0
    for record in sorted(requests, key=lambda r: r.stamps.sent_ns):
        count += record.stamps.sent_ns < busy_until
        busy_until = max(busy_until, record.stamps.done_ns or record.stamps.sent_ns)
    return count


def _has_image(message: JsonObject) -> bool:
    content: Any = message.get("content")
    parts = cast("list[object]", content) if isinstance(content, list) else []
    return any("image" in str(cast("JsonObject", part).get("type", "")) for part in parts if isinstance(part, dict))


def _image_notes(count: int) -> tuple[str, ...]:
    return (f"{count} messages hold images, whose tokens are not modelled",) if count else ()
