"""What `dyno ab --json` and `dyno aa --json` print: a comparison of arms, what it rests on, every point. Only structs.

Its JSON Schema is docs/ab.schema.json, made from these types. Ratios and differences are treatment against baseline,
the first arm. Unknown is `None`; a bound that is `None` beside one that is not means that there is none on that side.
"""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = [
    "AbDocument",
    "ArmRow",
    "CacheRow",
    "ComparisonRow",
    "DoubtRow",
    "GuardRow",
    "MetricRow",
    "ModeRow",
    "PartRow",
    "PointRow",
    "SequentialRow",
    "TaskRow",
    "Word",
]

SCHEMA = 1
Word = Literal["better", "worse", "equivalent", "cannot tell"]


class MetricRow(msgspec.Struct, frozen=True):
    """One metric of one comparison, with its interval and all that it rests on.

    `scale` says what `value` is: a `ratio`, a `difference` (of rates: 0.1 is ten points), or another share.
    `exploratory` ones were not declared, and their p is not corrected; `adjusted_p` is Holm's over the declared ones.
    `detectable` is the smallest effect that so many tasks with this spread would show in 80 % of experiments: a ratio
    below 1, or a difference.
    `text` is the figure with its interval and its n.
    """

    metric: str
    scale: str
    method: str
    value: float | None
    low: float | None
    high: float | None
    confidence: float | None
    p: float | None
    pairs: int
    tasks: int
    exploratory: bool
    better: Literal["lower", "higher"]
    text: str
    adjusted_p: float | None = None
    detectable: float | None = None
    notes: tuple[str, ...] = ()


class GuardRow(msgspec.Struct, frozen=True):
    """A metric that must not get worse by more than `margin`: whether that is shown to have held.

    `pairs_needed`: where it is not shown, about how many pairs in all would; `None`: more than can be planned.
    """

    metric: MetricRow
    margin: float
    state: Literal["held", "not shown", "broken"]
    pairs_needed: int | None = None


class SequentialRow(msgspec.Struct, frozen=True):
    """The test that is looked at after every pair, as it stands: `e_value` decides once it has reached `decides_at`.

    `decided_pairs`: the pairs that there were then, and `decided_order` the dispatch after which. `win_low` and
    `win_high` bound the chance that the treatment is better in a pair, `ratio_low` and `ratio_high` the ratio of a
    typical (median) pair; both hold at every look. `text` is the figure in words.
    """

    pairs: int
    planned_pairs: int
    won: int
    lost: int
    tied: int
    e_value: float
    decides_at: float
    decided_pairs: int | None
    decided_order: int | None
    confidence: float
    win_low: float | None
    win_high: float | None
    ratio_low: float | None
    ratio_high: float | None
    text: str


class TaskRow(msgspec.Struct, frozen=True):
    """The primary metric on one task: `value` over its pairs, each of which is in `pairs`, by block.

    A ratio or a difference, as in the metric; `None` for a pair in which not both arms have an end. `won` and `lost`
    count the pairs in which the treatment was better or worse, those where one arm alone succeeded too.
    """

    task: str
    scale: Literal["ratio", "difference"]
    value: float | None
    pairs: tuple[float | None, ...]
    won: int | None
    lost: int | None
    baseline_passed: int
    treatment_passed: int


class PartRow(msgspec.Struct, frozen=True):
    """A part of the time of a dispatch, mean over tasks. `lost` is prefill that a cause took (`code`; `P1+P4`: several
    together, in dispatches too short to price each), `prefill` the rest of it: new text. `whole` is the sum of all.
    """

    part: str
    code: str | None
    title: str | None
    baseline_s: float
    treatment_s: float
    difference_s: float
    low_s: float | None
    high_s: float | None
    pairs: int
    tasks: int


class ModeRow(msgspec.Struct, frozen=True):
    """Times that fall into two groups: how often an arm is in the slow one, with Wilson's interval."""

    arm: str
    slow: int
    dispatches: int
    low: float | None
    high: float | None


class ComparisonRow(msgspec.Struct, frozen=True):
    """A treatment against the baseline; `sentence` is the verdict in words.

    `beside` are other estimates of the primary metric, which should agree.

    `power` is the chance to find an effect as large as the margin, with the spread that was seen. `more_blocks` and
    `more_tasks` would each decide, about, where it cannot be told; `None` where nothing feasible would.

    With `sequential` the plan declared early stopping, and that test alone gave the word: every interval and every p of
    the other rows is for a fixed number of dispatches, and is too sure here.
    """

    baseline: str
    treatment: str
    word: Word
    sentence: str
    primary: MetricRow
    margin: float
    beside: tuple[MetricRow, ...]
    guards: tuple[GuardRow, ...]
    metrics: tuple[MetricRow, ...]
    parts: tuple[PartRow, ...]
    order: tuple[MetricRow, ...]
    modes: tuple[ModeRow, ...]
    power: float | None
    more_blocks: int | None
    more_tasks: int | None
    reasons: tuple[str, ...]
    tasks: tuple[TaskRow, ...] = ()
    sequential: SequentialRow | None = None


class CacheRow(msgspec.Struct, frozen=True):
    """What an arm's cache did, over the requests of its dispatches. `hits`, `partial` and `full_misses` count
    continuations; `firsts` had nothing of their conversation to reuse, and `unknown` says nothing.

    A sum is `None` where it is not known of one request. `lost_tokens` is what an earlier request had evaluated and was
    not reused; of that, `lost_by_cause_tokens` is what was still in the prompt and so evaluated again, by the codes of
    `dyno explain`: text that was cleared is in the first alone.
    """

    requests: int
    hits: int
    partial: int
    full_misses: int
    firsts: int
    unknown: int
    prompt_tokens: int | None
    evaluated_tokens: int | None
    lost_tokens: int | None
    lost_by_cause_tokens: dict[str, int]


class ArmRow(msgspec.Struct, frozen=True):
    """One arm. `differs` are the levers in which it is not the baseline, with both values.

    `faults` are dispatches that the infrastructure ended: no outcomes, so they are in no figure. `rate_low` and
    `rate_high` are Wilson's interval of `passed` in `outcomes`. `pass_all` is the mean over tasks of the chance that
    all blocks of a task pass, `pass_any` that one does.
    """

    name: str
    setting: str
    target: str | None
    agent: str
    differs: dict[str, tuple[str, str]]
    outcomes: int
    passed: int
    rate_low: float | None
    rate_high: float | None
    pass_any: float | None
    pass_all: float | None
    faults: int
    median_s: float | None
    cache: CacheRow | None = None


class PointRow(msgspec.Struct, frozen=True):
    """One dispatch as it was; `time_s` is `None` of one that was simulated. `doubts` are reasons to distrust its times;
    `excluded`: it ended in a fault.
    """

    order: int
    block: int
    arm: str
    task: str
    attempt: int
    run: str
    dispatch_id: str
    exit_status: str
    success: bool | None
    score: float | None
    time_s: float | None
    measures: dict[str, float | None]
    excluded: bool
    doubts: tuple[str, ...] = ()


class DoubtRow(msgspec.Struct, frozen=True):
    """A reason to distrust times: how many dispatches it concerns, and its text where it was worst.

    `code` is one of `profiler.guards.CODES`.
    """

    code: str
    dispatches: int
    worst: str


class AbDocument(msgspec.Struct, frozen=True):
    """An experiment. `done` of `planned` dispatches have an outcome or were given up after two faults; `not_needed`
    were not run, because their arm was decided before. `stopped`: nothing is left, and some were not needed.

    `kind` is `aa` where both arms are the same: any difference is then noise. `detectable` is the smallest effect that
    the plan was said to find, a ratio, before anything ran.
    """

    experiment: str
    kind: Literal["ab", "aa"]
    title: str
    status: Literal["complete", "partial", "stopped"]
    fidelity: str
    cache: str
    baseline: str
    tasks: tuple[str, ...]
    blocks: int
    seed: int
    planned: int
    done: int
    primary: str
    detectable: float | None
    arms: tuple[ArmRow, ...]
    comparisons: tuple[ComparisonRow, ...]
    points: tuple[PointRow, ...]
    engines: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    not_needed: int = 0
    doubts: tuple[DoubtRow, ...] = ()
    schema: int = SCHEMA
