"""Where the steps of a comparison of quants are done: each candidate loaded, warmed and watched for its sitting.

A sitting begins with anchors: the first reads the pages of the file and counts for nothing, the others tell whether
the machine is as it was. What a dispatch finds in the cache is what the one before it left, in the same order for all
candidates. What the machine did meanwhile is stored beside the figures, and judged when they are read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from backends import open_engine
from backends.base import Engine, EngineDied, EngineError, KeepsTime, Target
from harness.cli.opened_site import OpenedSite, opened_site
from harness.cli.work_order import WorkAsked, order_of, work_of
from harness.dispatch import run_dispatch
from harness.plan_folder import next_load
from harness.quant.base import CacheStability, Candidate, TaskResult
from harness.quant.depths import DepthSample, fitting, measure_depths
from harness.quant.flips import Position, ask
from harness.quant.plan import QuantPlan, Step
from harness.quant.running import Performs
from harness.quant.scoring import Bench
from harness.quant.steps import CACHE_IDS, CacheFound, CallsFound, Found, Loaded, RatesFound, StepDone, TaskDone
from harness.quant.store import StoredComparison
from harness.replay import Plan as ReplayPlan
from harness.replay import replay
from harness.run_sessions import described
from harness.sandbox.base import Capabilities, Sandbox
from harness.sessions import Session
from harness.settings import Setting, find_setting, levers
from profiler.anchor import measure_anchor
from profiler.calibration import GONE
from profiler.measure import measure
from profiler.probe import cold_request, finished
from profiler.quality.errors import QualityError
from profiler.record_lines import read_lines
from profiler.records import AnchorSample, RequestRecord
from profiler.residency.records import ResidencySample
from profiler.residency.sampler import MemorySampler
from profiler.residency.summary import summarise_residency
from profiler.summary import summarise

__all__ = ["QuantStand", "given_up"]

ANCHORS = 3
"""In a row, of which the middle one counts: one of a small model takes milliseconds, and is noise."""


BATCH_CHARACTERS, BATCH_CONTEXT_TOKENS = 2400, 2048
"""Of a prompt that has a batch of 512 tokens in any tokenizer, and the context that it needs."""


class _Given(NamedTuple):
    """What is the same for all sittings."""

    plan: QuantPlan
    setting: Setting
    positions: tuple[Position, ...]
    sessions: tuple[Session, ...]


class QuantStand:
    """Does the steps of one comparison, one at a time."""

    def __init__(
        self,
        stored: StoredComparison,
        sandbox: Sandbox,
        capabilities: Capabilities,
        *,
        positions: Sequence[Position],
        sessions: tuple[Session, ...],
        scoring: Bench,
    ) -> None:
        """`positions` and `sessions` are the plan's; `scoring` measures quality."""
        plan = stored.comparison.plan
        self.given = _Given(plan, find_setting(plan.setting), tuple(positions), sessions)
        self._path = stored.path
        self._sandbox, self._capabilities = sandbox, capabilities
        self._scoring = scoring

    @contextmanager
    def sit(self, steps: tuple[Step, ...]) -> Generator[Performs]:
        """Load what the steps need. Raises EngineError, StoreError."""
        candidate = self.given.plan.choice.named(steps[0].candidate)
        if steps[0].kind == "quality":
            yield lambda step: self._timed(step, lambda: self._scoring.measure(candidate))
            return
        load = _TimedOpener()
        name = next_load(self._path)
        site = opened_site(
            candidate.target,
            self._path,
            "quant",
            self._settings(candidate, steps[0].round),
            self._sandbox,
            self._capabilities,
            run_id=name,
            probing=False,
            opener=load,
        )
        with site as opened:
            sitting = _Sitting(self.given, opened, candidate, load.took_s)
            yield lambda step: self._timed(step, lambda: sitting.found(step), opened)

    def _timed(self, step: Step, measure: Callable[[], Found], opened: OpenedSite | None = None) -> StepDone:
        began, clock = time.monotonic(), opened.site.clock if opened else None
        start_ns = clock() if clock else None
        found = measure()
        return StepDone(
            step=step,
            found=found,
            took_s=time.monotonic() - began + (found.load_s if isinstance(found, Loaded) else 0.0),
            load=opened.path.name if opened else None,
            window_ns=(start_ns, clock()) if clock and start_ns is not None else None,
            at_unix_ns=time.time_ns(),  # noqa: TID251 (the date of a step)
        )

    def _settings(self, candidate: Candidate, round_: int) -> dict[str, Any]:
        return {
            "comparison": self._path.name,
            "candidate": candidate.name,
            "round": round_,
            "setting": self.given.plan.setting,
            "levers": dict(levers(self.given.setting)),
            "fidelity": self.given.plan.fidelity,
            "sandbox": msgspec.to_builtins(self._capabilities),
            **described(self.given.sessions, self.given.plan.named_sessions),
        }


class _TimedOpener:
    """Opens an engine, and tells how long it took until it was ready."""

    took_s = 0.0

    def __call__(self, target: Target) -> Engine:
        began = time.perf_counter()
        engine = open_engine(target)
        self.took_s = time.perf_counter() - began
        return engine


class _Sitting:
    """One load of one candidate."""

    def __init__(self, given: _Given, opened: OpenedSite, candidate: Candidate, load_s: float) -> None:
        self._given, self._opened, self._candidate, self._load_s = given, opened, candidate, load_s
        assert opened.engine is not None
        self._engine: Engine = opened.engine
        self._number = 0
        self._anchor("warm-up")
        self._anchors = tuple(self._anchor(str(number)) for number in range(ANCHORS))

    def found(self, step: Step) -> Found:
        """What a step found. Raises EngineError, SandboxError, StoreError, TaskError, SettingError."""
        if step.kind == "load":
            return self._loaded()
        if step.kind == "rates":
            return self._rates(step)
        if step.kind == "calls":
            asked = self._given.positions
            calls = ask(self._engine, asked, clock=self._opened.site.clock)
            return CallsFound(tuple(one.name for one in asked), tuple(one.recorded for one in asked), calls)
        if step.kind == "task":
            return self._task(step)
        return self._cache()

    def _anchor(self, label: str) -> AnchorSample:
        opened = self._opened
        sample = measure_anchor(self._engine, opened.ledger, f"{opened.path.name} {label}", opened.site.clock)
        opened.site.writer.anchor(sample)
        return sample

    def _loaded(self) -> Loaded:
        filled_tokens: int | None = None
        if self._given.plan.wanted.context_tokens >= BATCH_CONTEXT_TOKENS:
            # What an engine reserves for a batch is its own only once it was written to.
            batch = cold_request(self._opened.path.name, BATCH_CHARACTERS, 1)
            filled_tokens = finished(measure(self._engine, batch), "the warm-up").evidence.prompt_tokens
        samples: list[ResidencySample] = []
        if not isinstance(self._engine, KeepsTime):
            with MemorySampler(self._engine.pids, samples.append):
                pass
        last = samples[-1] if samples and samples[-1].processes else None
        return Loaded(
            load_s=self._load_s,
            must_have_bytes=last.must_have_bytes if last else None,
            file_bytes=last.file_bytes if last else None,
            device_bytes=_device_bytes(self._opened),
            anchors=self._anchors,
            build=self._opened.info.facts.build,
            filled_tokens=filled_tokens,
        )

    def _rates(self, step: Step) -> RatesFound:
        plan = fitting(self._given.plan.amount.depths, self._given.plan.wanted.context_tokens)
        nonce = f"{self._opened.path.name} round {step.round}"
        samples = measure_depths(self._engine, plan, nonce, self._opened.site.clock)
        return RatesFound(samples, _generated(samples, plan.decode_tokens))

    def _task(self, step: Step) -> TaskDone:
        assert step.task is not None
        self._number += 1
        plan, opened = self._given.plan, self._opened
        asked = WorkAsked(target=str(self._candidate.target), rehearse=plan.fidelity == "rehearse")
        order = order_of(asked, step.task, step.round - 1, self._given.setting, plan.setting)
        work = work_of(asked, order, opened.site, opened.sender(order.fidelity))
        record = run_dispatch(order, opened.site, work, number=self._number)
        if record.error is not None and record.error.kind in GONE:
            raise EngineDied(f"the engine went away during {step.task}: {record.error.message}")
        outcome = record.outcome
        if record.exit_status in ("infra_fault", "aborted") or not outcome.valid:
            why = record.error.message if record.error else "; ".join(outcome.notes) or "the verifier failed"
            return TaskDone(None, record.dispatch_id, why)
        success = outcome.verified == "pass" if outcome.verified != "not_run" else None
        wall_s = record.totals.wall_ns / 1e9
        return TaskDone(TaskResult(step.task, step.round, success, outcome.score, wall_s), record.dispatch_id)

    def _cache(self) -> CacheFound:
        opened = self._opened
        opened.forget()
        records: list[RequestRecord] = []
        for record, kept in replay(self._engine, ReplayPlan(self._given.sessions), ledger=opened.ledger):
            numbered = msgspec.structs.replace(record, request_id=CACHE_IDS + record.request_id)
            opened.site.writer.request(numbered, kept.body, kept.rendered)
            records.append(numbered)
        verdict = summarise(opened.info, records).verdict
        return CacheFound(
            CacheStability(
                full_miss_rate=verdict.full_miss_rate,
                reuse_efficiency=verdict.reuse_efficiency,
                lost_s_per_dispatch=verdict.lost_s_per_dispatch,
                continuations=verdict.continuations,
            )
        )


def given_up(step: Step, error: EngineError | QualityError) -> StepDone:
    """What is stored of a step that failed."""
    hint = f" ({error.hint})" if error.hint else ""
    return StepDone(step, None, 0.0, failed=f"{error}{hint}", at_unix_ns=time.time_ns())  # noqa: TID251 (a date)


def _device_bytes(opened: OpenedSite) -> int | None:
    samples, _ = read_lines(Path(opened.path) / "residency.jsonl", ResidencySample)
    found = summarise_residency(opened.info, (), samples)
    return found.gpu_peak_bytes if found else None


def _generated(samples: Sequence[DepthSample], each: int) -> int | None:
    told = [sample for sample in samples if sample.decode_tokens_per_s is not None]
    return each * len(told) if told else None
