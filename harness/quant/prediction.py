"""What each candidate would take and how fast it would be, before it is loaded; for this machine, or for another one.

Memory by the engine's own plan where llama-cpp-python is installed, else by formula; a machine with a GPU that is not
here is told by formula alone, since a plan is one of this machine. Speed by what `dyno doctor --save` measured here, or
by the figures of a machine's profile. Loads no weights; one planner process answers all questions.
"""

from __future__ import annotations

from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Final, Self

import msgspec

from backends import open_planner
from backends.abilities import Planner
from backends.base import EngineError, MissingExtra, Target, TargetError
from harness.machines import MachineProfile, allowance, machine_named, own_folder, read_machine
from harness.named_files import toml_files
from harness.quant.base import Candidate, PartFilled, Predicted, Wanted
from harness.quant.candidates import Choice
from harness.quant.cost import AMOUNTS
from harness.quant.engines import WANTED_OPTIONS, options_of
from profiler.fit.allowance import limited, this_machine
from profiler.fit.base import Allowance, MemoryPrediction
from profiler.fit.engine_plan import EnginePlan, engine_plan
from profiler.fit.formula import predict as predict_by_formula
from profiler.fit.growth import server_growth
from profiler.fit.prediction import Runtime, predict_memory
from profiler.fit.table import ENGINE_RUNTIME_BYTES
from profiler.fit.target_settings import settings_of
from profiler.fit.verdict import judge_fit
from profiler.model_file.base import ModelFile, TypeShare
from profiler.speed.base import SpeedPrediction
from profiler.speed.prediction import predict_speed

__all__ = ["Predictions", "Predictor", "predict_all"]

_PLANNABLE: Final = ("llama-server", "llama-cpp")
_FILLED_TOKENS: Final = 1024
"""About as much as is filled when memory is measured."""
_NOT_MADE: Final = "not made yet: what the engine would make of this file"


class Predictions(msgspec.Struct, frozen=True):
    """What was predicted, by the candidate's name, for a machine: `machine` in words, with where that is from."""

    by_name: dict[str, Predicted]
    allowance: Allowance
    machine: str
    notes: tuple[str, ...] = ()
    unmade: tuple[Candidate, ...] = ()
    """Quants that could be made of the one file that was named; they are in `by_name` too."""


def predict_all(choice: Choice, wanted: Wanted, *, machine: str | None = None, all_quants: bool = False) -> Predictions:
    """Predict every candidate; with `all_quants` and one candidate alone, every smaller quant that could be made of it.

    Raises:
        TargetError: no machine of that name, or a launch setting that the engine does not have.
    """
    with Predictor(wanted, machine) as predictor:
        by_name = {one.name: predictor.predicted(one) for one in choice.candidates}
        unmade = predictor.unmade(choice.candidates[0]) if len(choice.candidates) == 1 and all_quants else ()
        return Predictions(
            {**by_name, **{one.name: found for one, found in unmade}},
            predictor.allowance,
            predictor.machine,
            tuple(predictor.notes),
            tuple(one for one, _ in unmade),
        )


class Predictor:
    """Predicts for one machine; a context manager, which ends the planner."""

    def __init__(self, wanted: Wanted, machine: str | None = None) -> None:
        """`machine` is a profile's name or file; `None` is this machine as it is now. Raises TargetError."""
        self._wanted = wanted
        self._there = machine_named(machine) if machine is not None else None
        self._profile = self._there or _own_profile()
        found = allowance(self._there) if self._there is not None else this_machine()
        self.allowance = limited(found, wanted.memory_bytes) if wanted.memory_bytes is not None else found
        self.machine = f"{self._there.name} ({self._there.label})" if self._there else "this machine"
        self.notes: list[str] = []
        self._stack = ExitStack()
        self._planners: dict[str, Planner | None] = {}
        self._plans: dict[str, EnginePlan | None] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def predicted(self, candidate: Candidate) -> Predicted:
        """What is known of a candidate before it is loaded. Raises TargetError."""
        wanted = self._wanted
        memory = partial(self._memory, candidate)
        verdict = judge_fit(
            memory,
            self.allowance,
            kv=candidate.kv,
            context_tokens=wanted.context_tokens,
            smaller_kv="q8_0" if candidate.kv in ("f32", "f16", "bf16") else None,
        )
        return Predicted(
            memory(candidate.kv, wanted.context_tokens), verdict, self._speed(candidate), self._part_filled(candidate)
        )

    def unmade(self, candidate: Candidate) -> tuple[tuple[Candidate, Predicted], ...]:
        """Every quant that the engine could make of a candidate's file and that is smaller, the largest first.

        Their sizes are exact, by a dry run; everything else is as for the file. Empty where no planner tells.
        """
        planner = self._planner(candidate.target.engine) if candidate.model.container == "gguf" else None
        try:
            sizes = planner.quantised_bytes(str(candidate.model.path)) if planner is not None else {}
        except EngineError as error:
            self._note(f"sizes of other quants are not known: {error}")
            return ()
        smaller = {name: size for name, size in sizes.items() if size < candidate.model.tensor_bytes}
        made = [_as_quantised(candidate, name, smaller[name]) for name in sorted(smaller, key=lambda n: -smaller[n])]
        return tuple((one, self.predicted(one)) for one in made)

    def _part_filled(self, candidate: Candidate) -> PartFilled | None:
        """As after a short prompt. llama.cpp writes to all of a cache when it makes it, mlx-lm to what is filled.

        What a batch computes with is planned for a full context, and only touched as far as that is filled.
        """
        whole_tokens = self._wanted.context_tokens
        tokens = min(_FILLED_TOKENS, whole_tokens)
        short = self._memory(candidate, candidate.kv, tokens)
        if candidate.model.container == "mlx":
            return PartFilled(tokens, short)
        if candidate.target.engine not in _PLANNABLE:
            return None
        whole = self._memory(candidate, candidate.kv, whole_tokens)
        parts = [part for part in whole.parts if part.what != "compute"]
        parts += [part for part in short.parts if part.what == "compute"]
        return PartFilled(tokens, msgspec.structs.replace(whole, parts=tuple(parts)))

    def _memory(self, candidate: Candidate, kv: str, context_tokens: int) -> MemoryPrediction:
        model, engine = candidate.model, candidate.target.engine
        wanted = msgspec.structs.replace(self._wanted, context_tokens=context_tokens)
        options = {**candidate.target.options, **_changed(candidate, kv, wanted)}
        target = msgspec.structs.replace(candidate.target, options=options)
        plan = self._plan(target)
        if self.allowance.device_bytes is not None and plan is not None and all(m.on_host for m in plan.memories):
            plan = None  # of a build for the processor, where the engine has a GPU
        formula = predict_by_formula(
            model,
            settings_of(
                model,
                engine,
                options,
                has_device=self.allowance.device_bytes is not None,
                unified_memory=self.allowance.unified or self.allowance.device_bytes is None,
            ),
        )
        growth, unlimited = server_growth(options, plan) if engine == "llama-server" else ((), ())
        runtime = _runtime_of(engine) if plan is not None else None
        found = predict_memory(model, plan=plan, formula=formula, growth=growth, unlimited=unlimited, runtime=runtime)
        return _with_weights(found, model) if _NOT_MADE in model.notes else found

    def _plan(self, target: Target) -> EnginePlan | None:
        if self._there is not None and self.allowance.device_bytes is not None:
            return None
        key = str(target)
        if key not in self._plans:
            planner = self._planner(target.engine)
            try:
                self._plans[key] = engine_plan(planner.plan(target)) if planner is not None else None
            except TargetError:
                raise
            except EngineError as error:
                self._note(f"no plan of the engine for {Path(target.model or '').name}: {error}")
                self._plans[key] = None
        return self._plans[key]

    def _planner(self, engine: str) -> Planner | None:
        if engine not in self._planners:
            self._planners[engine] = None
            if engine in _PLANNABLE:
                try:
                    planner = self._planners[engine] = open_planner(engine)
                    self._stack.enter_context(closing(planner))
                except MissingExtra as error:
                    self._note(f"predicted by formula: {error} ({error.hint})")
        return self._planners[engine]

    def _speed(self, candidate: Candidate) -> SpeedPrediction | None:
        context = self._wanted.context_tokens
        measured = (depth for amount in AMOUNTS for depth in amount.depths.depths_tokens)
        depths = tuple(sorted({0, context, *(depth for depth in measured if depth < context)}))
        memory = self._profile.weights_memory if self._profile is not None else None
        if memory is None or self._profile is None:
            self._note("no speed is predicted: dyno doctor --save measures this machine")
            return None
        return predict_speed(
            candidate.model,
            depths,
            kv=candidate.kv,
            bandwidth_gb_per_s=memory.bandwidth_gb_per_s,
            rates=self._profile.rates,
            engine=candidate.target.engine,
        )

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


def _runtime_of(engine: str) -> Runtime | None:
    """What the engine's program takes without a model, where that was measured."""
    host_bytes = ENGINE_RUNTIME_BYTES.get(engine)
    if host_bytes is None:
        return None
    return Runtime(host_bytes, f"{engine} without a model, measured on Linux (benchmarks/residency_prediction.py)")


def _as_quantised(candidate: Candidate, label: str, tensor_bytes: int) -> Candidate:
    """A candidate as it would be in another type. Its types are told by the label alone."""
    model = candidate.model
    share = tensor_bytes / model.tensor_bytes
    changed = msgspec.structs.replace(
        model,
        label=label,
        types=(TypeShare(label, 0, model.parameters, tensor_bytes),),
        tensor_bytes=tensor_bytes,
        active_bytes=None if model.active_bytes is None else round(model.active_bytes * share),
        notes=(_NOT_MADE,),
    )
    return msgspec.structs.replace(candidate, name=f"{label} (of {candidate.name})", model=changed)


def _with_weights(found: MemoryPrediction, model: ModelFile) -> MemoryPrediction:
    """The prediction of a file with the weights of a quant of it, where most of them lay."""
    weights = [part for part in found.parts if part.what == "weights" and not part.idle]
    largest = max(weights, key=lambda part: part.bytes)
    words = f"{model.tensor_bytes} B by a dry run of quantising {model.path.name} to {model.label}"
    part = msgspec.structs.replace(largest, bytes=model.tensor_bytes, basis="engine plan", arithmetic=words)
    return msgspec.structs.replace(found, parts=(part, *(part for part in found.parts if part.what != "weights")))


def _changed(candidate: Candidate, kv: str, wanted: Wanted) -> dict[str, str]:
    """The launch settings of a candidate with another type of cache and another context."""
    options = options_of(candidate.target.engine, candidate.model, kv, wanted, {})
    return {name: value for name, value in options.items() if name in WANTED_OPTIONS}


def _own_profile() -> MachineProfile | None:
    """What was measured of this machine and saved; `None` if nothing was, or more than one machine's."""
    found: list[MachineProfile] = []
    for file in toml_files((own_folder(),)):
        try:
            found.append(read_machine(file))
        except TargetError:
            continue  # told where it is named: dyno quant --machine
    measured = [one for one in found if one.provenance == "measured"]
    return measured[0] if len(measured) == 1 else None
