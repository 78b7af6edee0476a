"""What `dyno template` says, as one object (`docs/template.md`): verdict, constructs, what each loss costs, levers."""

from __future__ import annotations

from typing import Literal

import msgspec

from backends.base import Facts, JsonObject
from harness.templates.probe import ConstructResult, Lever, Probe
from profiler.template_stability import Finding, Scope, When, cost_tokens

__all__ = ["HISTORIES", "Loss", "TemplateDocument", "document_of"]

HISTORIES = (8_192, 32_768, 65_536, 131_072)
"""Tokens of history at which a loss is priced."""


class Loss(msgspec.Struct, frozen=True):
    """One cause: the constructs that show it, what it loses in the small histories tried, and in large ones.

    `tokens_at` are the tokens evaluated again each time, by tokens of history; `conditional`: only with some models.
    """

    cause: str
    constructs: tuple[str, ...]
    conditional: bool
    scope: Scope
    when: When
    lost_tokens: int
    estimated: bool
    tokens_at: dict[int, int]
    was: str
    now: str


class TemplateDocument(msgspec.Struct, frozen=True):
    """The result of one probe. `verdict` is about what every model loses; conditional losses are listed beside it."""

    target: str
    engine: str
    build: str | None
    model: str | None
    template_sha256: str | None
    template_options: JsonObject
    verdict: Literal["STABLE", "UNSTABLE"]
    reason: str
    constructs: tuple[ConstructResult, ...]
    losses: tuple[Loss, ...]
    levers: tuple[Lever, ...]
    prompts: int
    schema: int = 1


def document_of(target: str, facts: Facts, template_options: JsonObject, probe: Probe) -> TemplateDocument:
    """The document of a probe."""
    unstable = probe.named("unstable")
    tried = [result for result in probe.constructs if result.status != "refused"]
    reason = f"each prompt extends the one before it and the reply, in {len(tried)} constructs"
    if unstable:
        reason = f"{len(unstable)} of {len(tried)} constructs break the prefix: " + ", ".join(r.name for r in unstable)
    return TemplateDocument(
        target=target,
        engine=facts.engine,
        build=facts.build,
        model=facts.model,
        template_sha256=facts.template_sha256,
        template_options=template_options,
        verdict="UNSTABLE" if unstable else "STABLE",
        reason=reason,
        constructs=probe.constructs,
        losses=_losses(probe),
        levers=probe.levers,
        prompts=probe.prompts,
    )


def _losses(probe: Probe) -> tuple[Loss, ...]:
    """By cause, the unconditional first, the dearest first."""
    seen: dict[str, list[tuple[ConstructResult, Finding]]] = {}
    for result in probe.constructs:
        for finding in result.findings:
            seen.setdefault(finding.cause, []).append((result, finding))
    losses = [_loss(cause, found) for cause, found in seen.items()]
    return tuple(sorted(losses, key=lambda loss: (loss.conditional, -loss.tokens_at[HISTORIES[-1]])))


def _loss(cause: str, found: list[tuple[ConstructResult, Finding]]) -> Loss:
    worst = max((finding for _, finding in found), key=lambda finding: cost_tokens(finding, HISTORIES[-1]))
    return Loss(
        cause=cause,
        constructs=tuple(dict.fromkeys(result.name for result, _ in found)),
        conditional=all(result.status == "conditional" for result, _ in found),
        scope=worst.scope,
        when=worst.when,
        lost_tokens=worst.lost_tokens,
        estimated=worst.estimated,
        tokens_at={history: cost_tokens(worst, history) for history in HISTORIES},
        was=worst.was,
        now=worst.now,
    )
