"""Prompts before and after a reply, judged: what breaks, where, how many tokens, and what that costs later."""

from __future__ import annotations

from array import array
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base import Prompt
from profiler.template_replies import Spoken
from profiler.template_stability import (
    AROUND_CHARS,
    Finding,
    Scope,
    Step,
    clock_finding,
    cost_tokens,
    judge_step,
    opens_reasoning,
)

SYSTEM, USER, RESULT = "You repair faults.", "Order one: find the fault.", "Result one: 12 lines."
BEFORE = f"<s>{SYSTEM}<u>{USER}<a>"
LONG = "word " * 30


def prompt(text: str) -> Prompt:
    """One token a character, so that counts can be seen."""
    return Prompt(text, array("i", map(ord, text)))


def step(before: str, after: str, *spoken: Spoken, asks: bool = False, thoughts: tuple[str, ...] = ()) -> Step:
    return Step(prompt(before), prompt(after), spoken, (SYSTEM, USER), 1, "a tool", thoughts, asks)


def test_an_appended_reply_loses_nothing() -> None:
    assert judge_step(step(BEFORE, f"{BEFORE}It is there.<u>Go on.<a>", Spoken("content", "It is there."))) == ()


def test_a_changed_head_loses_everything_after_it() -> None:
    after = BEFORE.replace("repair", "mend") + "It is there.<u>Go on.<a>"
    (found,) = judge_step(step(BEFORE, after, Spoken("content", "It is there.")))
    at = BEFORE.index("repair")
    assert (found.scope, found.when, found.kept_tokens) == ("everything", "every_turn", at)
    assert found.lost_tokens == len(BEFORE) - at + len("It is there.")
    assert (found.was, found.now) == (BEFORE[: at + AROUND_CHARS], after[: at + AROUND_CHARS])


def test_a_break_of_a_few_tokens_is_no_loss() -> None:
    """A template may end a turn otherwise: as the verdict on caches has it."""
    assert judge_step(step(BEFORE + "12345678", BEFORE + "It is there.")) == ()
    assert judge_step(step(BEFORE + "123456789", BEFORE + "It is there.")) != ()


def test_dropped_reasoning_of_earlier_replies_is_named() -> None:
    thought = "Thought: it must be in the parser, " + LONG
    (found,) = judge_step(
        step(f"{BEFORE}<think>{thought}</think>Call.<t>{RESULT}<a>", f"{BEFORE}Call.<t>{RESULT}<a>Done.<u>Next.<a>",
             asks=True, thoughts=(thought,))
    )  # fmt: skip
    assert found.cause == "the reasoning of earlier replies is dropped when a new user message comes"
    assert (found.when, found.kept_tokens) == ("new_order", len(BEFORE) + 0)


def test_a_generation_prompt_that_no_reply_has_is_named() -> None:
    (found,) = judge_step(step(f"{BEFORE}<think></think>", f"{BEFORE}It is there.<u>", Spoken("content", LONG)))
    assert "is not what stands before that reply" in found.cause
    assert found.scope == "reply"


def test_moving_tools_are_named() -> None:
    (found,) = judge_step(
        step(f"{BEFORE}[a tool: {LONG}]<a>", f"{BEFORE}<a>Yes.<u>Next.[a tool: {LONG}]<a>", asks=True)
    )
    assert found.cause.startswith("the tool definitions stand behind the history and move")


def test_other_tokens_of_the_same_text() -> None:
    before, after = prompt(BEFORE), prompt(BEFORE + "Yes.")
    merged = Prompt(after.text, before.token_ids[:10] + array("i", [9999]) + before.token_ids[12:])
    (found,) = judge_step(Step(before, merged, (), (SYSTEM, USER), 1))
    assert (found.cause, found.kept_tokens) == ("the same text has other tokens", 10)


@pytest.mark.parametrize(
    ("said", "rendered", "how"),
    [
        ('{"a":1}', '{"a": 1}', "their spaces"),
        ('{"b": 1, "a": 2}', '{"a": 2, "b": 1}', "their keys in another order"),
        ('{"a": 0.123456789}', '{"a": 0.123457}', "their numbers in another form"),
        ('{"a": 2.0}', '{"a": 2}', "their numbers in another form"),
        ('{"a": "\\u00e9"}', '{"a": "é"}', "characters escaped otherwise"),
    ],
)
def test_arguments_that_are_written_anew(said: str, rendered: str, how: str) -> None:
    after = f'{BEFORE}call {{"name": "read", "arguments": {rendered}}}<t>{RESULT}<a>'
    (found,) = judge_step(step(BEFORE, after, Spoken("arguments", said)))
    assert found.cause == f"arguments of a tool call are written anew ({how})"
    assert (found.scope, found.when, found.estimated) == ("reply", "such_reply", True)
    assert 1 <= found.lost_tokens <= len(said)


@pytest.mark.parametrize(
    "shown",
    [
        '{"name": "read", "arguments": {"path":"a.py","line":3}}',
        '{"name": "read", "arguments": "{\\"path\\":\\"a.py\\",\\"line\\":3}"}',
        "<path>\na.py\n</path><line>3</line>",
    ],
)
def test_arguments_that_are_still_there(shown: str) -> None:
    """Verbatim, as a JSON string, or in a format of the template's own that keeps values and order."""
    spoken = Spoken("arguments", '{"path":"a.py","line":3}')
    assert judge_step(step(BEFORE, f"{BEFORE}{shown}<t>{RESULT}<a>", spoken)) == ()


@pytest.mark.parametrize(
    ("shown", "cause"),
    [
        ("<line>3</line><path>a.py</path><share>2.0</share>", "their keys in another order"),
        ("<path>a.py</path><line>3</line><share>2</share>", "their numbers in another form"),
        ("<path>b.py</path><line>3</line><share>2</share>", "their values in another form"),
        ("", "tool calls are not rendered"),
    ],
)
def test_arguments_in_a_format_of_the_templates_own(shown: str, cause: str) -> None:
    spoken = Spoken("arguments", '{"path": "a.py", "line": 3, "share": 2.0}')
    (found,) = judge_step(step(BEFORE, f"{BEFORE}{shown}<t>Fine.<a>", spoken))
    assert cause in found.cause


def test_what_follows_a_break_in_a_reply_is_lost_with_it() -> None:
    spoken = Spoken("reasoning", LONG), Spoken("content", "It is there.")
    (found,) = judge_step(step(BEFORE, f"{BEFORE}It is there.<u>Next.<a>", *spoken))
    assert found.cause == "the reasoning of the last reply is not rendered"
    assert (found.kept_tokens, found.lost_tokens) == (len(BEFORE), len(LONG) + len("It is there."))
    assert found.was.startswith(BEFORE[-AROUND_CHARS:])


def test_trimmed_white_space_is_named() -> None:
    (found,) = judge_step(step(BEFORE, f"{BEFORE}Yes.<u>Next.<a>", Spoken("content", "Yes.\n")))
    assert found.cause == "white space around an answer is trimmed"


@pytest.mark.parametrize(
    ("tail", "opened"), [("<a><think>\n", True), ("<a><think>\n\n</think>\n\n", False), ("<a>", False)]
)
def test_whether_reasoning_is_opened(tail: str, opened: bool) -> None:
    assert opens_reasoning(prompt(f"<s>{SYSTEM}<u>{USER}{tail}"), USER) is opened


def test_todays_date_is_found() -> None:
    now = datetime(2026, 11, 20)
    found = clock_finding(prompt("Cutting knowledge.\nToday Date: 20 Nov 2026\n" + LONG), now)
    assert found is not None
    assert (found.scope, found.when, found.kept_tokens) == ("everything", "new_day", 31)
    assert clock_finding(prompt("Today Date: 26 Jul 2024\n"), now) is None


def finding(scope: Scope, kept: int = 500, lost: int = 40) -> Finding:
    return Finding("x", scope, "every_turn", kept, lost, False, 300, "", "")


def test_what_a_loss_costs_later() -> None:
    assert cost_tokens(finding("reply"), 32_768) == 40
    assert cost_tokens(finding("everything"), 32_768) == 32_768 - 500
    assert cost_tokens(finding("since_user", kept=200), 32_768) == 32_768 - 300
    assert cost_tokens(finding("everything"), 100) == 0


@given(st.sampled_from(["reply", "since_user", "everything"]), st.integers(0, 9999), st.integers(0, 9999), st.data())
def test_a_longer_history_never_costs_less(scope: Scope, kept: int, lost: int, data: st.DataObject) -> None:
    small = data.draw(st.integers(0, 200_000))
    large = data.draw(st.integers(small, 200_000))
    found = finding(scope, kept, lost)
    assert 0 <= cost_tokens(found, small) <= cost_tokens(found, large) <= large


@given(st.text("ab<", max_size=60), st.text("ab<", max_size=60))
def test_no_pair_of_prompts_loses_more_than_it_has(before: str, after: str) -> None:
    for found in judge_step(step(f"{SYSTEM}{USER}{before}", f"{SYSTEM}{USER}{after}", Spoken("content", "abab"))):
        assert 0 <= found.kept_tokens <= len(SYSTEM + USER + after)
        assert found.lost_tokens > 0
