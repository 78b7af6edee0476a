"""Whether dyno names the causes of lost cache tokens: faults put into sessions on purpose, on real engines.

Each case is a session into which a cause was put (or none), an engine, a cache kind and a seed. dyno replays it,
stores it and explains it as any other run; what it names is compared, request by request, with what was put in.

    python -m benchmarks.injected_causes                      a case of each cause, on one engine
    python -m benchmarks.injected_causes --full --runs DIR    all; what DIR has is read again, and not sent again

Run: `make proofs`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from backends.base import CacheKind
from benchmarks.injection.case import CLEAN, Case, Form
from benchmarks.injection.clean_forms import CLEAN_FORMS
from benchmarks.injection.engine_forms import ENGINE_FORMS
from benchmarks.injection.harder_forms import HARDER_FORMS
from benchmarks.injection.head_forms import HEAD_FORMS
from benchmarks.injection.history_forms import HISTORY_FORMS
from benchmarks.injection.judging import Outcome
from benchmarks.injection.mixed_forms import MIXED_FORMS
from benchmarks.injection.models import write_models
from benchmarks.injection.reporting import as_json, as_markdown
from benchmarks.injection.running import Place, is_stored, outcomes, size_of
from benchmarks.injection.templates import write_templates

FORMS: Final[tuple[Form, ...]] = (
    *HEAD_FORMS,
    *HISTORY_FORMS,
    *ENGINE_FORMS,
    *HARDER_FORMS,
    *MIXED_FORMS,
    *CLEAN_FORMS,
)
FORCING: Final = ("llama-server", "llama-cpp", "mlx")
ENGINES: Final[tuple[tuple[str, CacheKind], ...]] = (
    ("llama-server", "full"),
    ("llama-server", "sliding_window"),
    ("llama-server", "recurrent"),
    ("llama-cpp", "full"),
    ("llama-cpp", "recurrent"),
    ("llama-cpp-server", "full"),
    ("mlx", "full"),
    ("mlx", "sliding_window"),
    ("mlx", "recurrent"),
    ("mlx-server", "full"),
    ("mlx-server", "sliding_window"),
    ("mlx-server", "recurrent"),
)


def main() -> None:
    """Run the cases and print the tables; every outcome is written as soon as it is known."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    scope = parser.add_mutually_exclusive_group()
    scope.add_argument("--quick", action="store_true", help="a form of each cause on the first engine (the default)")
    scope.add_argument("--full", action="store_true", help="every form on all engines and kinds, from several seeds")
    parser.add_argument("--engines", nargs="+", help="only these, as engine/kind")
    parser.add_argument("--forms", nargs="+", help="only forms whose code.name holds one of these")
    parser.add_argument("--seeds", type=int, nargs="+")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=Path, help="keep the runs here; those that it has are not sent again")
    parser.add_argument("--again", action="store_true", help="only judge what the runs hold; send nothing")
    parser.add_argument("--report", type=Path, help="write the tables as Markdown, and beside it as JSON")
    arguments = parser.parse_args()
    engines = ENGINES if arguments.full else ENGINES[:1]
    if arguments.engines:
        engines = tuple(one for one in ENGINES if "/".join(one) in arguments.engines)
    seeds = arguments.seeds or ([1, 2, 3] if arguments.full else [1])
    some = FORMS if arguments.full or arguments.forms else quick(FORMS)
    wanted = tuple(f for f in some if not arguments.forms or any(p in f"{f.code}.{f.name}" for p in arguments.forms))
    cases = cases_of(wanted, engines, seeds)
    done: list[Outcome] = []
    with tempfile.TemporaryDirectory(prefix="dyno-battery-") as folder:
        place = _place(Path(folder), engines, arguments.threads, arguments.runs)
        if arguments.again:
            cases = [case for case in cases if is_stored(place, case)]
        try:
            for outcome in outcomes(place, cases):
                done.append(outcome)
                _say(outcome, len(done), len(cases))
        except KeyboardInterrupt:
            print("interrupted: what was sent is kept", file=sys.stderr)
    made = {case.name: case.made(size_of(case.engine)) for case in cases}
    print(as_markdown(done, made))
    if arguments.report is not None:
        arguments.report.write_text(as_markdown(done, made))
        arguments.report.with_suffix(".json").write_text(as_json(done, made))


def quick(forms: Sequence[Form]) -> tuple[Form, ...]:
    """The first form of each cause, and those in which nothing is wrong."""
    first = {form.code: form for form in reversed(forms)}
    return tuple(form for form in forms if form.code == CLEAN or first[form.code] is form)


def cases_of(forms: Sequence[Form], engines: Sequence[tuple[str, CacheKind]], seeds: Sequence[int]) -> list[Case]:
    """Every form on every engine and kind on which it can occur, from every seed."""
    return [
        Case(form, engine, kind, seed)
        for engine, kind in engines
        for form in forms
        if form.fits(engine, kind) and (not form.forced or engine in FORCING)
        for seed in seeds
    ]


def _place(folder: Path, engines: Sequence[tuple[str, CacheKind]], threads: int, runs: Path | None) -> Place:
    runs = runs or folder / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    return Place(write_models(folder, engines), write_templates(folder), runs, threads)


def _say(outcome: Outcome, number: int, count: int) -> None:
    state = outcome.skipped or ("right" if not outcome.faults else "")
    print(f"{number}/{count} {outcome.name} {outcome.seconds} s {state}", file=sys.stderr)
    for fault in outcome.faults:
        print("   ", json.dumps(msgspec.to_builtins(fault)), file=sys.stderr)


if __name__ == "__main__":
    main()
