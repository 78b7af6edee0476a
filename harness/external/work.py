"""An external agent as the work of a dispatch: the built-in agent's place, taken by another program.

Of a setting only its limits hold for it: persona, skills and all other levers are the program's own affair.
"""

from __future__ import annotations

import msgspec

from harness.agent.loop import Finished
from harness.dispatch import Bench, Work
from harness.external.agent import run_agent, served_at
from harness.external.command import ExternalAgent, program_of
from harness.sending import Sender
from harness.tasks.registry import instruction
from profiler.dispatch_store import DispatchWriter
from profiler.measure import Clock

__all__ = ["external_work"]


def external_work(agent: ExternalAgent, sender: Sender, dispatches: DispatchWriter, clock: Clock) -> Work:
    """The command does the work; its output goes into the dispatch's folder.

    Raises:
        AgentError: the command cannot be run, or no other program can ask this engine.
    """
    program_of(agent)
    served_at(sender.engine)

    def work(bench: Bench) -> Finished:
        ended = run_agent(
            msgspec.structs.replace(agent, wall_s=min(agent.wall_s, bench.task.agent_timeout_s)),
            engine=sender.engine,
            sender=sender,
            sandbox=bench.sandbox,
            dispatch_id=bench.dispatch_id,
            instruction=instruction(bench.task, bench.setting.task.scope),
            workspace=bench.workspace,
            folder=dispatches.folder(bench.dispatch_id),
            clock=clock,
            wall_clock=bench.wall_clock,
            on_request=bench.on_request,
            on_turn=bench.on_turn,
        )
        return Finished(ended.exit_status, ended.final_message, messages=ended.messages, error=ended.error)

    return work
