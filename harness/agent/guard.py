"""What ends an agent's work or interferes with it: limits, repeated calls, malformed calls. Pure."""

from __future__ import annotations

from typing import Literal

import msgspec

from backends.base import JsonObject
from harness.settings import Calls, Limits, Loop
from profiler.dispatch_records import ExitStatus

__all__ = ["LoopGuard", "after_fault", "limit_reached"]

Verdict = Literal["go_on", "warn", "stop"]


class LoopGuard:
    """Counts calls that are made again, one directly after the other, and bring the same.

    Calls are the same if tool and arguments are, whatever the order of keys; another call or another result between
    them starts the count anew.
    """

    def __init__(self, levers: Loop) -> None:
        self._levers = levers
        self._last: tuple[str, bytes, str] | None = None
        self.count = 0

    def seen(self, name: str, arguments: JsonObject, result_sha256: str) -> Verdict:
        """Note a call with its result; `warn` or `stop` as often as the lever's `repeats` is reached."""
        this = name, msgspec.json.encode(arguments, order="sorted"), result_sha256
        self.count = self.count + 1 if this == self._last else 1
        self._last = this
        if self._levers.guard == "off" or self.count % self._levers.repeats:
            return "go_on"
        return self._levers.guard


def limit_reached(
    limits: Limits, *, turns: int, generated_tokens: int, elapsed_ns: int, wall_s: float | None = None
) -> ExitStatus | None:
    """The limit that is reached before another turn. `wall_s` is the task's own, if it has one: the shorter counts."""
    longest_s = limits.wall_s if wall_s is None else min(limits.wall_s, wall_s)
    if elapsed_ns >= longest_s * 1e9:
        return "limit_wall"
    if generated_tokens >= limits.tokens:
        return "limit_tokens"
    return "limit_turns" if turns >= limits.turns else None


def after_fault(levers: Calls, consecutive: int) -> Literal["feed", "resend", "end"]:
    """What follows a turn with a malformed call, the `consecutive`th in a row: feed the error back, send the same
    request again, or end the dispatch.
    """
    if levers.retry == "none" or consecutive >= levers.max_format_errors:
        return "end"
    return "feed" if levers.retry == "error_fed" else "resend"
