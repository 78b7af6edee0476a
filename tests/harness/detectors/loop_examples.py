"""Dispatches that go round in circles, and some that only look like it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from harness.detectors.base import Case
from tests.harness.agent.agent_world import calling, failing
from tests.harness.detectors.limit_examples import died, good, unreadable_once
from tests.harness.detectors.played import EDIT, READ, SUBMIT, TEST, Example, act, played, say

BAD = "malformed_tool_call"
OFF = {"loop": {"guard": "off"}}
MISSING = ("read", {"path": "none.py"})
OTHER = ("read", {"path": "util.py"})


def again(place: Path, times: int, call: tuple[str, object] = READ) -> Case:
    return played(place, *[act(call)] * times, act(EDIT), act(SUBMIT), setting=OFF)


def guarded(place: Path) -> Case:
    """The loop guard ends it at the fourth."""
    return played(place, act(READ), verified="fail")


def other_order(place: Path) -> Case:
    """The same arguments with their keys in another order."""
    first = ("edit", '{"path": "app.py", "old": "nothing", "new": "x"}')
    second = ("edit", '{"new": "x", "old": "nothing", "path": "app.py"}')
    return played(place, act(first), act(second), act(first), act(EDIT), act(SUBMIT), setting=OFF)


def changing_result(place: Path) -> Case:
    """The same call, whose result is another one each time."""
    command = ("bash", {"command": "echo x >> docs.log; wc -l < docs.log"})
    return played(place, *[act(command)] * 5, act(SUBMIT), setting=OFF)


def in_turns(place: Path, calls: int) -> Case:
    return played(place, *([act(READ), act(OTHER)] * calls)[:calls], act(EDIT), act(SUBMIT), setting=OFF)


def often(place: Path, times: int) -> Case:
    """One call again and again, others between them."""
    others = [act(("read", {"path": "app.py", "offset": n})) for n in range(1, 6)]
    answers = [answer for pair in zip([act(OTHER)] * times, others, strict=False) for answer in pair]
    return played(place, *answers, act(EDIT), act(SUBMIT), setting=OFF)


def testing_often(place: Path) -> Case:
    """Tests after each edit are no loop."""
    edits = [("write", {"path": "util.py", "content": f"LIMIT = {n}\n"}) for n in range(5)]
    answers = [act(call) for edit in edits for call in (edit, TEST)]
    return played(place, *answers, act(EDIT), act(TEST), act(SUBMIT), setting=OFF)


def malformed(place: Path, *calls: tuple[str, object], times: int = 1, **answer: Any) -> Case:
    return played(
        place, *[calling(*calls, **answer)] * times, act(EDIT), act(SUBMIT), setting={"calls": {"max_format_errors": 9}}
    )


def in_text(place: Path, *, rescue: bool) -> Case:
    text = '<tool_call>\n{"name": "read", "arguments": {"path": "app.py"}}\n</tool_call>'
    return played(place, say(text), act(EDIT), act(SUBMIT), setting={"calls": {"rescue": rescue}})


def unreadable(place: Path) -> Case:
    parser = failing("EngineFault", "HTTP 500: Failed to parse input at pos 12: <tool_call>")
    return played(place, parser, verified="fail")


def compacting(place: Path, *, edits: bool) -> Case:
    full: dict[str, Any] = {"prompt_tokens": 900}
    reads = [act(("read", {"path": "app.py", "offset": n}), **full) for n in range(1, 7)]
    writes = [act(("write", {"path": "util.py", "content": f"LIMIT = {n}\n"}), **full) for n in range(6)]
    return played(
        place,
        *(writes if edits else reads),
        act(EDIT),
        act(SUBMIT),
        context_tokens=1000,
        setting={"history": {"policy": "drop_oldest", "at_share": 0.5, "keep_turns": 1}},
    )


def talking_on(place: Path, times: int) -> Case:
    """An agent of another make that is asked on when it calls nothing: the loop here ends at such a turn."""
    case = played(place, *[act(READ)] * times, act(EDIT), act(SUBMIT), setting=OFF, actor="external")
    talk = tuple(msgspec.structs.replace(turn, calls=(), content="Let me think.") for turn in case.turns[:times])
    return msgspec.structs.replace(case, turns=(*talk, *case.turns[times:]))


EXAMPLES = (
    Example("tool_loop_same", "five times", lambda place: again(place, 5), certain=True),
    Example("tool_loop_same", "the guard ended it", guarded, certain=True),
    Example("tool_loop_same", "an error three times", lambda place: again(place, 3, MISSING), certain=True),
    Example("tool_loop_same", "keys in another order", other_order, certain=True),
    Example("tool_loop_same", "three times", lambda place: again(place, 3), fires=False),
    Example("tool_loop_same", "an error twice", lambda place: again(place, 2, MISSING), fires=False),
    Example("tool_loop_same", "another result each time", changing_result, fires=False),
    Example("tool_loop_alternating", "six calls", lambda place: in_turns(place, 6), certain=True),
    Example("tool_loop_alternating", "five calls", lambda place: in_turns(place, 5), fires=False),
    Example("tool_loop_alternating", "the same call", lambda place: again(place, 7), fires=False),
    Example("tool_loop_window", "five among ten", lambda place: often(place, 5), certain=False),
    Example("tool_loop_window", "four among ten", lambda place: often(place, 4), fires=False),
    Example("tool_loop_window", "tests after edits", testing_often, fires=False),
    Example("monologue", "three turns of talk", lambda place: talking_on(place, 3), certain=True),
    Example("monologue", "two turns of talk", lambda place: talking_on(place, 2), fires=False),
    Example("compaction_loop", "only reading", lambda place: compacting(place, edits=False), certain=True),
    Example("compaction_loop", "with edits", lambda place: compacting(place, edits=True), fires=False),
    Example(
        f"{BAD}.unparsable_args", "no JSON", lambda place: malformed(place, ("read", "{path: app.py")), certain=True
    ),
    Example(f"{BAD}.unparsable_args", "a good dispatch", good, fires=False),
    Example(f"{BAD}.schema_violation", "a number", lambda place: malformed(place, ("read", {"path": 3})), certain=True),
    Example(f"{BAD}.schema_violation", "a failed read", lambda place: again(place, 1, MISSING), fires=False),
    Example(f"{BAD}.unknown_tool", "no such tool", lambda place: malformed(place, ("reed", {})), certain=True),
    Example(f"{BAD}.unknown_tool", "a good dispatch", good, fires=False),
    Example(
        f"{BAD}.truncated_call",
        "cut in a call",
        lambda place: malformed(place, ("write", '{"path": "util.py", "content": "LIM'), stop_reason="length"),
        certain=True,
    ),
    Example(f"{BAD}.truncated_call", "no JSON", lambda place: malformed(place, ("read", "{")), fires=False),
    Example(f"{BAD}.text_encoded_call", "in the text", lambda place: in_text(place, rescue=False), certain=True),
    Example(f"{BAD}.text_encoded_call", "taken", lambda place: in_text(place, rescue=True), fires=False),
    Example(f"{BAD}.server_parse_error", "once", unreadable_once, certain=True),
    Example(f"{BAD}.server_parse_error", "to the end", unreadable, certain=True),
    Example(f"{BAD}.server_parse_error", "another fault", died, fires=False),
)
