"""What levers would save, request by request: the charge of their causes, or a simulation of the engine's cache.

A prompt that changes in two places gains nothing from the repair of the later one alone: on the prompt's side only
causes up to the first that stays are counted. Chooses nothing (`harness.fixing.plan`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from backends.base import JsonObject
from harness.fixing.simulation import Setting, Simulation
from profiler.causes.catalogue import kind_of
from profiler.causes.levers import Lever
from profiler.findings import Charge, Finding, Findings
from profiler.fix_document import How, Key, key_of, priced
from profiler.pricing import Loss
from profiler.store import StoredRun

__all__ = ["Candidate", "Losses", "Predictor", "sessions_of_causes", "tokens_in", "worth"]

_OF_CHANGED_PROMPTS: Final = frozenset({"E19", "E20"})
"""Losses of the engine that only a prompt which no longer extends the newest sequence can have: another place, or an
older sequence, held more of it."""

Losses = dict[Key, tuple[Loss, ...]]
"""What falls away, by request; tokens are negative where something comes on top."""


class Candidate(msgspec.Struct, frozen=True):
    """A lever that dyno can set, and the causes that it is to remove."""

    lever: Lever
    codes: tuple[str, ...]


class Predictor:
    """What levers would save, one on top of others."""

    def __init__(self, path: Path, run: StoredRun, found: Findings, blocks: Sequence[Sequence[str]]) -> None:
        """`blocks` are the sessions that one engine serves."""
        self.found = found
        self._simulation = Simulation(path, run, {name: at for at, block in enumerate(blocks) for name in block})

    def marginal(self, before: Sequence[Candidate], candidate: Candidate) -> tuple[Losses, How]:
        """What a lever saves on top of those before it."""
        lever = candidate.lever
        if lever.rewrite is None:
            earlier = _setting([c.lever for c in before])
            after = _setting([*(c.lever for c in before), lever])
            if self._simulation.knows(after):
                return self._simulation.saved(earlier, after), "simulation"
        codes = {code for c in before for code in c.codes}
        return _charged(self.found.findings, codes, set(candidate.codes)), "charge" if lever.rewrite else "upper_bound"

    def repairs_together(self, before: Sequence[Candidate], waiting: Sequence[Candidate]) -> bool:
        """Whether rewrites of which each alone saves nothing more would save something if all were made."""
        codes = {code for c in before for code in c.codes}
        more = {code for c in waiting if c.lever.rewrite for code in c.codes}
        return bool(_charged(self.found.findings, codes, more))


def _setting(levers: Iterable[Lever]) -> Setting:
    options: dict[str, str] = {}
    parameters: JsonObject = {}
    for lever in levers:
        options |= lever.options
        parameters |= lever.parameters
    return Setting(options, parameters)


def _charged(findings: Iterable[Finding], repaired: set[str], codes: set[str]) -> Losses:
    """What is charged to `codes` and saved once they are repaired too, by request."""
    saved: Losses = {}
    for finding in findings:
        old, new = _saved(finding, repaired), _saved(finding, repaired | codes)
        losses = tuple(loss for charge in new if charge not in old for loss in charge.losses)
        if losses:
            saved[key_of(finding.record)] = losses
    return saved


def _saved(finding: Finding, repaired: set[str]) -> list[Charge]:
    """The charges that fall away: on the prompt's side, those before the first cause that stays.

    A prompt that extends the newest sequence again also finds its slot again.
    """
    prompt = [charge for charge in finding.charges if kind_of(charge.cause.code).side == "prompt"]
    engine = [charge for charge in finding.charges if kind_of(charge.cause.code).side == "engine"]
    gone: list[Charge] = []
    for charge in sorted(prompt, key=lambda c: c.cause.token if c.cause.token is not None else 0):
        if charge.cause.code not in repaired:
            break
        gone.append(charge)
    whole = bool(prompt) and len(gone) == len(prompt)
    codes = repaired | _OF_CHANGED_PROMPTS if whole else repaired
    return [*gone, *(charge for charge in engine if charge.cause.code in codes)]


def worth(saved: Losses, found: Findings) -> float:
    """What is saved in all, in seconds; in tokens where a run tells no price."""
    losses = [loss for each in saved.values() for loss in each]
    seconds = priced(found.model, losses)[0]
    return seconds if seconds is not None else float(sum(loss.tokens for loss in losses))


def sessions_of_causes(codes: Iterable[str], found: Findings) -> tuple[str, ...]:
    """The sessions in which one of these causes was found."""
    wanted = set(codes)
    names = (f.record.session for f in found.findings if wanted & {c.cause.code for c in f.charges})
    return tuple(dict.fromkeys(names))


def tokens_in(saved: Losses, sessions: tuple[str, ...]) -> int:
    """Tokens saved in these sessions."""
    return sum(loss.tokens for (session, _, _), losses in saved.items() if session in sessions for loss in losses)
