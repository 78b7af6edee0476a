"""Causes put into conversations on purpose, with prompts and tokens of a real server and its real template."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from backends import open_engine, parse_target
from backends.base import Engine, Forcer, JsonObject, Request
from harness.sessions import Session, bundled_sessions
from profiler.causes import causes_of
from profiler.causes.base import Case, Step
from profiler.rendered import Rendered
from tests.profiler.causes.agents import GIT_STATUS, SOURCE, TASK, TOOLS, opencode
from tests.profiler.causes.test_prompt_rules import reordered_keys
from tests.profiler.causes.world import assistant, call, case_of, other_ids_of, result, step, system, tool, user

pytestmark = pytest.mark.engine

TINY = Path(__file__).parents[3] / "profiles" / "models" / "tiny" / "tiny-q4_k_m.gguf"
CLEAN = ("append-only", "reasoning-kept", "title-call", "interleaved", "sub-agent")
THOUGHT = "The refund is stored as a negative amount, so the rate must not be negated again."


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    opened = open_engine(parse_target(f"llama-server:{TINY}?ctx=16384&threads=1"))
    yield opened
    opened.close()


class Talk(NamedTuple):
    """A request and the reply that was made to it; what the next one sends."""

    messages: list[JsonObject]
    reply: JsonObject
    after: list[JsonObject]
    tools: Sequence[JsonObject] = TOOLS
    tools_after: Sequence[JsonObject] = TOOLS


def talk(old: str = "", new: str = "") -> Talk:
    messages = [
        system(opencode() + old), user(TASK), assistant("I read it.", call("read", '{"path": "a.py"}', "call_1")),
        result(SOURCE, "call_1"), assistant("It looks fine."), user("Look again, the totals are wrong."),
    ]  # fmt: skip
    reply = assistant("I run the tests.", call("bash", '{"command": "pytest -q"}', "call_2"))
    return Talk(messages, reply, [system(opencode() + new), *messages[1:], reply, result("3 failed", "call_2")])


def with_message(index: int, old: JsonObject, new: JsonObject) -> Talk:
    made = talk()
    before, after = list(made.messages), list(made.after)
    before[index], after[index] = old, new
    return made._replace(messages=before, after=after)


def stripped() -> Talk:
    made = talk()
    thinking = {**made.reply, "reasoning_content": THOUGHT}
    return made._replace(reply=thinking)


def other_arguments() -> Talk:
    """The model writes a call without spaces; the server's template writes it with them."""
    arguments = '{"command":"pytest -q tests/test_export.py","timeout":60}'
    written = f'I run the tests.\n<tool_call>\n{{"name": "bash", "arguments": {arguments}}}\n</tool_call>'
    sent = assistant("I run the tests.", call("bash", arguments, "call_2"))
    made = talk()
    return made._replace(reply=assistant(written), after=[*made.messages, sent, made.after[-1]])


def git(status: str) -> str:
    return GIT_STATUS.format(branch="main", status=status, commits="a1b2c3d Fix rounding")


REMINDER = "\n<system-reminder>\nYou are no longer in read-only mode.\n</system-reminder>"
QUESTION = "Look again, the totals are wrong."
METADATA = 'Conversation info (untrusted metadata):\n{"sender": "lena"}\n\n'
LATE = (*TOOLS, tool("mcp__browser__open", url="string"))

INJECTED: dict[str, tuple[Callable[[], Talk], str]] = {
    "P1": (lambda: talk("Current time: 09:14\n", "Current time: 09:15\n"), "messages[0].content"),
    "P2": (lambda: talk(git("(clean)"), git(" M ledger/export.py")), "messages[0].content"),
    "P3": (
        lambda: talk(
            "x-anthropic-billing-header: cc_version=2.1.37.0d9; cc_entrypoint=cli; cch=fa690;\n",
            "x-anthropic-billing-header: cc_version=2.1.37.0d9; cc_entrypoint=cli; cch=1c8b4;\n",
        ), "messages[0].content",
    ),
    "P4": (lambda: with_message(5, user(QUESTION + REMINDER), user(QUESTION)), "messages[5].content"),
    "P5": (lambda: with_message(5, user(METADATA + QUESTION), user(QUESTION)), "messages[5].content"),
    "P6": (lambda: talk()._replace(tools_after=LATE), "tools[3]"),
    "P7": (lambda: talk()._replace(tools_after=tuple(map(reordered_keys, TOOLS))), "tools[0]"),
    "P8": (other_arguments, "messages[6].tool_calls[0].function.arguments"),
    "P9": (stripped, "messages[6].reasoning_content"),
    "P11": (
        lambda: with_message(3, result(SOURCE, "call_1"), result("[Old tool result content cleared]", "call_1")),
        "messages[3].content",
    ),
}  # fmt: skip


def stood(
    engine: Engine, messages: Sequence[JsonObject], tools: Sequence[JsonObject], reply: JsonObject | None
) -> Step:
    """A request as the server renders it, with the reply that it can be forced to."""
    request = Request(tuple(messages), tuple(tools))
    prompt = engine.render(request)
    assert prompt is not None
    assert isinstance(engine, Forcer)
    forced = engine.forced(request, reply) if reply is not None else None
    assert (forced is None) == (reply is None)
    made = step(messages, None, tools=tools, generated=forced.text if forced is not None else None)
    generated = array("i", [*forced.token_ids, forced.end_token_id]) if forced is not None else None
    return msgspec.structs.replace(made, rendered=Rendered(prompt.text, prompt.token_ids, generated))


def seen(engine: Engine, made: Talk) -> Case:
    first = stood(engine, made.messages, made.tools, made.reply)
    return case_of(first, stood(engine, made.after, made.tools_after, None))


@pytest.mark.parametrize("code", INJECTED)
def test_a_cause_that_was_put_in_is_named(engine: Engine, code: str) -> None:
    make, path = INJECTED[code]
    case = seen(engine, make())
    found = causes_of(case)
    assert [(cause.code, cause.proofs[0].path) for cause in found] == [(code, path)]
    assert found[0].token == case.step.record.verdict.lcp_tokens


def test_three_causes_in_one_request_are_named_in_order(engine: Engine) -> None:
    made = talk("Current time: 09:14\n", "Current time: 09:15\n")
    thinking = {**made.reply, "reasoning_content": THOUGHT}
    after = list(made.after)
    after[3] = result("[Old tool result content cleared]", "call_1")
    found = causes_of(seen(engine, made._replace(reply=thinking, after=after)))
    assert [cause.code for cause in found] == ["P1", "P11", "P9"]
    assert sorted(cause.token or 0 for cause in found) == [cause.token for cause in found]


def test_a_reply_in_other_tokens_is_named(engine: Engine) -> None:
    made = talk()
    first = stood(engine, made.messages, made.tools, made.reply)
    assert first.rendered is not None
    other = msgspec.structs.replace(first.rendered, generated_ids=other_ids_of("I run the tests."))
    case = case_of(msgspec.structs.replace(first, rendered=other), stood(engine, made.after, made.tools, None))
    assert [cause.code for cause in causes_of(case)] == ["P10"]


@pytest.mark.parametrize("session", [s for s in bundled_sessions() if s.name in CLEAN], ids=lambda s: s.name)
def test_a_clean_session_has_no_finding(engine: Engine, session: Session) -> None:
    """Whatever the engine makes of them: the text of every conversation only grows."""
    last: dict[str, Step] = {}
    for turn in session.turns[:6]:
        this = stood(engine, turn.messages, turn.tools, turn.reply)
        if turn.conversation in last:
            case = case_of(last[turn.conversation], this)
            assert case.changes == ()
            assert causes_of(case) == ()
        last[turn.conversation] = this
