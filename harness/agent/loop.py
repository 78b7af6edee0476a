"""The agent loop: ask, take the calls, run them, add what they brought, until the work ends. Append-only by default.

What varies is elsewhere: what is sent in `prompt`, what becomes of a long history in `compacting`, what counts as a
call in `calls`, when it ends in `guard`, who answers in `model`. Every turn is told to `on_turn` as soon as it is over.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from backends.base import JsonObject
from harness.agent.calls import ParsedCall, Reading, Said, read_calls
from harness.agent.compacting import Compacting
from harness.agent.execution import ONE_CALL, Runner, not_run
from harness.agent.guard import LoopGuard, after_fault, limit_reached
from harness.agent.model import MAIN, Answer, Model
from harness.agent.parser_faults import is_parser_fault
from harness.agent.prompt import CallIds, assistant_message, frame_of, request_of, tool_message
from harness.sandbox.base import SandboxError
from harness.settings import Setting
from harness.tools.base import Tool
from harness.tools.changes import Changes
from profiler.dispatch_records import CallRecord, ExitStatus, TurnRecord
from profiler.records import Failure, ToolCall

__all__ = ["Finished", "Job", "run_agent"]

_UNREADABLE = "(My tool call could not be read.)"


class Job(msgspec.Struct, frozen=True):
    """What an agent is to do, and with what.

    `instruction` is the task, `compactor` who summarises (`None`: the model itself), `context_tokens` the engine's
    context. `clock` gives ns of a monotonic clock, `wall_clock` ns of the wall clock for what the model is told.
    `workspace` is looked through for changes, if there is one; `wall_s` is the task's own limit beside the setting's.
    """

    dispatch_id: str
    instruction: str
    setting: Setting
    model: Model
    clock: Callable[[], int]
    wall_clock: Callable[[], int]
    on_turn: Callable[[TurnRecord], None]
    tools: tuple[Tool, ...] = ()
    workspace: Path | None = None
    persona: str = ""
    skills: str = ""
    compactor: Model | None = None
    context_tokens: int | None = None
    wall_s: float | None = None


class Finished(msgspec.Struct, frozen=True):
    """How the work ended. `messages` is the history at the end, with the system prompt before it.

    `final_message` is what the agent said last: its submission, or a turn without a call; empty if it came to neither.
    """

    exit_status: ExitStatus
    final_message: str = ""
    turns: tuple[TurnRecord, ...] = ()
    messages: tuple[JsonObject, ...] = ()
    error: Failure | None = None


def run_agent(job: Job) -> Finished:
    """Work on a task until it is submitted, given up, or ended by a limit, a guard or a fault.

    Raises:
        KeyboardInterrupt: the user ended it; the turn that was running was reported.
    """
    work = _Work(job)
    status: ExitStatus | None = None
    while status is None:
        status = work.limit() or work.turn()
    return work.finished(status)


class _Work:
    """An agent at work: its history, and what was counted so far."""

    def __init__(self, job: Job) -> None:
        self._job = job
        tools = {tool.name: tool for tool in job.tools}
        schemas = [tool.schema for tool in job.tools]
        self._tools = tools
        self._ids = CallIds(job.setting, job.dispatch_id)
        self._frame = frame_of(job.setting, persona=job.persona, skills=job.skills, tools=schemas, seed=job.dispatch_id)
        changes = Changes(job.workspace) if job.workspace is not None else None
        self._runner = Runner(tools, job.setting, changes, job.clock)
        self._guard = LoopGuard(job.setting.loop)
        self._compacting = Compacting(job.setting.history, job.context_tokens, job.compactor or job.model)
        self._history: list[JsonObject] = [{"role": "user", "content": job.instruction}]
        self._turns: list[TurnRecord] = []
        self._started_ns = job.clock()
        self._requests = self._generated_tokens = self._faulty_turns = 0
        self._error: Failure | None = None
        self._final_message = ""

    def limit(self) -> ExitStatus | None:
        """The limit that was reached."""
        return limit_reached(
            self._job.setting.limits,
            turns=len(self._turns),
            generated_tokens=self._generated_tokens,
            elapsed_ns=self._job.clock() - self._started_ns,
            wall_s=self._job.wall_s,
        )

    def turn(self) -> ExitStatus | None:
        """One turn, reported whatever happens in it; how the work ended with it, if it did."""
        turn = _Turn(self._job.clock())
        try:
            self._history, turn.events = self._compacting.before(self._history, self._ask)
            turn.answer = self._ask(self._job.model, self._history, MAIN)
            self._compacting.saw(turn.answer.prompt_tokens)
            if turn.answer.error is not None:
                return self._failed(turn, turn.answer.error)
            reading = self._read(turn.answer)
            if any(call.fault for call in reading.calls):
                return self._malformed(turn, reading)
            self._faulty_turns = 0
            return self._act(turn, reading)
        except SandboxError as error:
            self._error = Failure("SandboxError", str(error))
            return "infra_fault"
        except KeyboardInterrupt:
            turn.events = (*turn.events, "interrupted: by the user")
            raise
        finally:
            self._report(turn)

    def finished(self, status: ExitStatus) -> Finished:
        """What is left when the work has ended."""
        system: list[JsonObject] = [{"role": "system", "content": self._frame.system}] if self._frame.system else []
        messages = (*system, *self._history)
        return Finished(status, self._final_message, tuple(self._turns), messages, self._error)

    def _ask(self, model: Model, history: list[JsonObject], conversation: str) -> Answer:
        self._requests += 1
        limits = self._job.setting.limits
        left_tokens = max(1, limits.tokens - self._generated_tokens)
        request = request_of(
            self._frame,
            history,
            number=self._requests,
            now_unix_ns=self._job.wall_clock(),
            max_tokens=min(limits.reply_tokens, left_tokens),
        )
        answer = model.answer(request, self._ids.of, conversation=conversation, turn=len(self._turns))
        self._generated_tokens += answer.generated_tokens or 0
        return answer

    def _read(self, answer: Answer) -> Reading:
        """The calls of an answer; one that was found in its text gets its id here."""
        reading = read_calls(answer.said, self._frame.tools, rescue=self._job.setting.calls.rescue)
        named = [
            call if call.id else msgspec.structs.replace(call, id=self._ids.of(ToolCall("", call.name, call.written)))
            for call in reading.calls
        ]
        return Reading(reading.content, tuple(named))

    def _act(self, turn: _Turn, reading: Reading) -> ExitStatus | None:
        """Run the calls of a turn, in order, and tell what is wrong with others; without a call the work ends."""
        self._history.append(assistant_message(reading.content, turn.reasoning, map(_as_said, reading.calls)))
        for number, call in enumerate(reading.calls):
            if number and not self._job.setting.calls.parallel:
                turn.events = (*turn.events, f"not_parallel: {call.name} was not run")
                self._bring(turn, not_run(call, self._tools, ONE_CALL))
            elif call.fault:
                self._bring(turn, not_run(call, self._tools, f"Error: {call.problem}"))
            else:
                status = self._run(turn, call)
                if status is not None:
                    return status
        if reading.calls:
            return None
        self._final_message = reading.content
        return "stopped"

    def _run(self, turn: _Turn, call: ParsedCall) -> ExitStatus | None:
        record, finished = self._runner.run(call)
        verdict = self._guard.seen(call.name, call.arguments or {}, record.result_sha256)
        if verdict != "go_on":
            turn.events = (*turn.events, f"loop_guard: {call.name} {self._guard.count} times with the same result")
        if verdict == "warn":
            record = msgspec.structs.replace(record, result=record.result + _warning(self._guard.count))
        self._bring(turn, record)
        if finished:
            said = (text for text in (call.arguments or {}).values() if isinstance(text, str))
            self._final_message = next(filter(None, said), turn.content)
            return "submitted"
        return "stuck" if verdict == "stop" else None

    def _bring(self, turn: _Turn, record: CallRecord) -> None:
        turn.calls.append(record)
        self._history.append(tool_message(record.call_id, record.result))

    def _malformed(self, turn: _Turn, reading: Reading) -> ExitStatus | None:
        """A turn with a call that cannot be run: by the retry policy it is fed back, forgotten, or the end."""
        self._faulty_turns += 1
        faults = ", ".join(sorted({call.fault for call in reading.calls if call.fault}))
        what = after_fault(self._job.setting.calls, self._faulty_turns)
        if what == "feed":
            turn.events = (*turn.events, f"retried: {faults}, with the error")
            if reading.calls[0].origin == "native" or self._job.setting.calls.rescue:
                return self._act(turn, reading)
            self._feed(reading.content, turn.reasoning, reading.calls[0].problem)
        else:
            turn.events = (*turn.events, f"format_error: {faults}" if what == "end" else f"retried: {faults}, blind")
        turn.calls += [not_run(call, self._tools, call.problem if what == "feed" else "") for call in reading.calls]
        return "format_errors" if what == "end" else None

    def _failed(self, turn: _Turn, error: Failure) -> ExitStatus | None:
        """A request that failed: the end, unless the server could only not read a call that the model wrote."""
        if not is_parser_fault(error):
            self._error = error
            return "context_overflow" if error.kind == "ContextOverflow" else "infra_fault"
        self._faulty_turns += 1
        turn.events = (*turn.events, f"server_parse_error: {error.message}")
        what = after_fault(self._job.setting.calls, self._faulty_turns)
        if what == "feed":
            problem = f"Your tool call could not be read: {error.message}. Make the call again, as valid JSON."
            self._feed(_UNREADABLE, "", problem)
        return "format_errors" if what == "end" else None

    def _feed(self, said: str, reasoning: str, problem: str) -> None:
        """Tell the model of an error where there is no call to answer. Both messages: roles must alternate."""
        self._history.append(assistant_message(said, reasoning, ()))
        self._history.append({"role": "user", "content": problem})

    def _report(self, turn: _Turn) -> None:
        answer = turn.answer or Answer(Said())
        record = TurnRecord(
            dispatch_id=self._job.dispatch_id,
            turn=len(self._turns),
            request_id=answer.request_id,
            content=answer.said.content,
            reasoning=answer.said.reasoning,
            calls=tuple(turn.calls),
            stop_reason=answer.said.stop_reason,
            started_ns=turn.started_ns,
            ended_ns=self._job.clock(),
            events=turn.events,
            error=answer.error,
        )
        self._turns.append(record)
        self._job.on_turn(record)


class _Turn:
    """A turn while it runs."""

    def __init__(self, started_ns: int) -> None:
        self.started_ns = started_ns
        self.answer: Answer | None = None
        self.calls: list[CallRecord] = []
        self.events: tuple[str, ...] = ()

    @property
    def content(self) -> str:
        return self.answer.said.content if self.answer else ""

    @property
    def reasoning(self) -> str:
        return self.answer.said.reasoning if self.answer else ""


def _as_said(call: ParsedCall) -> ToolCall:
    """A call as it goes into the history. What is no JSON is wrapped: templates and servers refuse it as arguments."""
    unreadable = call.arguments is None
    written = msgspec.json.encode({"unparsed": call.written}).decode() if unreadable else call.written or "{}"
    return ToolCall(call.id, call.name or "unknown", written)


def _warning(count: int) -> str:
    return f"\n[You have made this call {count} times with the same result. Do something else.]"
