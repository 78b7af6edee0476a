"""Flips: at recorded tool-call positions, where the greedy call of a quant differs from its reference's. Pure but for
`ask`, which sends requests.

A position is a request with a whole history, and the call that was recorded after it. Every candidate gets the same
requests, so the calls are paired; accuracy hides what changes in both ways. A call is right if it is the recorded one,
which for recordings of a model is no more than what that model did; the scripted agents of tasks call what is right.
Of several calls in one reply the first one counts.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from backends.base import Engine, EngineDied, JsonObject, Request
from harness.agent.calls import Said, read_calls, said_by
from harness.agent.loop import Job, run_agent
from harness.agent.model import Answer, NameCall, ScriptModel
from harness.personas import find_persona
from harness.quant.base import Flips
from harness.quant.steps import GreedyCall
from harness.sandbox.base import Sandbox
from harness.sessions import Session
from harness.settings import Setting
from harness.skills import skill_text
from harness.tasks.registry import instruction, materialise, trajectory
from harness.tools.toolset import make_toolset
from harness.workspace import claim, copy_tree
from profiler.calibration import GONE
from profiler.measure import Clock, measure
from profiler.records import Reply, ToolCall

__all__ = ["Position", "ask", "flips_of", "positions_of_sessions", "positions_of_tasks", "spread"]

REPLY_TOKENS: Final = 256
"""Enough for a call; a damaged quant may never end its reply."""
GREEDY: Final[JsonObject] = {"temperature": 0.0}


class Position(msgspec.Struct, frozen=True):
    """A request that was answered by a tool call, and that call."""

    name: str
    request: Request
    recorded: GreedyCall


def positions_of_tasks(
    tasks: Sequence[str], seed: int, setting: Setting, sandbox: Sandbox, clock: Clock
) -> tuple[Position, ...]:
    """The calls of the scripted agents that solve tasks, each with the request that a model would have had.

    The agents work as they do without an engine: their tools really run.

    Raises:
        TaskError, SettingError: a task, its scope, the persona or the skills cannot be had.
        SandboxError: a command could not be confined.
    """
    return tuple(position for task in tasks for position in _of_task(task, seed, setting, sandbox, clock))


def positions_of_sessions(sessions: Iterable[Session]) -> tuple[Position, ...]:
    """The turns of recorded sessions whose reply calls a tool."""
    found: list[Position] = []
    for session in sessions:
        for number, turn in enumerate(session.turns):
            calls = turn.reply.get("tool_calls") or ()
            if not calls:
                continue
            function = calls[0]["function"]
            recorded = _checked(function["name"], function["arguments"], turn.tools)
            request = Request(turn.messages, turn.tools, parameters=turn.parameters)
            found.append(Position(f"{session.name} {number}", _greedy(request), recorded))
    return tuple(found)


def spread(positions: Sequence[Position], most: int) -> tuple[Position, ...]:
    """At most so many positions, taken evenly from all."""
    if len(positions) <= most:
        return tuple(positions)
    return tuple(positions[number * len(positions) // most] for number in range(most))


def ask(
    engine: Engine,
    positions: Sequence[Position],
    *,
    clock: Clock | None = None,
    on_asked: Callable[[int], None] = lambda _: None,
) -> tuple[GreedyCall | None, ...]:
    """What an engine calls at each position; `None` where the request failed.

    Raises:
        EngineDied: the engine is gone.
    """
    found: list[GreedyCall | None] = []
    for number, position in enumerate(positions, 1):
        measured = measure(engine, position.request, clock)
        if measured.error is not None and measured.error.kind in GONE:
            raise EngineDied(f"the engine is gone: {measured.error.message}")
        found.append(None if measured.error is not None else greedy_call(measured.reply, position.request.tools))
        on_asked(number)
    return tuple(found)


def greedy_call(reply: Reply, tools: Sequence[JsonObject]) -> GreedyCall:
    """The first call of a reply, or that it has none. One that stands in the text counts, as a call with a fault."""
    reading = read_calls(said_by(reply, tools), tools, rescue=False)
    if not reading.calls:
        return GreedyCall(None)
    call = reading.calls[0]
    return GreedyCall(call.name, _written(call.arguments, call.written), call.fault)


def flips_of(
    recorded: Sequence[GreedyCall],
    reference: Sequence[GreedyCall | None],
    candidate: Sequence[GreedyCall | None],
) -> Flips | None:
    """The differences at the positions that both answered; `None` if there are none.

    A changed call differs in its tool, else in its arguments; `validity` counts those of which one alone could be run,
    whatever else changed.
    """
    both = [
        (said, mine, theirs)
        for said, mine, theirs in zip(recorded, reference, candidate, strict=True)
        if mine is not None and theirs is not None
    ]
    if not both:
        return None
    return Flips(
        positions=len(both),
        changed=sum(mine != theirs for _, mine, theirs in both),
        tool=sum(mine.name != theirs.name for _, mine, theirs in both),
        argument=sum(mine.name == theirs.name and mine.arguments != theirs.arguments for _, mine, theirs in both),
        validity=sum((mine.fault is None) != (theirs.fault is None) for _, mine, theirs in both),
        up=sum(mine != said and theirs == said for said, mine, theirs in both),
        down=sum(mine == said and theirs != said for said, mine, theirs in both),
    )


def _of_task(name: str, seed: int, setting: Setting, sandbox: Sandbox, clock: Clock) -> Sequence[Position]:
    with tempfile.TemporaryDirectory(prefix="dyno-positions-") as place, claim() as workspace:
        task = materialise(name, seed, Path(place).resolve() / "task")
        copy_tree(task.folder / "workspace", workspace)
        ledger = Path(place).resolve() / "ledger.jsonl"
        ledger.touch()
        recorder = _Recorder(name, ScriptModel(trajectory(task, "oracle", setting.task.scope)))
        run_agent(
            Job(
                dispatch_id=name,
                instruction=instruction(task, setting.task.scope),
                setting=setting,
                model=recorder,
                clock=clock,
                wall_clock=lambda: 0,
                on_turn=lambda _: None,
                tools=() if task.harness.single_shot else make_toolset(task, setting, workspace, sandbox, ledger),
                workspace=workspace,
                persona=find_persona(setting.task.persona).text,
                skills=skill_text(setting.skills, task.pack),
                wall_s=task.agent_timeout_s,
            )
        )
        return recorder.positions


class _Recorder:
    """A scripted agent of which every request is kept that it answers with a call."""

    def __init__(self, task: str, script: ScriptModel) -> None:
        self._task = task
        self._script = script
        self.positions: list[Position] = []

    def answer(self, request: Request, name_call: NameCall, *, conversation: str, turn: int) -> Answer:
        """The script's next step."""
        answer = self._script.answer(request, name_call, conversation=conversation, turn=turn)
        if answer.said.calls:
            call = _first(answer.said, request.tools)
            self.positions.append(Position(f"{self._task} {turn}", _greedy(request), call))
        return answer


def _first(said: Said, tools: Sequence[JsonObject]) -> GreedyCall:
    call: ToolCall = said.calls[0]
    return _checked(call.name, call.arguments, tools)


def _checked(name: str, written: str, tools: Sequence[JsonObject]) -> GreedyCall:
    (call,) = read_calls(Said(calls=(ToolCall("", name, written),)), tools, rescue=False).calls
    return GreedyCall(call.name, _written(call.arguments, call.written), call.fault)


def _greedy(request: Request) -> Request:
    return msgspec.structs.replace(request, max_tokens=REPLY_TOKENS, parameters={**request.parameters, **GREEDY})


def _written(arguments: JsonObject | None, written: str) -> str:
    return written if arguments is None else msgspec.json.encode(arguments, order="sorted").decode()
