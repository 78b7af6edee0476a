"""The records of a dispatch: one agent at work on one task. What was seen is a frozen value, written as it happens.

A dispatch leaves, in this order, a `DispatchStarted`, a `TurnRecord` for each turn, and a `DispatchRecord` once it was
verified and judged; one that was killed has no last one, and everything before it can be read. The requests of its
turns are `RequestRecord`s whose `session` is the dispatch's id.

Units are in the names; `_ns` stamps are on one monotonic clock, `_unix_ns` on the wall clock. Unknown is `None`.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from profiler.records import Failure, Fidelity

__all__ = [
    "Actor",
    "CallFault",
    "CallRecord",
    "Capabilities",
    "Detection",
    "DispatchRecord",
    "DispatchStarted",
    "Effect",
    "ExitStatus",
    "Outcome",
    "RunFidelity",
    "Totals",
    "TurnRecord",
    "Verified",
]

SCHEMA = 1
"""Version of these records. History: 1, the first one."""

ExitStatus = Literal[
    "submitted",
    "stopped",
    "limit_turns",
    "limit_tokens",
    "limit_wall",
    "stuck",
    "format_errors",
    "context_overflow",
    "infra_fault",
    "aborted",
]
"""How an agent's work ended, whatever it was worth: by its `submit`, by a turn without a call (`stopped`), at a limit,
by the loop guard (`stuck`), after too many malformed calls, by the engine's refusal, by a fault of the engine or the
machine, or by the user.
"""

Verified = Literal["pass", "partial", "fail", "not_run"]
Effect = Literal["load", "edit", "verify", "execute", "plan", "finish", "other"]
"""What a tool is for: reading, changing files, running tests, any command, scaffolding, ending the work."""

CallFault = Literal["unparsable_args", "schema_violation", "unknown_tool", "truncated_call", "text_encoded_call"]
RunFidelity = Fidelity | Literal["no_engine"]
"""How real a dispatch is; `no_engine`: a scripted agent alone."""
Actor = Literal["nop", "oracle", "tamper", "placeholder", "model", "external"]


class Capabilities(msgspec.Struct, frozen=True):
    """What a sandbox was measured to hold on this machine; runs with different ones are not compared.

    True: the attempt was made, and it failed. `loopback`: a server inside can be reached from inside;
    `loopback_isolated`: those outside cannot, even then. `modes_confined`: modes and times of files outside.
    `nothing_left`: what a command started ends with it.
    """

    backend: str
    writes_confined: bool
    reads_confined: bool
    network_closed: bool
    processes_hidden: bool
    processes_bounded: bool
    files_bounded: bool
    loopback: bool
    memory_bounded: bool = False
    modes_confined: bool = False
    loopback_isolated: bool = False
    nothing_left: bool = False


class CallRecord(msgspec.Struct, frozen=True):
    """One tool call and what it brought. `arguments` is the text that the model wrote.

    With a `fault` the tool was not run; `origin` is `text` for a call that was found in the text of a reply. `result`
    is what the model was shown, `result_bytes` its size before it was cut. `changed` are the files of the workspace
    that the call created, wrote or removed, by their relative paths.
    """

    call_id: str
    name: str
    arguments: str
    origin: Literal["native", "text"] = "native"
    effect: Effect = "other"
    fault: CallFault | None = None
    ok: bool | None = None
    exit_code: int | None = None
    timed_out: bool = False
    denied: bool = False
    result: str = ""
    result_bytes: int = 0
    result_sha256: str = ""
    changed: tuple[str, ...] = ()
    lines_added: int = 0
    lines_removed: int = 0
    started_ns: int | None = None
    ended_ns: int | None = None

    @property
    def duration_ns(self) -> int | None:
        """How long the tool ran, ns; `None` if it was not run."""
        return None if self.started_ns is None or self.ended_ns is None else self.ended_ns - self.started_ns


class TurnRecord(msgspec.Struct, frozen=True):
    """One turn: the request, what the model said, and its calls. `request_id` is `None` where no engine was asked.

    `events` are what the harness did of its own: `compacted`, `retried`, `loop_guard`, …, each with a word of detail.
    """

    dispatch_id: str
    turn: int
    request_id: int | None
    content: str
    reasoning: str
    calls: tuple[CallRecord, ...]
    stop_reason: str | None
    started_ns: int
    ended_ns: int
    events: tuple[str, ...] = ()
    error: Failure | None = None
    schema: int = SCHEMA


class Outcome(msgspec.Struct, frozen=True):
    """What the verifier found in a copy of the workspace. `score` is in [0, 1]; `parts` is what it is made of.

    `valid` is false where the verifier itself failed, so that its score counts for nothing.
    """

    verified: Verified
    score: float | None = None
    parts: dict[str, Any] = {}
    notes: tuple[str, ...] = ()
    valid: bool = True
    duration_ns: int | None = None


class Detection(msgspec.Struct, frozen=True):
    """A failure mode that was seen in a dispatch. `certain` ones come from state, the others are heuristic: prose.

    `turn` is where it was seen, from 0; `evidence` shows it in a line.
    """

    code: str
    certain: bool
    evidence: str
    turn: int | None = None
    count: int = 1


class Totals(msgspec.Struct, frozen=True):
    """Where a dispatch's tokens and its time went; sums over its requests and its calls, `None` where one is unknown.

    `overhead_ns` is what is left of the wall time: the harness itself. `lost_ns` is prefill that a perfect cache would
    have saved, `lost_by_cause_s` the same by cause (`profiler.findings`).
    """

    requests: int
    turns: int
    calls: int
    wall_ns: int
    prompt_tokens: int | None
    cached_tokens: int | None
    evaluated_tokens: int | None
    generated_tokens: int | None
    prefill_ns: int | None
    decode_ns: int | None
    ttft_ns: int | None
    engine_ns: int | None
    tool_ns: int
    overhead_ns: int | None
    lost_tokens: int | None = None
    lost_ns: int | None = None
    session_bytes: int | None = None
    peak_memory_bytes: int | None = None
    lost_by_cause_s: dict[str, float | None] = {}


class DispatchStarted(msgspec.Struct, frozen=True):
    """What a dispatch is, before its first turn. `levers` are the settings in force, `setting` their name.

    `task_sha256` is of everything that the task's folder holds. `persona` says how the persona's permissions stand to
    what the task needs.
    """

    dispatch_id: str
    task: str
    pack: str
    seed: int
    task_sha256: str
    setting: str
    setting_fingerprint: str
    levers: dict[str, Any]
    actor: Actor
    agent: str
    fidelity: RunFidelity
    target: str | None
    sandbox: Capabilities
    started_unix_ns: int
    started_ns: int
    persona: Literal["none", "aligned", "conflict", "unknown"] = "unknown"
    schema: int = SCHEMA


class DispatchRecord(msgspec.Struct, frozen=True):
    """How a dispatch ended, what it was worth and what it took. Its exit status and its outcome are independent."""

    dispatch_id: str
    exit_status: ExitStatus
    outcome: Outcome
    detections: tuple[Detection, ...]
    metrics: dict[str, float | int | None]
    totals: Totals
    final_message: str
    ended_unix_ns: int
    changed_files: tuple[str, ...] = ()
    error: Failure | None = None
    schema: int = SCHEMA
