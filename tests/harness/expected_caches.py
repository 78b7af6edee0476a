"""What `dyno cache` has to say of each request on each engine: one rule for all, and the table of exceptions.

The rule: a cache that forgets nothing, of which an engine reuses every token that a prompt shares with what it has
held. Prompts, L and prev are those of the engine that knows its own tokens best (`REFERENCE`); everything else follows
by arithmetic, written here once more and not taken from `profiler.verdict`. Nothing here runs an engine.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

REFERENCE = "llama-cpp"
ENGINES = ("llama-server", "llama-cpp", "llama-cpp-server", "mlx", "mlx-server")
FORCING = {
    "llama-server": "token_ids",
    "llama-cpp": "token_ids",
    "llama-cpp-server": "length",
    "mlx": "token_ids",
    "mlx-server": "length",
}
"""Two servers cannot be made to say a given text. What they say instead is no part of the recorded history, so of
their sequences only the prompts count: prev ends where the prompt before ended."""
KEEPS_LAST_TOKEN = {"mlx"}
"""mlx-lm evaluates a token before it hands it out; llama.cpp samples the last one and evaluates it never."""

FLOOR_TOKENS, FLOOR_SHARE, END_OF_TURN_TOKENS = 16, 0.02, 8
Key = tuple[str, str]
"""Engine and request; a request is `kind/conversation n`, n counting from 0 within its conversation."""


class Figures(msgspec.Struct, frozen=True):
    """What is compared, in tokens. `None`: of a cold request it means nothing whose length prev is, and what lies
    below the floor is no engine's duty to reuse."""

    prompt: int
    lcp: int
    prev: int | None
    cached: int | None
    cache_class: str
    lost_prompt_side: int
    lost_engine_side: int


class Difference(msgspec.Struct, frozen=True):
    """Requests on which engines leave the rule, and why; all of them reuse the same number of tokens there."""

    reason: str
    engines: tuple[str, ...]
    requests: tuple[str, ...]
    figures: tuple[str, ...] = ("cached", "cache_class", "lost_engine_side")

    def places(self) -> set[Key]:
        return {(engine, request) for engine in self.engines for request in self.requests}


def by_request(rows: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The rows of a document by the name of their request; a short session names its kind in the conversation."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        talk = row["conversation"]
        name = talk if "/" in talk else f"{row['session']}/{talk}"
        found[f"{name} {sum(key.rpartition(' ')[0] == name for key in found)}"] = row
    return found


def said(row: dict[str, Any]) -> Figures:
    """What a document says of a request."""
    cold = row["class"] == "cold"
    return Figures(
        prompt=row["prompt_tokens"],
        lcp=row["lcp_tokens"],
        prev=None if cold else row["prev_tokens"],
        cached=None if cold else row["cached_tokens"],
        cache_class=row["class"],
        lost_prompt_side=row["lost_prompt_side_tokens"],
        lost_engine_side=row["lost_engine_side_tokens"],
    )


def by_the_rule(engine: str, reference: dict[str, dict[str, Any]]) -> dict[str, Figures]:
    """What the rule says for an engine, from the reference's rows, in the order in which they were sent."""
    forced = FORCING[engine] == "token_ids"
    found: dict[str, Figures] = {}
    prompt_of_sequence: dict[int, int] = {}
    for name, row in reference.items():
        prompt: int = row["prompt_tokens"]
        lcp: int = row["lcp_tokens"]
        prev: int = row["prev_tokens"]
        unevaluated = forced and lcp == prev and engine not in KEEPS_LAST_TOKEN
        if not forced:
            prev = prompt_of_sequence.get(prev, prev)
            lcp = min(lcp, prev)
        found[name] = judged(prompt, lcp, prev, lcp - unevaluated, first=name.endswith(" 0"))
        prompt_of_sequence[prompt + row["generated_tokens"]] = prompt
    return found


def judged(prompt: int, lcp: int, prev: int, cached: int, *, first: bool) -> Figures:
    """Class and losses of a request by their definitions."""
    floor = max(FLOOR_TOKENS, int(FLOOR_SHARE * prompt))
    if first and lcp <= floor:
        return Figures(prompt, lcp, None, None, "cold", 0, 0)
    reusable = min(lcp, prompt - 1)
    engine_side = reusable - cached if reusable > floor and reusable - cached > 1 else 0
    prompt_side = prev - lcp if not first and prev - lcp > END_OF_TURN_TOKENS else 0
    if first:
        cache_class = "branch"
    elif not engine_side and not prompt_side:
        cache_class = "hit"
    else:
        cache_class = "full_miss" if cached <= floor else "partial"
    return Figures(prompt, lcp, prev, cached, cache_class, prompt_side, engine_side)


def differing(a: Figures, b: Figures) -> set[str]:
    """The names of the figures in which two judgements differ."""
    return {name for name in Figures.__struct_fields__ if getattr(a, name) != getattr(b, name)}


def requests(conversation: str, *numbers: int) -> tuple[str, ...]:
    """The names of some requests of a conversation."""
    return tuple(f"{conversation} {number}" for number in numbers)


ONE_SEQUENCE = ("llama-cpp", "llama-cpp-server", "mlx")
CAME_BETWEEN = "one sequence is held: whoever came between has it, and what remains is what the two share"
SLOT_STOLEN = (
    "llama-server gives a sub-agent the slot of main, with which it shares a tenth and more, though others are free; "
    "main finds its slot by what the sub-agent left of it, and the copy in the host's memory is not looked for"
)
REASONING_DROPPED = (
    "llama_cpp.server's schema has no reasoning_content: it drops it from every message, so the prompt is shorter"
)
ORDER_IS_BACK = "the tools are back in an order from before the last request, and one sequence is held"
NO_COPY_IS_FIT = (
    "the tools are back in an order from before the last request: what lost less than half of its slot to another was "
    "not copied to the host's memory (3), and a copy of which less than a quarter is of use is not taken back (11)"
)
LESS_THAN_A_TENTH = (
    "llama-server takes another slot for a prompt that shares less than a tenth with a slot; what is lost by it lies "
    "below the floor"
)

SHORT = (
    Difference(CAME_BETWEEN, ONE_SEQUENCE, requests("title-call/main", 1, 2, 3)),
    Difference(CAME_BETWEEN, ONE_SEQUENCE, ("title-call/title-2 0", "title-call/title-3 0")),
    Difference(CAME_BETWEEN, ONE_SEQUENCE, ("interleaved/a 1", "interleaved/b 1")),
    Difference(CAME_BETWEEN, ONE_SEQUENCE, requests("sub-agent/main", 3, 4)),
    Difference(SLOT_STOLEN, ("llama-server",), requests("sub-agent/main", 3, 4)),
    Difference(REASONING_DROPPED, ("llama-cpp-server",), requests("reasoning-kept/main", 1), ("prompt",)),
)
"""Exceptions on the short sessions."""

BUNDLED = (
    Difference(CAME_BETWEEN, ONE_SEQUENCE, requests("title-call/main", 1, 3, 6)),
    Difference(CAME_BETWEEN, ONE_SEQUENCE, ("title-call/title-2 0", "title-call/title-3 0")),
    Difference(CAME_BETWEEN, ONE_SEQUENCE, requests("interleaved/a", *range(1, 8))),
    Difference(CAME_BETWEEN, ONE_SEQUENCE, requests("interleaved/b", *range(1, 8))),
    Difference(CAME_BETWEEN, ONE_SEQUENCE, requests("sub-agent/main", 5, 6)),
    Difference(SLOT_STOLEN, ("llama-server",), requests("sub-agent/main", 5, 6)),
    Difference(ORDER_IS_BACK, ONE_SEQUENCE, requests("tools-reordered/main", 3, 4, 6, 7, 9, 10, 11)),
    Difference(NO_COPY_IS_FIT, ("llama-server",), requests("tools-reordered/main", 3, 11)),
    Difference(LESS_THAN_A_TENTH, ("llama-server",), requests("clock-in-system-prompt/main", *range(1, 12))),
    Difference(
        REASONING_DROPPED,
        ("llama-cpp-server",),
        requests("reasoning-kept/main", *range(1, 14)),
        ("prompt", "lcp", "prev", "cached"),
    ),
)
"""Exceptions on the bundled sessions."""
