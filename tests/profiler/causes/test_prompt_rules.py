"""Every cause of the prompt's side on the texts of real agents; and what is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from backends.base import JsonObject
from profiler.causes import causes_of
from profiler.causes.base import Case, Cause
from profiler.records import Reply
from tests.profiler.causes.agents import SOURCE, TASK, TOOLS, claude_code, history, opencode
from tests.profiler.causes.world import (
    assistant,
    call,
    case_of,
    chatml,
    harmony,
    ids_of,
    other_ids_of,
    reply_of,
    result,
    step,
    system,
    tool,
    turn,
    user,
)  # fmt: skip


def head(old: str, new: str, **given: Any) -> Case:
    """The same conversation goes on under another system prompt."""
    before, reply, more = history(old)
    return turn(before, reply, [system(new), *before[1:], reply, *more], **given)


def tools(old: tuple[JsonObject, ...], new: tuple[JsonObject, ...], **given: Any) -> Case:
    before, reply, more = history(opencode())
    return turn(before, reply, [*before, reply, *more], tools=(old, new), **given)


def reordered_keys(given: JsonObject) -> JsonObject:
    return {key: reordered_keys(value) if isinstance(value, dict) else value for key, value in sorted(given.items())}


def swapped(index: int, message: JsonObject) -> Case:
    """An earlier message comes back as another one."""
    before, reply, more = history(opencode())
    after = [*before, reply, *more]
    after[index] = message
    return turn(before, reply, after)


def prefixed(prefix: str, *, then: str = "") -> Case:
    """The newest message of the user has a prefix that later requests leave out, or have another of."""
    before = [
        system(opencode()),
        user(TASK),
        assistant("Done. All tests pass now."),
        user(prefix + "thank you\n" + SOURCE),
    ]
    reply = assistant("You are welcome.")
    after = [*before[:3], user(then + "thank you\n" + SOURCE), reply, user("one more thing")]
    return turn(before, reply, after)


def rewritten_arguments(raw: str, sent: Any, *, reparse: bool = False) -> Case:
    before, _, more = history(opencode())
    reply = assistant("I run the tests.", call("bash", sent, "call_2"))
    options: dict[str, Any] = {"reparse": reparse}
    text = f'I run the tests.\n<tool_call>\n{{"name": "bash", "arguments": {raw}}}\n</tool_call>'
    return turn(before, reply, [*before, reply, *more], raw=text, options=(options, options))


THOUGHT = "The refund is stored as a negative amount, so the rate must not be negated again. I check the export."


def thinking(*, client_keeps: bool, template_keeps: bool) -> Case:
    """A reply with reasoning, and the user's next message."""
    before = [system(opencode()), user(TASK)]
    reply = assistant("The sign is wrong in refund_3. I have fixed it and run the tests.", thought=THOUGHT)
    sent = reply if client_keeps else assistant(reply["content"])
    options: tuple[dict[str, Any], dict[str, Any]] = ({}, {"keep_reasoning": template_keeps})
    return turn(before, reply, [*before, sent, user("And the totals?")], options=options)


def marked(opening: str, closing: str) -> Case:
    """A family whose reasoning stands between marks of its own, and whose template takes it out of the history."""
    before = [system(opencode()), user(TASK)]
    answer = "The sign is wrong in refund_3. I have fixed it and run the tests."
    reply = assistant(answer, thought=THOUGHT)
    after = [*before, reply, user("And the totals?")]
    options: tuple[dict[str, Any], dict[str, Any]] = ({}, {"keep_reasoning": False})
    return turn(before, reply, after, raw=f"{opening}{THOUGHT}{closing}{answer}", options=options)


def picture(data: str | None, *, text: str = "What is wrong in this screenshot?") -> JsonObject:
    parts: list[JsonObject] = [{"type": "text", "text": text}]
    if data:
        parts.append({"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}})
    return user(parts)


def looking(old: JsonObject, new: JsonObject, **given: Any) -> Case:
    before, reply = [system(opencode()), old], assistant("The total in the last row is negative, as you say.")
    return turn(before, reply, [system(opencode()), new, reply, user("Why?")], **given)


def media(messages: Any, _: Any = ()) -> str:
    """A template with as many pad tokens for an image as its data asks for."""
    out = chatml(messages)
    parts = [p for m in messages if isinstance(m["content"], list) for p in m["content"] if "image_url" in p]
    for part in parts:
        size = len(part["image_url"]["url"])
        out = out.replace("<|image_pad|>", f"<|vision_start|>{'<|image|>' * size}", 1)
    return out


def bos(first: int, second: int) -> Case:
    before, reply, more = history(opencode())
    text, after = chatml(before), [*before, reply, *more]
    one = step(before, text, generated=reply_of(reply), token_ids=ids_of("[BOS]" * first + text))
    return case_of(one, step(after, chatml(after), token_ids=ids_of("[BOS]" * second + chatml(after)), request_id=2))


def retokenised() -> Case:
    before, reply, more = history(opencode())
    return turn(before, reply, [*before, reply, *more], raw_ids=other_ids_of(reply_of(reply)))


def late_system(options: dict[str, Any]) -> Case:
    """Claude Code adds a system message after every tool result."""
    before, reply, more = history(opencode())
    note = system("<total_tokens>187655 tokens left</total_tokens>")
    return turn(before, reply, [*before, reply, *more, note], options=(options, options))


def moved_reminder() -> Case:
    """Opencode #23595: the reminder moves from the last prompt of the user to the next one."""
    reminder = (
        "\n<system-reminder>\nYour operational mode has changed from plan to build.\n"
        "You are no longer in read-only mode.\n</system-reminder>"
    )
    before = [system(opencode()), user("make a plan"), assistant("Here is a plan."), user("add one comment" + reminder)]
    reply = assistant("I added it.", call("edit", '{"path": "a.py", "old": "x", "new": "y"}'))
    after = [*before[:3], user("add one comment"), reply, result("done"), user("thank you" + reminder)]
    return turn(before, reply, after)


def long_history(rounds: int = 6) -> list[JsonObject]:
    messages = [system(opencode()), user(TASK)]
    for n in range(rounds):
        messages.append(
            assistant(f"Step {n}: I look at part {n}.", call("read", f'{{"path": "part_{n}.py"}}', f"c{n}"))
        )
        messages.append(result(f"# part {n}\n" + SOURCE.replace("refund", f"part_{n}"), f"c{n}"))
    return messages


def edited(edit: Callable[[list[JsonObject]], list[JsonObject]]) -> Case:
    before = long_history()
    reply = assistant("Now I know enough.", call("edit", '{"path": "part_3.py", "old": "a", "new": "b"}', "c9"))
    return turn(before, reply, [*edit(before), reply, result("edited", "c9")])


def cleared(messages: list[JsonObject]) -> list[JsonObject]:
    return [
        {**m, "content": "[Old tool result content cleared]"} if m["role"] == "tool" and i < 8 else m
        for i, m in enumerate(messages)
    ]


SUMMARY = user(
    "This session is being continued from a previous conversation. Summary: the totals of refunds are wrong."
)

HEAD = "messages[0].content"

CASES: dict[str, tuple[Callable[[], Case], str, str]] = {
    "opencode's date": (lambda: head(opencode(), opencode("Sat Nov 21 2026")), "P1", HEAD),
    "opencode's directory": (lambda: head(opencode(), opencode(cwd="/srv/ledger/tests")), "P1", HEAD),
    "pi's clock": (
        lambda: head(
            f"{opencode()}Current date and time: Friday, November 20, 2026 at 09:14:31 AM CET",
            f"{opencode()}Current date and time: Friday, November 20, 2026 at 09:15:02 AM CET",
        ), "P1", HEAD,
    ),
    "a share of memory": (
        lambda: head(f"{opencode()}Memory: 43% (1,320/3,000 chars)", f"{opencode()}Memory: 51% (1,544/3,000 chars)"),
        "P1", HEAD,
    ),
    "a session id": (lambda: head(f"Session: 7f3a9c2e\n{opencode()}", f"Session: b81d04aa\n{opencode()}"), "P1", HEAD),
    "a date that the template writes": (
        lambda: head(opencode(), opencode(), options=({"date": "20 Nov 2026"}, {"date": "21 Nov 2026"})),
        "P1", "prompt",
    ),
    "a date in a tool's description": (
        lambda: tools(
            (*TOOLS, tool("web", "Search the web. Today's date is 2026-11-20, use it in queries.", query="string")),
            (*TOOLS, tool("web", "Search the web. Today's date is 2026-11-21, use it in queries.", query="string")),
        ), "P1", "tools[3]",
    ),
    "claude's git status": (
        lambda: head(claude_code(), claude_code(status=" M ledger/export.py\n?? notes.md")), "P2", HEAD,
    ),
    "a new commit": (
        lambda: head(claude_code(), claude_code(commits="9f8e7d6 Round refunds once\na1b2c3d Fix rounding")),
        "P2", HEAD,
    ),
    "another branch": (lambda: head(claude_code(), claude_code(branch="fix/refunds")), "P2", HEAD),
    "claude's billing header": (lambda: head(claude_code("fa690"), claude_code("1c8b4")), "P3", HEAD),
    "a billing header that is new": (lambda: head(claude_code(), claude_code("1c8b4")), "P3", HEAD),
    "opencode's reminder": (moved_reminder, "P4", "messages[3].content"),
    "a countdown of tokens": (
        lambda: prefixed(
            "<system-reminder>Token usage: 12345/200000; 187655 remaining</system-reminder>\n",
            then="<system-reminder>Token usage: 14881/200000; 185119 remaining</system-reminder>\n",
        ), "P4", "messages[3].content",
    ),
    "openclaw's metadata": (
        lambda: prefixed(
            'Conversation info (untrusted metadata):\n```json\n{"message_id": "om_91", "sender": "lena"}\n```\n\n'
        ), "P5", "messages[3].content",
    ),
    "openclaw's time stamp": (
        lambda: prefixed("[Fri 2026-11-20 18:04 GMT+1] ", then="[Fri 2026-11-20 18:06 GMT+1] "),
        "P5", "messages[3].content",
    ),
    "a memory in the system prompt": (
        lambda: head(f"{opencode()}## MEMORY.md\n", f"{opencode()}## MEMORY.md\nLena prefers tabs.\nAsk her often.\n"),
        "P5", HEAD,
    ),
    "a memory as a message": (
        lambda: edited(lambda m: [m[0], user("Relevant memories:\nLena prefers tabs over spaces."), *m[1:]]),
        "P5", "messages[1]",
    ),
    "tools in another order": (lambda: tools(TOOLS, (TOOLS[1], TOOLS[0], TOOLS[2])), "P6", "tools[0]"),
    "a tool server that came late": (
        lambda: tools(TOOLS, (*TOOLS, tool("mcp__web__open", url="string"), tool("mcp__web__click", at="string"))),
        "P6", "tools[3]",
    ),
    "a tool that went away": (lambda: tools(TOOLS, TOOLS[:2]), "P6", "tools[2]"),
    "the first tools": (lambda: tools((), TOOLS), "P6", "tools[0]"),
    "another description": (
        lambda: tools(TOOLS, (TOOLS[0], tool("bash", "Run a command. Channel: telegram.", command="string"), TOOLS[2])),
        "P6", "tools[1]",
    ),
    "an indented schema": (
        lambda: tools(TOOLS, (*TOOLS[:2], tool("edit", path="string", old="string")), options=({"indent": True},) * 2),
        "P6", "tools[2]",
    ),
    "keys in another order": (lambda: tools(TOOLS, tuple(map(reordered_keys, TOOLS))), "P7", "tools[0]"),
    "arguments with other spaces": (
        lambda: rewritten_arguments('{"command":"pytest -q","timeout":60}', '{"command": "pytest -q", "timeout": 60}'),
        "P8", "messages[4].tool_calls[0].function.arguments",
    ),
    "arguments in another order": (
        lambda: rewritten_arguments('{"timeout": 9, "command": "pytest -q"}', '{"command": "pytest -q", "timeout": 9}'),
        "P8", "messages[4].tool_calls[0].function.arguments",
    ),
    "arguments with escapes": (
        lambda: rewritten_arguments('{"command": "echo Grüße, Köln"}', json.dumps({"command": "echo Grüße, Köln"})),
        "P8", "messages[4].tool_calls[0].function.arguments",
    ),
    "arguments that the template writes": (
        lambda: rewritten_arguments('{"command":"pytest -q"}', '{"command":"pytest -q"}', reparse=True),
        "P8", "messages[4].tool_calls[0].function.arguments",
    ),
    "arguments as an object": (
        lambda: rewritten_arguments('{"command":"pytest -q"}', {"command": "pytest -q"}),
        "P8", "messages[4].tool_calls[0].function.arguments",
    ),
    "reasoning that the client drops": (
        lambda: thinking(client_keeps=False, template_keeps=True), "P9", "messages[2].reasoning_content",
    ),
    "reasoning that the template drops": (
        lambda: thinking(client_keeps=True, template_keeps=False), "P9", "messages[2].reasoning_content",
    ),
    "harmony's analysis": (
        lambda: marked("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
        "P9", "messages[2].reasoning_content",
    ),
    "Magistral's reasoning": (lambda: marked("[THINK]", "[/THINK]"), "P9", "messages[2].reasoning_content"),
    "Gemma's reasoning": (lambda: marked("<|channel>thought\n", "\n<channel|>"), "P9", "messages[2].reasoning_content"),
    "Seed's reasoning": (lambda: marked("<seed:think>", "</seed:think>"), "P9", "messages[2].reasoning_content"),
    "an empty block of reasoning": (
        lambda: head(opencode(), opencode(), options=({"empty_think": True}, {"empty_think": True})),
        "P9", "messages[4].reasoning_content",
    ),
    "other tokens": (retokenised, "P10", "messages[4]"),
    "a compaction": (lambda: edited(lambda m: [m[0], SUMMARY, *m[-2:]]), "P11", "messages[1:12]"),
    "a compaction of everything": (lambda: edited(lambda m: [m[0], SUMMARY]), "P11", "messages[1:14]"),
    "tool results that were cleared": (lambda: edited(cleared), "P11", "messages[3].content"),
    "a sliding window": (lambda: edited(lambda m: [m[0], *m[4:]]), "P11", "messages[1:4]"),
    "messages taken out": (lambda: edited(lambda m: [*m[:4], *m[6:]]), "P11", "messages[4:6]"),
    "an image encoded again": (
        lambda: looking(picture("iVBORw0KGgoAAAANSU" * 2), picture("iVBORw0KGgoAAAANSUhEUgAA"), template=media),
        "P12", "messages[1].content[1]",
    ),
    "an image left out": (
        lambda: looking(picture("iVBORw0KGgo"), picture(None), template=media), "P12", "messages[1].content[1]",
    ),
    "two BOS": (lambda: bos(2, 1), "P13", "prompt"),
    "one BOS more": (lambda: bos(0, 1), "P13", "prompt"),
    "a system message moved to the front": (lambda: late_system({"hoist": True}), "P14", "prompt"),
}  # fmt: skip


def names(found: tuple[Cause, ...]) -> list[str]:
    return [cause.code for cause in found]


@pytest.mark.parametrize(("made", "code", "path"), CASES.values(), ids=CASES)
def test_every_cause_is_found_where_it_is(made: Callable[[], Case], code: str, path: str) -> None:
    case = made()
    found = causes_of(case)
    assert names(found) == [code]
    assert found[0].proofs[0].path == path
    assert found[0].token == case.step.record.verdict.lcp_tokens
    assert found[0].confidence == ("inferred" if code == "P5" else "observed")


@pytest.mark.parametrize(
    "parameters",
    [
        {"temperature": 0.2}, {"seed": 7}, {"grammar": 'root ::= "yes"'}, {"stop": ["\n\n"]}, {"max_tokens": 9},
        {"logit_bias": {"15": -1}}, {"top_p": 0.9}, {"response_format": {"type": "json_object"}},
    ],
    ids=lambda given: next(iter(given)),
)  # fmt: skip
def test_what_does_not_reach_the_prompt_is_never_blamed(parameters: dict[str, Any]) -> None:
    """Beside a clock, it is the clock alone; by itself it is nothing at all."""
    before, reply, more = history(opencode())
    one = step(before, chatml(before), generated=reply_of(reply))
    same, moved = [*before, reply, *more], [system(opencode("Sat Nov 21 2026")), *before[1:], reply, *more]
    quiet = case_of(one, step(same, chatml(same), parameters=parameters, request_id=2))
    assert quiet.changes == ()
    assert causes_of(quiet) == ()
    clock = case_of(one, step(moved, chatml(moved), parameters=parameters, request_id=2))
    assert names(causes_of(clock)) == ["P1"]


def test_a_history_that_only_grows_has_no_change() -> None:
    before, reply, more = history(claude_code("fa690"))
    assert turn(before, reply, [*before, reply, *more]).changes == ()
    assert turn(before, reply, [*before, reply, *more, user("go on")], tools=(TOOLS, TOOLS)).changes == ()


def test_reasoning_that_stays_is_no_change() -> None:
    assert thinking(client_keeps=True, template_keeps=True).changes == ()


@pytest.mark.parametrize(
    "hidden",
    [
        lambda m: {**m, "tool_call_id": "another"} if m["role"] == "tool" else m,
        lambda m: {**m, "name": "lena"} if m["role"] == "user" else m,
        lambda m: {**m, "cache_control": {"type": "ephemeral"}},
        lambda m: dict(reversed(m.items())),
        lambda m: {**m, "content": [{"type": "text", "text": m["content"]}]},
    ],
    ids=["ids", "name", "cache_control", "key order", "parts"],
)
def test_what_a_template_does_not_write_is_never_blamed(hidden: Callable[[JsonObject], JsonObject]) -> None:
    """Requests differ, and the prompt does not: nothing is lost. Beside a clock, it is the clock alone."""
    before, reply, more = history(opencode())
    assert turn(before, reply, [*map(hidden, before), reply, *more]).changes == ()
    moved = [*map(hidden, [system(opencode("Sat Nov 21 2026")), *before[1:]]), reply, *more]
    assert names(causes_of(turn(before, reply, moved))) == ["P1"]


def test_a_schema_that_the_template_writes_sorted_is_never_blamed() -> None:
    before, reply, more = history(opencode())

    def ordered(messages: Any, given: Any = ()) -> str:
        return chatml(messages, [reordered_keys(one) for one in given])

    other = tuple(map(reordered_keys, TOOLS))
    assert turn(before, reply, [*before, reply, *more], tools=(TOOLS, other), template=ordered).changes == ()


@pytest.mark.parametrize(
    ("made", "code"),
    [
        # A user who speaks of tokens left, and a commit hash in a compaction, are no reminder and no git status.
        (lambda: edited(lambda m: [m[0], user("Summary: a1b2c3d Fix was reverted. 900 tokens left."), *m[-2:]]), "P11"),
        (lambda: swapped(1, user("Find out why the refunds are wrong.")), "P5"),
        (lambda: swapped(3, result("20261120 totals\n20261121 totals")), "P11"),
        (lambda: swapped(2, assistant("I read something else.", call("read", '{"path": "other.py"}'))), "P11"),
        (lambda: head(opencode(), opencode() + "Answer in German.\n"), "P5"),
        (lambda: head("You are a helpful agent.", "You are a pirate. Answer in rhymes, always."), "P5"),
    ],
    ids=["compaction", "edit", "digits", "reply", "instructions", "persona"],
)  # fmt: skip
def test_a_likeness_is_not_enough(made: Callable[[], Case], code: str) -> None:
    assert names(causes_of(made())) == [code]


def test_a_request_that_is_asked_again_lost_nothing_but_the_reply() -> None:
    before, reply, _ = history(opencode())
    found = causes_of(turn(before, reply, before))
    assert names(found) == ["P11"]
    assert "asked again" in found[0].text
    assert found[0].shrunk_tokens == pytest.approx(len(ids_of(reply_of(reply))), abs=2)


def test_a_fork_that_goes_back_is_told() -> None:
    before = long_history()
    reply = assistant("Now I know enough.")
    found = causes_of(turn(before, reply, [*before[:6], user("Stop. Look at part 7 instead.")]))
    assert names(found) == ["P11"]


def test_what_no_rule_explains_is_shown() -> None:
    case = swapped(3, result(SOURCE))
    assert case.changes == ()
    strange = head(opencode(), opencode(), options=({}, {"open_think": True}))
    assert strange.changes == ()


def test_harmony_drops_the_analysis_of_a_finished_turn() -> None:
    """By the template, of a turn before the last reply: both requests say the same."""
    before = [
        system(opencode()), user(TASK), assistant("Reading.", thought=THOUGHT), assistant("Fixed.", thought=THOUGHT),
    ]  # fmt: skip
    raw = "<|channel|>final<|message|>Anything else?"
    after = [*before, assistant("Anything else?"), user("No.")]
    found = causes_of(turn(before, assistant("Anything else?"), after, template=harmony, raw=raw))
    assert names(found) == ["P9"]
    assert "template" in found[0].text


def test_spaces_that_are_trimmed_are_told() -> None:
    before, _, more = history(opencode())
    sent = assistant("I run the tests.", call("bash", '{"command": "pytest -q"}', "call_2"))
    raw = 'I run the tests.\n\n\n<tool_call>\n{"name": "bash", "arguments": {"command": "pytest -q"}}\n</tool_call>'
    found = causes_of(turn(before, sent, [*before, sent, *more], raw=raw))
    assert names(found) == ["P14"]
    assert found[0].confidence == "inferred"
    assert "spaces" in found[0].text


def test_a_template_that_writes_something_else_is_told() -> None:
    before, reply, more = history(opencode())

    def noisy(messages: Any, _: Any = (), note: str = "") -> str:
        return chatml(messages).replace("<|im_start|>user\nThe totals", f"<|im_start|>user\n{note}The totals")

    after = [*before, reply, *more]
    found = causes_of(turn(before, reply, after, template=noisy, options=({}, {"note": "(via gateway) "})))
    assert names(found) == ["P14"]
    assert found[0].confidence == "inferred"


def test_a_reminder_that_is_a_message_of_its_own_and_moves() -> None:
    """The same words stand behind the newest reply in each request."""
    before, reply, more = history(opencode())
    reminder = user("<system-reminder>\nThe to-do list is empty. Do not mention this to the user.\n</system-reminder>")
    found = causes_of(turn([*before, reminder], reply, [*before, reply, *more, reminder]))
    assert names(found) == ["P4"]
    assert found[0].proofs[0].path == "messages[4]"


def test_messages_with_reasoning_that_were_taken_out_are_no_stripped_reasoning() -> None:
    before = [system(opencode()), assistant("Reading.", thought=THOUGHT), *history(opencode())[0][1:]]
    reply = assistant("Done.")
    found = causes_of(turn(before, reply, [before[0], *before[2:], reply, user("go on")]))
    assert names(found) == ["P11"]


def test_a_reply_that_a_replay_let_the_engine_make_up_is_nobodys_fault() -> None:
    before, reply, more = history(opencode())
    made_up = "Something else entirely, which no recording ever held, and at some length."
    one = step(before, chatml(before), forcing="length", generated_ids=ids_of(made_up))
    one = msgspec.structs.replace(
        one, record=msgspec.structs.replace(one.record, reply=Reply(text={"content": made_up}))
    )
    after = [*before, reply, *more]
    found = causes_of(case_of(one, step(after, chatml(after), request_id=2)))
    assert [(cause.code, cause.confidence) for cause in found] == [("P0", "unknown")]
    assert "replay" in found[0].text
