"""What a setting of the engine would save, by the model of its cache policy, on the very tokens of a stored run.

As `dyno simulate` has it, but block by block: `dyno fix` replays each block of sessions on an engine of its own. The
model must first reproduce the run: where it does not predict what the engine reused, nothing is said.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import msgspec

from backends.base import EngineError, JsonObject
from harness.simulation.compare import agreement_of
from harness.simulation.input import Workload, workload_of_run
from harness.simulation.settings import options_of
from profiler.anchor import WORDS
from profiler.fix_document import Key, key_of
from profiler.policies import Policy, Sent, load
from profiler.pricing import Loss
from profiler.store import StoredRun, read_prompts

__all__ = ["Setting", "Simulation"]

REPRODUCED: Final = 0.95
"""Of a run's requests, so many must be predicted for the model to be believed about other settings."""
_KEYS: Final = frozenset({"cache_prompt", "id_slot"})
"""Keys of a request that policies know."""
_ANCHOR_TOKENS: Final = 2 * WORDS
_FIRST_FREE_ID: Final = -1_000_000_000


class Setting(msgspec.Struct, frozen=True):
    """Launch options and request keys on top of those of the run."""

    options: dict[str, str] = {}
    parameters: JsonObject = {}


class Simulation:
    """The requests of one run, played to its engine's cache policy under other settings."""

    def __init__(self, path: Path, run: StoredRun, blocks: Mapping[str, int]) -> None:
        """`blocks` numbers the sessions by the engine that serves them: each block starts on a fresh one."""
        self._path, self._blocks = path, blocks
        self._keys = {record.request_id: key_of(record) for record in run.requests}

    def knows(self, setting: Setting) -> bool:
        """Whether the policy has these settings, and predicts what the run's engine reused under the run's own."""
        if setting.parameters.keys() - _KEYS or self._workload is None:
            return False
        try:
            self._options(self._workload, setting)
        except EngineError:
            return False
        return self._reproduced

    def saved(self, before: Setting, after: Setting) -> dict[Key, tuple[Loss, ...]]:
        """What `after` saves against `before`, by request; tokens are negative where it loses."""
        workload = self._workload
        if workload is None or workload.engine is None:
            return {}
        module = load(workload.engine)
        options = [self._options(workload, setting) for setting in (before, after)]
        policies: dict[tuple[int, int], list[Policy]] = {}
        begun: set[tuple[str, int]] = set()
        saved: dict[Key, tuple[Loss, ...]] = {}
        for ask in workload.asks:
            if ask.request_id is None:
                continue  # an anchor: one of our own comes before each session
            session, repeat, _ = key = self._keys[ask.request_id]
            block = self._blocks[session], repeat
            if block not in policies:
                policies[block] = [module.open_policy(one) for one in options]
            old, new = policies[block]
            if (session, repeat) not in begun:
                begun.add((session, repeat))
                old.serve(_anchor(len(begun)))
                new.serve(_anchor(len(begun)))
            was = old.serve(_with(ask.sent, before.parameters)).cached_tokens
            then = new.serve(_with(ask.sent, after.parameters)).cached_tokens
            if was is not None and then is not None and was != then and ask.counted:
                saved[key] = (Loss(was, then - was),)
        return saved

    @cached_property
    def _workload(self) -> Workload | None:
        if next(read_prompts(self._path), None) is None:
            return None
        workload = workload_of_run(self._path)
        return workload if workload.own is not None else None

    @cached_property
    def _reproduced(self) -> bool:
        agreement = agreement_of(self._workload) if self._workload else None
        return agreement is not None and agreement.share is not None and agreement.share >= REPRODUCED

    @staticmethod
    def _options(workload: Workload, setting: Setting) -> Any:
        assert workload.engine is not None, "the workload of a run has its engine"
        return options_of(workload.engine, setting.options, workload.facts, workload.own)


def _with(sent: Sent, parameters: JsonObject) -> Sent:
    return msgspec.structs.replace(
        sent,
        slot=parameters.get("id_slot", sent.slot),
        cache_prompt=parameters.get("cache_prompt", sent.cache_prompt),
    )


def _anchor(number: int) -> Sent:
    """dyno's own request before each session: its tokens are not stored, and no other prompt holds them."""
    first = _FIRST_FREE_ID - number * _ANCHOR_TOKENS
    return Sent("anchor", array("i", range(first, first - _ANCHOR_TOKENS, -1)), array("i", [first]))
