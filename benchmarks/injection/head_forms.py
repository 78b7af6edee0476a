"""Causes in the head of a prompt: values that move, git, headers, reminders, memories, tools. Pure.

Every form draws where in the system prompt its line stands, at which turn it changes, and what it says.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Final

import msgspec

from backends.base import JsonObject
from benchmarks.injection.base_sessions import Talk, edited, in_system, talk, with_messages
from benchmarks.injection.case import AFTERMATH, Form, Made, Size, Wanted, one_of
from harness.session_maker import text
from harness.sessions import Turn

__all__ = ["HEAD_FORMS", "injected"]

_PLACES: Final = ("start", "second", "middle", "end")
Lines = Callable[[Random, int], str]
"""The line that stands in the system prompt at a turn; it draws from a generator that starts anew for each turn."""


def injected(
    clean: Talk, turns: Talk, changed: Sequence[int], must: Wanted, more: frozenset[str] = frozenset()
) -> Made:
    """A session in which the text changed at these turns, beside the clean one."""
    return Made(
        tuple(turns), dict.fromkeys(changed, must), dict.fromkeys(changed, AFTERMATH | more), repaired=tuple(clean)
    )


def _line(
    code: str, lines: Callable[[Random, int], list[str]], *, each: bool, more: str = ""
) -> Callable[[Random, Size], Made]:
    """A line in the system prompt: `lines` gives what it says at each of `count` turns."""

    def build(rng: Random, size: Size) -> Made:
        clean = talk(rng, size)
        said = lines(rng, len(clean))
        place = rng.choice(_PLACES)
        at = list(range(1, len(clean))) if each else [rng.randrange(1, len(clean))]
        turns = edited(clean, lambda n, turn: in_system(turn, said[n if each else int(n >= at[0])], place))
        still = edited(clean, lambda _, turn: in_system(turn, said[0], place))
        return injected(still, turns, at, one_of(code, *more.split()))

    return build


def _clock(rng: Random, count: int) -> list[str]:
    now = datetime(2026, 5, 4, 9, 12, 31) + timedelta(minutes=rng.randrange(600))
    form = rng.choice(
        ("Current time: {:%H:%M:%S}", "It is now {:%Y-%m-%d %H:%M:%S} (UTC).", "<env>time={:%Y-%m-%dT%H:%M:%SZ}</env>")
    )
    steps = [now := now + timedelta(seconds=5 + rng.randrange(90)) for _ in range(count)]
    return [form.format(step) for step in steps]


def _date(rng: Random, count: int) -> list[str]:
    day = datetime(2026, 5, 4) + timedelta(days=rng.randrange(300))
    form = rng.choice(
        ("Today's date: {:%Y-%m-%d}", "Current date: {:%A, %B %d, %Y}", "Today is {:%d %B %Y}.", "date={:%m/%d/%Y}")
    )
    return [form.format(day + timedelta(days=n)) for n in range(count)]


def _cwd(rng: Random, count: int) -> list[str]:
    user = rng.choice(text.USERS)
    form = rng.choice(("Working directory: {}", "cwd: {}", "You are in {} on Linux."))
    folders = ["src/app", "src/app/tests", "src/app/docs", "src/app/scripts", "src", "src/lib"]
    rng.shuffle(folders)
    return [form.format(f"/home/{user}/{folders[n % len(folders)]}") for n in range(count)]


def _share(rng: Random, count: int) -> list[str]:
    form = rng.choice(("Memory in use: {}%", "Disk: {}.{} GB free", "System load {}%, memory {}%"))
    start = rng.randrange(20, 60)
    return [form.format(start + 3 * n, start - n) for n in range(count)]


def _counter(rng: Random, count: int) -> list[str]:
    form = rng.choice(("Requests so far: {}", "Message number {} of this session.", "[turn {}]"))
    start = rng.randrange(1, 90)
    return [form.format(start + n) for n in range(count)]


def _git_block(rng: Random, count: int) -> list[str]:
    branch, noun = rng.choice(("main", "fix/rounding", "dev")), rng.choice(("cart", "ledger", "queue"))
    files = [f" M {noun}/{name}.py" for name in ("parse", "store", "views", "rates", "prices", "cli")]
    head = f"gitStatus: This is the git status at the start of the conversation.\nCurrent branch: {branch}\n\nStatus:"
    commits = "Recent commits:\n3fa91c0 Fix the rounding of totals\n77b01de Add a test"
    return [f"{head}\n" + "\n".join(files[: n + 1]) + f"\n\n{commits}" for n in range(count)]


def _git_branch(rng: Random, count: int) -> list[str]:
    names = ["main", "fix/rounding", "feature/export", "dev", "release-2", "wip"]
    rng.shuffle(names)
    form = rng.choice(
        ("Current branch: {}", "On branch {}\nnothing to commit, working tree clean", "## {}...origin/main")
    )
    return [form.format(names[n % len(names)]) for n in range(count)]


def _git_commits(rng: Random, count: int) -> list[str]:
    commits = [
        f"{rng.randrange(16**7):07x} {what}"
        for what in ("Fix totals", "Add a test", "Rename store", "Tidy imports", "Bump version", "Drop py38")
    ]
    return ["Recent commits:\n" + "\n".join(reversed(commits[: n + 2])) for n in range(count)]


def _billing(rng: Random, count: int) -> list[str]:
    version = f"2.1.{rng.randrange(20, 90)}"
    return [
        f"x-anthropic-billing-header: cc_version={version}.{rng.randrange(16**3):03x}; cc_entrypoint=cli; "
        f"cch={rng.randrange(16**5):05x};"
        for _ in range(count)
    ]


def _memories(rng: Random, count: int) -> list[str]:
    known = [
        "The user prefers tabs.",
        "Deploys happen on Thursdays.",
        "Ask before touching migrations.",
        "The staging database is read-only.",
        "Tests run with xdist.",
        "Use British spelling.",
    ]
    rng.shuffle(known)
    title = rng.choice(("## Memories", "<memory>", "# Remembered from earlier sessions"))
    return [f"{title}\n" + "\n".join(f"- {one}" for one in known[: n + 1]) for n in range(count)]


def _instructions(rng: Random, count: int) -> list[str]:
    extra = [
        "Answer in one paragraph.",
        "Prefer small commits and explain each of them to the reader.",
        "Never call two tools at once; wait for the first.",
    ]
    rng.shuffle(extra)
    return [extra[min(n, 2)] for n in range(count)]


def _reminder(kind: str) -> Callable[[Random, Size], Made]:
    """A reminder that goes with the last message of each request, or stands behind it, and never stays."""

    def build(rng: Random, size: Size) -> Made:
        clean = talk(rng, size)
        left = rng.randrange(60_000, 150_000)
        words = rng.choice(
            (
                "<system-reminder>Token usage: {used}/200000; {left} tokens left.</system-reminder>",
                "<system-reminder>\nThe todo list is empty. Do not mention this to the user. "
                "({left} tokens remaining)\n</system-reminder>",
                "[context left until auto-compact: {share}%, {left} tokens remaining]",
            )
        )

        def edit(turn: Turn, kept: range) -> Turn:
            messages: list[JsonObject] = []
            ends = {len(clean[number].messages) - 1: number for number in kept}
            for index, message in enumerate(turn.messages):
                messages.append(message)
                if index in ends:
                    now = left - 1717 * ends[index]
                    said = words.format(used=200_000 - now, left=now, share=now // 2000)
                    if kind == "own":
                        messages.append({"role": "user", "content": said})
                    else:
                        messages[-1] = {**message, "content": f"{message['content']}\n\n{said}"}
            return with_messages(turn, messages)

        turns = edited(clean, lambda n, turn: edit(turn, range(n, n + 1)))
        kept = edited(clean, lambda n, turn: edit(turn, range(n + 1)))
        return injected(kept, turns, range(1, len(clean)), one_of("P4"))

    return build


def _countdown(rng: Random, size: Size) -> Made:
    """A countdown in the first message of the user, written anew for each request."""
    clean = talk(rng, size)
    budget = rng.randrange(12, 40)

    def edit(count: int, turn: Turn) -> Turn:
        system, first, *rest = turn.messages
        said = f"You have {budget - count} turns left.\n\n{first['content']}"
        return with_messages(turn, [system, {**first, "content": said}, *rest])

    still = edited(clean, lambda _, turn: edit(0, turn))
    return injected(still, edited(clean, edit), range(1, len(clean)), one_of("P4"))


def _metadata(rng: Random, size: Size) -> Made:
    """Metadata that a gateway puts into an earlier message of the user, from one turn on."""
    clean = talk(rng, size)
    at = rng.randrange(1, len(clean))
    block = rng.choice(
        (
            'Conversation info (untrusted metadata):\n{{"message_id": "{a}", "sender": "{b}"}}\n\n',
            "[Relevant notes]\n- {b} asked for this on Tuesday\n- see ticket {a}\n\n",
        )
    ).format(a=f"{rng.randrange(16**8):08x}", b=rng.choice(text.USERS))
    behind = rng.random() < 0.4

    def put(turn: Turn) -> Turn:
        system, first, *rest = turn.messages
        said = f"{first['content']}\n\n{block}" if behind else block + first["content"]
        return with_messages(turn, [system, {**first, "content": said}, *rest])

    always = edited(clean, lambda _, turn: put(turn))
    return injected(always, [*clean[:at], *always[at:]], [at], one_of("P5"))


def _tools(kind: str) -> Callable[[Random, Size], Made]:
    """Other tools from one turn on, or another order at each."""

    def build(rng: Random, size: Size) -> Made:
        clean = talk(rng, size)
        at = rng.randrange(1, len(clean))
        order = list(clean[0].tools)
        orders = [tuple(order)]
        for _ in clean[1:]:
            order = order[1:] + order[:1]
            orders.append(tuple(order))
        late = [tool for tool in text.TOOLS if tool not in order][: 1 + rng.randrange(2)]
        place = rng.randrange(len(order) + 1)
        gone = rng.randrange(len(order))

        def changed(number: int, turn: Turn) -> Turn:
            tools = list(turn.tools)
            if kind == "shuffled":
                return msgspec.structs.replace(turn, tools=orders[number])
            if number < at:
                return turn
            if kind == "reordered":
                tools = tools[::-1]
            elif kind == "late":
                tools[place:place] = late
            elif kind == "removed":
                del tools[gone]
            elif kind == "described":
                tools[gone] = _described(tools[gone])
            else:
                tools = [_resorted(tool) for tool in tools] if kind == "keys" else tools
            return msgspec.structs.replace(turn, tools=tuple(tools))

        each = kind == "shuffled"
        turns = range(1, len(clean)) if each else [at]
        last = changed(len(clean) - 1, clean[-1]).tools
        repaired = clean if each else edited(clean, lambda _, turn: msgspec.structs.replace(turn, tools=last))
        # An order that was there before is found again only if nothing has replaced it since.
        more = frozenset({"E20"}) if each else frozenset[str]()
        return injected(repaired, edited(clean, changed), turns, one_of("P7" if kind == "keys" else "P6"), more)

    return build


def _described(tool: JsonObject) -> JsonObject:
    function = tool["function"]
    return {**tool, "function": {**function, "description": f"{function['description']} Use it sparingly."}}


def _resorted(tool: JsonObject) -> JsonObject:
    """The same schema with its keys in order of the alphabet, as some JSON writers have it."""
    return {key: _resorted(value) if isinstance(value, dict) else value for key, value in sorted(tool.items())}


HEAD_FORMS: Final = (
    Form("P1", "clock", _line("P1", _clock, each=True)),
    Form("P1", "date", _line("P1", _date, each=False)),
    Form("P1", "cwd", _line("P1", _cwd, each=False)),
    Form("P1", "share", _line("P1", _share, each=True)),
    Form("P1", "counter", _line("P1", _counter, each=True)),
    Form("P2", "status", _line("P2", _git_block, each=True)),
    Form("P2", "branch", _line("P2", _git_branch, each=False)),
    Form("P2", "commits", _line("P2", _git_commits, each=False)),
    Form("P3", "header", _line("P3", _billing, each=True)),
    Form("P4", "attached", _reminder("attached")),
    Form("P4", "own-message", _reminder("own")),
    Form("P4", "countdown", _countdown),
    Form("P5", "memories", _line("P5", _memories, each=True)),
    Form("P5", "instructions", _line("P5", _instructions, each=False)),
    Form("P5", "metadata", _metadata),
    Form("P6", "shuffled", _tools("shuffled")),
    Form("P6", "reordered", _tools("reordered")),
    Form("P6", "late", _tools("late")),
    Form("P6", "removed", _tools("removed")),
    Form("P6", "described", _tools("described")),
    Form("P7", "sorted-keys", _tools("keys")),
)
