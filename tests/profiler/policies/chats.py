"""Sessions of messages played on real engines by `harness.replay`, and noted as a policy takes them.

`random_session` invents chats that go on, branch, are edited, compacted, repeated and interleaved; equal seeds give
equal sessions.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from random import Random

import msgspec

from backends.base import ContextOverflow, Engine, Event, Evidence, JsonObject, Request
from harness.replay import Plan, replay
from harness.sessions import Session, Turn
from profiler.policies.base import Sent, find_messages
from tests.profiler.policies.workload import between

USER_START = array("i", [1, 341, 209])
"""How the bundled models' template opens a user message, in their tokens: `<|im_start|>user` and a new line."""
_WORDS = "cache slot token prompt window reuse prefix branch agent tool file test error build list read".split()


class Played(msgspec.Struct, frozen=True):
    """One request as a policy takes it, and what the engine said of it; nothing, if it was refused."""

    sent: Sent
    evidence: Evidence


class Recorder:
    """An engine that notes what goes through it, anchors included. Abilities of the engine stay visible."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.played: list[Played] = []
        for name in ("render", "forced", "facts", "pids", "close", "reset"):
            if hasattr(engine, name):
                setattr(self, name, getattr(engine, name))

    def stream(self, request: Request) -> Iterator[Event]:
        """Serve a request, and note it."""
        prompt = self._engine.render(request)
        assert prompt is not None
        generated: list[int] = []
        evidence = Evidence()
        try:
            for event in self._engine.stream(request):
                if isinstance(event, Evidence):
                    evidence = event
                generated += getattr(event, "token_ids", None) or ()
                yield event
        except ContextOverflow:
            self.played.append(Played(_sent(request, prompt.token_ids, [-1]), evidence))
            raise
        if request.forced is not None:
            generated = [*request.forced.token_ids, request.forced.end_token_id]
        # Of what was not forced only the number may be known: ids that no prompt holds.
        ids = generated or [-1] * (evidence.generated_tokens or 1)
        self.played.append(Played(_sent(request, prompt.token_ids, ids), evidence))


def _sent(request: Request, prompt: array[int], generated: list[int]) -> Sent:
    return Sent(
        conversation="",
        prompt=prompt,
        generated=array("i", generated),
        slot=request.parameters.get("id_slot"),
        cache_prompt=request.parameters.get("cache_prompt", True),
        messages=find_messages(prompt, {"user": USER_START}),
    )


def play(engine: Engine, sessions: tuple[Session, ...]) -> list[Played]:
    """Replay sessions one after the other; every request that the engine got, in order.

    Raises:
        AssertionError: a request failed, other than by a prompt that is too long.
    """
    recorder = Recorder(engine)
    for record, _ in replay(recorder, Plan(sessions)):  # type: ignore[arg-type]
        assert record.error is None or record.error.kind == "ContextOverflow", record.error
    return recorder.played


def random_session(seed: int, turns: int, *, slots: int = 0) -> Session:
    """A session of chats; with `slots`, every third request or so pins one of them."""
    random = Random(seed)
    systems = [_text(random, 80, 300), _text(random, 20, 60)]
    chats: list[list[JsonObject]] = []
    made: list[Turn] = []
    for _ in range(turns):
        if not chats or (len(chats) < 4 and random.random() < 0.4):
            chats.append([{"role": "system", "content": random.choice(systems)}, _user(random)])
            number = len(chats) - 1
        else:
            number = random.randrange(len(chats))
            chats[number] = _changed(random, chats[number])
        reply: JsonObject = {"role": "assistant", "content": _text(random, 1, 25)}
        pinned = {"id_slot": random.randrange(slots)} if slots and random.random() < 0.3 else {}
        made.append(Turn(f"chat-{number}", tuple(chats[number]), (), 64, pinned, reply))
        chats[number] = [*chats[number], reply]
    return Session(f"random-{seed}", "Random chats.", None, None, seed, tuple(made))


def _changed(random: Random, chat: list[JsonObject]) -> list[JsonObject]:
    """The messages of a chat's next request; the last of them is the user's."""
    kind = random.random()
    if kind < 0.55:
        return [*chat, _user(random)]
    keep = random.randrange(1, len(chat))
    if kind < 0.7:  # taken back: answers come after questions, so an odd number of messages stays
        return [*chat[: keep - (keep + 1) % 2], _user(random)]
    if kind < 0.8:  # edited somewhere
        edited = {**chat[keep], "content": f"{chat[keep]['content']} {random.choice(_WORDS)}"}
        return [*chat[:keep], edited, *chat[keep + 1 :], _user(random)]
    if kind < 0.9 and len(chat) > 3:  # compacted
        return [chat[0], {"role": "user", "content": _text(random, 5, 30)}, chat[-1], _user(random)]
    return chat[:-1]  # asked again


def _user(random: Random) -> JsonObject:
    return {"role": "user", "content": _text(random, 3, 120)}


def _text(random: Random, least: int, most: int) -> str:
    return " ".join(random.choice(_WORDS) for _ in range(between(random, (least, most))))
