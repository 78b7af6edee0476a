"""The second engine of a dispatch: another model that writes the summaries of a long history (`history.compactor`).

It is open only while its arm is at work, and as empty at the start of a dispatch as the first engine. Its requests are
in the records of the dispatch and say which engine answered (`RequestRecord.engine`): their tokens and their time
count, and no cause and no price is told of them, since those are of one engine. Its memory is not sampled.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager

from backends import open_engine
from backends.base import Engine, Target
from harness.cli.opened_site import OpenedSite
from harness.sending import Sender
from harness.settings import Setting
from harness.targets import resolve_target
from profiler.dispatch_records import RunFidelity

__all__ = ["Compactors", "compactor_of", "opened_compactor"]

SELF = "self"


def compactor_of(setting: Setting) -> Target | None:
    """The engine that writes the summaries, where it is another one than the agent's. Raises TargetError."""
    levers = setting.history
    return None if levers.policy != "summarise" or levers.compactor == SELF else resolve_target(levers.compactor)


@contextmanager
def opened_compactor(
    setting: Setting,
    opened: OpenedSite,
    fidelity: RunFidelity,
    opener: Callable[[Target], Engine] = open_engine,
) -> Generator[Sender | None]:
    """Start the compactor of a setting, which numbers its requests with those of the site; `None` where it has none.

    Raises:
        TargetError, EngineError: it is not known, or could not be started.
    """
    target, main = compactor_of(setting), opened.sender(fidelity)
    if target is None or main is None:
        yield None
        return
    engine = opener(target)
    try:
        yield Sender(engine, fidelity=main.fidelity, numbers=main.numbers, elsewhere=str(target))
    finally:
        engine.close()


class Compactors:
    """The compactor of whichever arm is at work, one at a time."""

    def __init__(self, opener: Callable[[Target], Engine] = open_engine) -> None:
        """`opener` starts engines."""
        self._opener = opener
        self._stack = ExitStack()
        self._arm: str | None = None
        self._sender: Sender | None = None

    def sender(
        self, arm: str, setting: Setting, opened: OpenedSite, fidelity: RunFidelity, *, fresh: bool
    ) -> Sender | None:
        """That of an arm, emptied by starting it anew where the dispatch is to begin `fresh`. As `opened_compactor`."""
        if fresh or arm != self._arm:
            self.close()
            made = opened_compactor(setting, opened, fidelity, self._opener)
            self._arm, self._sender = arm, self._stack.enter_context(made)
        return self._sender

    def close(self) -> None:
        """Close what is open. May be called twice."""
        self._arm = self._sender = None
        self._stack.close()
