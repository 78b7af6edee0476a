"""All kinds of session made small and put together: what each kind does to its prompts is kept, what it says is cut.

For engines that evaluate a few hundred tokens a second (MLX on a CPU). Nothing here is sent.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from backends.base import JsonObject
from harness.session_maker.generator import KINDS, fewest_turns, generate
from harness.sessions import Session, Side, Turn, write_session

SEED = 21
LEFT_OUT = ("append-only-long",)
"""In its fewest turns it is `append-only`."""
KEPT_TOOLS = ("list", "write")
WITH_TOOLS = ("append-only", "tools-reordered", "clock-in-system-prompt", "sub-agent")
"""Kinds that keep tools: where they matter, and where a part of the prompt has to be large beside the rest."""
SYSTEM_CHARS = 200
RESULT_CHARS = 90
REPLY_CHARS = 30
MOST_TOKENS = 12
"""For engines whose replies cannot be forced: what they say is not looked at."""


def write_short_sessions(folder: Path) -> Path:
    """Write all kinds as two sessions: those whose text changes, and those whose text only grows. Returns `folder`.

    Not a file for each kind, since before each session an anchor is measured, longer than these prompts.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sessions = [short_session(kind) for kind in KINDS if kind not in LEFT_OUT]
    for name, provokes, sides in (("changes", "changes", ("prompt",)), ("growth", "nothing", ("none", "engine"))):
        turns = [turn for session in sessions if session.side in sides for turn in session.turns]
        side: Side = "prompt" if provokes == "changes" else "none"
        write_session(Session(name, "", provokes, side, SEED, tuple(turns)), folder / f"{name}.jsonl")
    return folder


def short_session(kind: str) -> Session:
    """A session of a kind in its fewest turns, with two tools or none, and with the ends of long texts cut off.

    What was equal between two requests is equal still, and a history that only grew still does. Conversations and
    system prompts begin with the name of the kind, so that one kind finds nothing of another in a cache.
    """
    session = generate(kind, seed=SEED, turns=fewest_turns(kind))
    return msgspec.structs.replace(session, turns=tuple(_turn(kind, turn) for turn in session.turns))


def _turn(kind: str, turn: Turn) -> Turn:
    return msgspec.structs.replace(
        turn,
        conversation=f"{kind}/{turn.conversation}",
        messages=tuple(_cut(kind, message) for message in turn.messages),
        tools=tuple(t for t in turn.tools if kind in WITH_TOOLS and t["function"]["name"] in KEPT_TOOLS),
        reply=_cut(kind, turn.reply),
        max_tokens=MOST_TOKENS,
    )


def _cut(kind: str, message: JsonObject) -> JsonObject:
    cut = dict(message)
    match message["role"]:
        case "system":
            cut["content"] = f"{kind}: {message['content'][:SYSTEM_CHARS]}"
        case "tool":
            cut["content"] = message["content"][:RESULT_CHARS]
        case "assistant":
            for key in ("content", "reasoning_content"):
                if message.get(key):
                    cut[key] = message[key][:REPLY_CHARS]
        case _:
            pass
    return cut
