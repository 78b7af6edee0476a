"""Comparisons of made-up quants on the simulated engine: exact, in no time, on a clock of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from backends.base import EngineFault, Target
from harness.quant.base import Candidate, Wanted
from harness.quant.candidates import Choice
from harness.quant.depths import DepthPlan
from harness.quant.plan import Amount, QuantPlan
from harness.quant.steps import QualityFound
from harness.quant.store import Comparison, create
from profiler.model_file.base import ModelFile
from tests.harness.quant import made_up

AMOUNT = Amount(
    rounds=2,
    depths=DepthPlan((0,), prefill_tokens=32, decode_tokens=8),
    sessions=("append-only",),
    tasks=("toolbench/select-1", "toolbench/chain2-1"),
    positions=4,
    chunks=2,
    position_tasks=("toolbench/select-1", "toolbench/chain2-1"),
)


def model(label: str = "Q8_0", bits: float = 8.5, **changed: Any) -> ModelFile:
    """A made-up file of a made-up model."""
    return msgspec.structs.replace(made_up.model(label, bits), **changed)


def candidate(name: str, bits: float, target: Target | None = None, kv: str = "f16") -> Candidate:
    """A made-up quant; by default on the simulation, which decodes the faster the fewer bits it has."""
    each_ns = str(round(bits * 1_000_000))
    options = {"decode_ns_per_token": each_ns, "slots": "2"}
    return Candidate(name, model(name, bits), kv, target or Target("scripted", "tool-call", options=options))


def choice(*names_bits: tuple[str, float]) -> Choice:
    """Candidates of these bits; the first is the reference."""
    made = tuple(candidate(name, bits) for name, bits in names_bits or (("F16", 16.0), ("Q8_0", 8.5), ("Q4_K_M", 4.9)))
    return Choice(made, made[0])


def plan(of: Choice | None = None, **changed: Any) -> QuantPlan:
    """A plan for them; scripted steps are forced."""
    fields: dict[str, Any] = {
        "wanted": Wanted(32768),
        "choice": of or choice(),
        "amount": AMOUNT,
        "fidelity": "rehearse",
    }
    return QuantPlan(**{**fields, **changed})


def stored(root: Path, of: QuantPlan) -> Path:
    """A comparison that has just begun."""
    return create(root, Comparison("20261120-120000-test", 1, of))


class Bench:
    """Quality by the bits: exact, and `broken` for the candidates of these names."""

    def __init__(self, broken: tuple[str, ...] = ()) -> None:
        self.broken = broken

    def measure(self, candidate: Candidate) -> QualityFound:
        """The made-up quality of a candidate."""
        if candidate.name in self.broken:
            raise EngineFault(f"{candidate.name} gave no logits")
        return QualityFound(made_up.quality(0.1 / candidate.model.bits_per_weight**2))
