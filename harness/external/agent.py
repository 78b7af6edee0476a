"""An external agent at work on a dispatch: its command is run confined, its requests come through a recording endpoint.

The agent is told where to send its requests by its environment (`OPENAI_BASE_URL`, …) and by placeholders
(`harness.external.command`). It runs with the network of this machine, since it must reach the endpoint: an agent that
leaves the given address is not recorded, and that is not noticed here. Requests are judged in a thread beside it, which
alone uses the engine then and calls back with what it found.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from backends.base import Engine, JsonObject, KeepsLog, Served
from harness.external.command import AgentError, ExternalAgent, Started, prepared
from harness.external.conversations import MAIN
from harness.external.recording import Recording
from harness.external.turns import Turns
from harness.sandbox.base import Completed, Sandbox
from harness.sending import Judged, Sender, message_of
from profiler.calibration import GONE
from profiler.dispatch_records import ExitStatus, TurnRecord
from profiler.measure import Clock
from profiler.proxy.endpoint import Endpoint
from profiler.records import Failure

__all__ = ["AgentEnded", "run_agent", "served_at"]

LOG = "agent.log"
INSTRUCTION = "instruction.md"
POLL_S = 0.1
LAST_POLLS = 50
"""How often the last requests are waited for, once the agent is gone: it left them, so they end at once."""


class AgentEnded(msgspec.Struct, frozen=True):
    """How an agent's process ended. `messages` is its main conversation as it was sent last, with the reply.

    `final_message` is what the model said last in it, empty if that was a call.
    """

    exit_status: ExitStatus
    exit_code: int
    timed_out: bool
    duration_ns: int
    requests: int
    final_message: str
    messages: tuple[JsonObject, ...] = ()
    error: Failure | None = None


def run_agent(
    agent: ExternalAgent,
    *,
    engine: Engine,
    sender: Sender,
    sandbox: Sandbox,
    dispatch_id: str,
    instruction: str,
    workspace: Path,
    folder: Path,
    clock: Clock,
    wall_clock: Callable[[], int],
    on_request: Callable[[Judged], None],
    on_turn: Callable[[TurnRecord], None],
) -> AgentEnded:
    """Run the agent to its end, or to its limit. Its output is kept in `folder` as `agent.log`.

    The two callbacks are called from a thread beside this one, as soon as something is known; an error in one of them
    is raised here once the agent has ended. Ctrl-C ends the agent and propagates; what it had sent is judged first.

    Raises:
        AgentError: as `prepared`, or no other program can ask this engine.
        SandboxError: the command could not be started.
    """
    url = served_at(engine)
    instruction_file = folder / INSTRUCTION
    log_size = engine.log_size if isinstance(engine, KeepsLog) else _no_log
    with Endpoint(url, clock=clock, wall_clock=wall_clock, log_size=log_size) as endpoint:
        address = endpoint.base_url(dispatch_id)
        started = prepared(
            agent,
            address=address,
            workspace=workspace,
            instruction=instruction,
            instruction_file=instruction_file,
        )
        instruction_file.write_text(instruction, encoding="utf-8")
        _write_files(started, workspace)
        watcher = _Watcher(endpoint, Recording(endpoint, sender, dispatch_id), Turns(dispatch_id), on_request, on_turn)
        with ThreadPoolExecutor(1, "dyno-external-agent") as beside:
            watching = beside.submit(watcher.watch)
            try:
                completed = sandbox.run(started.argv, started.policy, stdin=started.stdin)
            finally:
                watcher.gone.set()
            (folder / LOG).write_bytes(completed.output)
            watching.result()
    return _ended(completed, watcher)


def served_at(engine: Engine) -> str:
    """The address at which other programs can ask this engine.

    Raises:
        AgentError: there is none.
    """
    if not isinstance(engine, Served):
        raise AgentError(
            f"{engine.facts().engine} runs inside dyno: another program cannot send requests to it",
            hint="take an engine that is a server, such as llama-server",
        )
    return engine.url()


class _Watcher:
    """Judges the requests of an agent while it works; `gone` is set once it does no more."""

    def __init__(
        self,
        endpoint: Endpoint,
        recording: Recording,
        turns: Turns,
        on_request: Callable[[Judged], None],
        on_turn: Callable[[TurnRecord], None],
    ) -> None:
        self.gone = threading.Event()
        self.requests = 0
        self.final_message = ""
        self.messages: tuple[JsonObject, ...] = ()
        self.last_error: Failure | None = None
        self._endpoint = endpoint
        self._recording = recording
        self._turns = turns
        self._on_request = on_request
        self._on_turn = on_turn

    def watch(self) -> None:
        """Judge until the agent is gone, and then what is left."""
        while not self.gone.is_set():
            self._judge()
        for _ in range(LAST_POLLS):
            self._judge()
            if not self._endpoint.in_flight and self._endpoint.finished.empty():
                break
        for turn in self._turns.rest():
            self._on_turn(turn)

    def _judge(self) -> None:
        for recorded in self._recording.judged(wait_s=POLL_S):
            record, _ = recorded.judged
            self.requests += 1
            self.last_error = record.error
            if record.conversation == MAIN:
                self.final_message = "" if record.reply.calls else record.reply.text.get("content", "")
                said = recorded.request.messages if recorded.request is not None else ()
                self.messages = (*said, message_of(record.reply))
            self._on_request(recorded.judged)
            for turn in self._turns.take(recorded):
                self._on_turn(turn)


def _ended(completed: Completed, watcher: _Watcher) -> AgentEnded:
    error = watcher.last_error
    status: ExitStatus = "stopped"
    if completed.timed_out:
        status, error = "limit_wall", None
    elif error is not None and error.kind in GONE:
        status = "infra_fault"
    elif error is not None and error.kind == "ContextOverflow":
        status = "context_overflow"
    elif completed.stopped_by is not None:
        error = Failure("AgentFailed", f"the agent was ended at a limit of its sandbox: {completed.stopped_by}")
    elif completed.exit_code != 0:
        error = Failure("AgentFailed", f"the agent ended with exit code {completed.exit_code}; {LOG} has its output")
    else:
        error = None
    return AgentEnded(
        exit_status=status,
        exit_code=completed.exit_code,
        timed_out=completed.timed_out,
        duration_ns=completed.duration_ns,
        requests=watcher.requests,
        final_message=watcher.final_message,
        messages=watcher.messages,
        error=error,
    )


def _write_files(started: Started, workspace: Path) -> None:
    home = workspace / ".home"
    for path, text in started.files.items():
        target = home / path
        if not target.resolve().is_relative_to(home.resolve()):
            raise AgentError(f"the agent's file {path!r} is not below its home", hint="write a path relative to it")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")


def _no_log() -> None:
    return None
