"""Whether the seconds that dyno charges a cause with are those that it took: injected sessions beside repaired twins.

Prints one JSON object with the median relative error, its quartiles, and each case. Timings on a busy machine are
noisy, which is part of the result; the load is given. Run: `make proofs`.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from backends.base import CacheKind
from benchmarks.injected_causes import FORMS, cases_of
from benchmarks.injection.models import write_models
from benchmarks.injection.running import Place
from benchmarks.injection.templates import write_templates
from benchmarks.injection.twins import Twin, errors, twins

ENGINES: Final[tuple[tuple[str, CacheKind], ...]] = (("llama-server", "full"), ("llama-cpp", "full"))
LEAST_S = 0.02
"""Where the difference is smaller than this, a few milliseconds of noise are more than the target."""


def main() -> None:
    """Run the twins and print what came of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engines", nargs="+", choices=["/".join(one) for one in ENGINES])
    parser.add_argument("--forms", nargs="+", help="only forms whose code.name holds one of these")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--out", type=Path, help="append each case here as a JSON line; those it has are not sent again"
    )
    arguments = parser.parse_args()
    engines = [one for one in ENGINES if not arguments.engines or "/".join(one) in arguments.engines]
    wanted = [f for f in FORMS if not arguments.forms or any(p in f"{f.code}.{f.name}" for p in arguments.forms)]
    load = os.getloadavg()[0]
    found = _read(arguments.out)
    known = {twin.name for twin in found}
    with tempfile.TemporaryDirectory(prefix="dyno-twins-") as folder:
        runs = Path(folder) / "runs"
        runs.mkdir()
        place = Place(write_models(Path(folder), engines), write_templates(Path(folder)), runs, arguments.threads)
        cases = [case for case in cases_of(wanted, engines, arguments.seeds) if case.name not in known]
        for twin in twins(place, cases, arguments.rounds, _say):
            found.append(twin)
            _keep(arguments.out, twin)
            print(f"{twin.name}: said {twin.said:.4f} s, measured {twin.measured_s:.4f} s", file=sys.stderr)
    result = {"rounds": arguments.rounds, "threads": arguments.threads, "load_average": [load, os.getloadavg()[0]]}
    print(json.dumps({**result, **summary(found)}, indent=2))


def summary(found: Sequence[Twin]) -> dict[str, object]:
    """The errors in all, where the difference is large enough to be measured, and by cause."""
    large = [twin for twin in found if twin.measured_s >= LEAST_S]
    codes = sorted({twin.code for twin in large})
    return {
        "least_s": LEAST_S,
        "too_small": [twin.name for twin in found if twin.measured_s < LEAST_S],
        "all": errors(large),
        "by_cause": {code: errors([twin for twin in large if twin.code == code]) for code in codes},
        "cases": [
            {
                "name": twin.name,
                "lost_tokens": twin.lost_tokens,
                "said_s": round(twin.said, 4),
                "measured_s": round(twin.measured_s, 4),
                "each_round_s": [round(s, 4) for s in twin.each_s],
                "error": round(twin.error, 3) if twin.measured_s else None,
            }
            for twin in found
        ],
    }


def _read(path: Path | None) -> list[Twin]:
    if path is None or not path.exists():
        return []
    return [msgspec.json.decode(line, type=Twin) for line in path.read_bytes().splitlines()]


def _keep(path: Path | None, twin: Twin) -> None:
    if path is not None:
        with path.open("ab") as file:
            file.write(msgspec.json.encode(twin) + b"\n")


def _say(text: str) -> None:
    print(text, end="\r", file=sys.stderr)


if __name__ == "__main__":
    main()
