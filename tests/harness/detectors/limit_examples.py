"""Dispatches with and without a reached limit, a full context, a fault of the engine."""

from __future__ import annotations

from pathlib import Path

from harness.detectors.base import Case
from tests.harness.agent.agent_world import failing
from tests.harness.detectors.played import EDIT, READ, SUBMIT, TEST, Example, act, played, request, say

NAP = ("bash", {"command": "sleep 5"})


def good(place: Path) -> Case:
    """Reads, edits, tests, submits: nothing is wrong with it."""
    return played(place, act(READ), act(EDIT), act(TEST), act(SUBMIT))


def died(place: Path) -> Case:
    return played(place, act(READ), failing("EngineDied", "the server went away"), verified="fail")


def verifier_failed(place: Path) -> Case:
    return played(
        place, act(EDIT), act(SUBMIT), verified="not_run", outcome={"valid": False, "notes": ["no reward.json"]}
    )


def unreadable_once(place: Path) -> Case:
    parser = failing("EngineFault", "HTTP 500: Failed to parse input at pos 12: <tool_call>")
    return played(place, parser, act(EDIT), act(TEST), act(SUBMIT))


def late(place: Path) -> Case:
    return played(place, act(READ), verified="fail", setting={"limits": {"wall_s": 30.0}}, tick_s=5)


def many_turns(place: Path) -> Case:
    return played(
        place, act(READ), verified="fail", setting={"limits": {"turns": 3}, "loop": {"guard": "off"}}, wall_s=5
    )


def many_tokens(place: Path) -> Case:
    long = act(READ, generated_tokens=400)
    return played(place, long, verified="fail", setting={"limits": {"tokens": 1000}, "loop": {"guard": "off"}})


def slow_tool(place: Path) -> Case:
    return played(place, act(NAP), act(EDIT), act(SUBMIT), setting={"limits": {"tool_s": 0.05}})


def refused(place: Path) -> Case:
    return played(
        place, act(READ), failing("ContextOverflow", "4100 tokens, and the context has 4096"), verified="fail"
    )


def cut_at_context(place: Path, *, used: int = 4090) -> Case:
    cut = say("I will now", stop_reason="length", request_id=2)
    answered = (request(1, prompt=100, generated=10), request(2, prompt=used - 90, generated=90))
    return played(place, act(READ), cut, requests=answered, context_tokens=4096, verified="fail")


def marked(place: Path) -> Case:
    return played(place, act(EDIT), act(SUBMIT), requests=(request(1, prompt=500, truncated=True),))


def counted(place: Path, *, evaluated: int) -> Case:
    answered = request(1, prompt=evaluated + 100, evaluated_tokens=evaluated, cached_tokens=100)
    return played(place, act(EDIT), act(SUBMIT), requests=(answered,), rendered={1: 1000})


def shrinking(place: Path, second: int, *, setting: dict[str, object] | None = None) -> Case:
    answers = (act(READ, request_id=1), act(EDIT, request_id=2), act(SUBMIT, request_id=3))
    answered = (request(1, prompt=2000), request(2, prompt=second), request(3, prompt=second + 50))
    return played(place, *answers, requests=answered, setting=setting)


def pruned(place: Path) -> Case:
    """A prompt becomes shorter because the harness pruned it."""
    long = [
        act(("read", {"path": name}), prompt_tokens=900, request_id=n) for n, name in enumerate(("app.py", "util.py"))
    ]
    answers = (*long, act(EDIT, request_id=2, prompt_tokens=900), act(SUBMIT, request_id=3))
    answered = [request(n, prompt=tokens) for n, tokens in enumerate((900, 910, 500, 520))]
    return played(
        place,
        *answers,
        requests=answered,
        context_tokens=1000,
        setting={"history": {"policy": "clear_results", "at_share": 0.5, "keep_turns": 1}},
    )


def thinking(place: Path, generated: int, content: str = "") -> Case:
    cut = say(content, reasoning="Hmm. " * 50, stop_reason="length", request_id=1)
    return played(place, cut, requests=(request(1, prompt=100, generated=generated),), verified="fail")


EXAMPLES = (
    Example("infra_fault", "the engine died", died, certain=True),
    Example("infra_fault", "the verifier failed", verifier_failed, certain=True),
    Example("infra_fault", "a good dispatch", good, fires=False),
    Example("infra_fault", "a reply that could not be read", unreadable_once, fires=False),
    Example("timeout_wall", "out of time", late, certain=True),
    Example("timeout_wall", "a good dispatch", good, fires=False),
    Example("limit_turns", "out of turns", many_turns, certain=True),
    Example("limit_turns", "a good dispatch", good, fires=False),
    Example("limit_tokens", "out of tokens", many_tokens, certain=True),
    Example("limit_tokens", "out of turns instead", many_turns, fires=False),
    Example("timeout_tool", "a command that sleeps", slow_tool, certain=True),
    Example("timeout_tool", "a good dispatch", good, fires=False),
    Example("context_overflow", "refused", refused, certain=True),
    Example("context_overflow", "cut at the end of the context", cut_at_context, certain=True),
    Example("context_overflow", "cut long before it", lambda place: cut_at_context(place, used=2000), fires=False),
    Example("silent_truncation", "the engine's mark", marked, certain=True),
    Example("silent_truncation", "fewer tokens than sent", lambda place: counted(place, evaluated=600), certain=True),
    Example(
        "silent_truncation", "counted a little otherwise", lambda place: counted(place, evaluated=890), fires=False
    ),
    Example("silent_truncation", "a shorter prompt", lambda place: shrinking(place, 900), certain=False),
    Example("silent_truncation", "a growing prompt", lambda place: shrinking(place, 2100), fires=False),
    Example("silent_truncation", "a pruned history", pruned, fires=False),
    Example(
        "silent_truncation",
        "thoughts that are stripped",
        lambda place: shrinking(place, 900, setting={"thinking": {"history": "stripped"}}),
        fires=False,
    ),
    Example("reasoning_runaway", "thoughts to the end", lambda place: thinking(place, 4096), certain=True),
    Example("reasoning_runaway", "thoughts, then text", lambda place: thinking(place, 4096, "So:"), fires=False),
    Example("reasoning_runaway", "cut early", lambda place: thinking(place, 900), fires=False),
)
