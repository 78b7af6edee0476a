"""Generated sessions on the real mlx_lm.server and on dyno's `mlx`, each request beside what the policy predicts.

`benchmarks/policy_agreement.py` takes the rows; `test_mlx_agreement.py` plays a few. The server's output cannot be
forced, so it says what it likes, and the policy is told the ids that it generated.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import msgspec

from backends import open_engine, parse_target
from backends.base import Engine, Evidence, Forcer, JsonObject, Prompt, Request
from harness.session_maker.generator import KINDS, fewest_turns, generate
from harness.sessions import Session, Turn, salted
from profiler.policies import mlx, mlx_server
from profiler.policies.base import Message, Policy, Role, Sent
from tests.backends import mlx_models
from tests.profiler.policies.chats import random_session

FOLDERS: dict[str, Callable[[Path], Path]] = {
    "full": mlx_models.write_dense,
    "sliding_window": mlx_models.write_sliding_window,
    "recurrent": mlx_models.write_hybrid,
}
_REPLY_TOKENS = 8
_WINDOW = mlx_models.WINDOW_TOKENS


class Row(msgspec.Struct, frozen=True):
    """One request: what the engine reused, and what the policy said; tokens."""

    target: str
    session: str
    conversation: str
    turn: int
    prompt_tokens: int
    cached_tokens: int | None
    predicted_tokens: int | None
    why: str

    @property
    def agrees(self) -> bool:
        """Whether both are the same number."""
        return self.cached_tokens == self.predicted_tokens


def held_out(seed: int, kinds: tuple[str, ...] = KINDS, scale: float = 0.4) -> list[Session]:
    """Sessions of the fewest turns that no file of the project holds."""
    return [generate(kind, seed=seed, turns=fewest_turns(kind), scale=scale) for kind in kinds]


def all_rows(cache_kind: str, folder: Path, *, seed: int) -> Iterator[Row]:
    """Every kind of session on the server, batched and sequential, with few entries too, and in dyno's own worker."""
    sessions = held_out(seed)
    yield from server_rows(cache_kind, folder, sessions)
    yield from server_rows(cache_kind, folder, sessions, seeded=True)
    yield from server_rows(cache_kind, folder, [*sessions, random_session(seed, 40)], entries=3)
    yield from in_process_rows(cache_kind, folder, sessions)


def server_rows(
    cache_kind: str, folder: Path, sessions: list[Session], *, seeded: bool = False, entries: int = 10
) -> Iterator[Row]:
    """mlx_lm.server on a small model of one cache kind; `seeded` requests take its sequential path."""
    model = FOLDERS[cache_kind](folder)
    options = mlx_server.Options(
        prompt_cache_size=entries,
        cache_kind=cache_kind,  # type: ignore[arg-type]
        window=_WINDOW,
        sequential=seeded,
    )
    parameters: JsonObject = {"logprobs": True, "stream": False, "temperature": 0, "max_tokens": _REPLY_TOKENS}
    parameters |= {"seed": 1} if seeded else {}
    name = f"mlx-server/{cache_kind}{'/sequential' if seeded else ''}"
    with closing(open_engine(parse_target(f"mlx-server:{model}?prompt_cache_size={entries}"))) as engine:
        url = engine._connection.url  # type: ignore[attr-defined]

        def ask(turn: Turn) -> tuple[Evidence, array[int]]:
            body = {"messages": turn.messages, **({"tools": turn.tools} if turn.tools else {}), **parameters}
            reply = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=120).raise_for_status().json()
            cached = reply["usage"]["prompt_tokens_details"]["cached_tokens"]
            ids = array("i", [token["id"] for token in reply["choices"][0]["logprobs"]["content"]])
            return Evidence(prompt_tokens=reply["usage"]["prompt_tokens"], cached_tokens=cached), ids

        yield from _rows(name, engine, mlx_server.open_policy(options), sessions, ask)


def in_process_rows(cache_kind: str, folder: Path, sessions: list[Session]) -> Iterator[Row]:
    """dyno's own `mlx` worker, its replies forced."""
    model = FOLDERS[cache_kind](folder)
    policy = mlx.open_policy(mlx.Options(cache_kind=cache_kind, window=_WINDOW))  # type: ignore[arg-type]
    with closing(open_engine(parse_target(f"mlx:{model}"))) as engine:

        def ask(turn: Turn) -> tuple[Evidence, array[int]]:
            request = Request(turn.messages, turn.tools, turn.max_tokens)
            assert isinstance(engine, Forcer)
            forced = engine.forced(request, turn.reply)
            assert forced is not None
            said = [e for e in engine.stream(msgspec.structs.replace(request, forced=forced))]
            ids = array("i", [*forced.token_ids, forced.end_token_id])
            return next(event for event in said if isinstance(event, Evidence)), ids

        yield from _rows(f"mlx/{cache_kind}", engine, policy, sessions, ask)


def _rows(
    target: str,
    engine: Engine,
    policy: Policy,
    sessions: list[Session],
    ask: Callable[[Turn], tuple[Evidence, array[int]]],
) -> Iterator[Row]:
    for session in sessions:
        for number, turn in enumerate(salted(session, f"held out {session.name} {session.seed}").turns):
            prompt = engine.render(Request(turn.messages, turn.tools))
            assert prompt is not None
            evidence, generated = ask(turn)
            assert evidence.prompt_tokens == len(prompt.token_ids)
            sent = Sent(turn.conversation, prompt.token_ids, generated, messages=_messages(turn, prompt))
            predicted = policy.serve(sent)
            yield Row(
                target,
                session.name,
                turn.conversation,
                number,
                len(prompt.token_ids),
                evidence.cached_tokens,
                predicted.cached_tokens,
                predicted.why,
            )


def _messages(turn: Turn, prompt: Prompt) -> tuple[Message, ...]:
    """Starts by ChatML's opening token; tool results that share one block share its start."""
    opening = prompt.token_ids[0]
    starts = [at for at, token in enumerate(prompt.token_ids) if token == opening][:-1]
    roles: list[Role] = [message["role"] for message in turn.messages]
    return tuple(Message(role, starts[min(n, len(starts) - 1)]) for n, role in enumerate(roles))
