"""What the ledger costs: 200 turns up to 128k tokens, append-only and with a difference near the start in every turn.

The second is the worst case for memory (no sequence extends another), the interleaved one for time. The ratio is
against one plain copy of the same prompt bytes, the least that any comparison must touch. Run: `make bench`.
"""

from __future__ import annotations

import json
import random
import statistics
import time
from array import array

from profiler.ledger import TOKEN_BYTES, Ledger

TURNS, TOKENS = 200, 131_072


def main() -> None:
    """Print one JSON object: time a turn (median and worst), and the memory held."""
    rng = random.Random(5)
    base = array("i", (rng.randrange(150_000) for _ in range(TOKENS)))
    print(json.dumps({"turns": TURNS, "tokens": TOKENS, **{kind: run(kind, base) for kind in KINDS}}, indent=2))


def prompt_of(kind: str, base: array[int], turn: int) -> tuple[str, array[int]]:
    """The prompt of one turn, of `TOKENS * (turn + 1) / TURNS` tokens."""
    prompt = base[: TOKENS * (turn + 1) // TURNS]
    if kind == "clock_at_start":
        prompt[20] = -turn
    if kind == "diverging_at_end":
        prompt[-100] = -turn
    return ("main" if kind != "diverging_at_end" else f"c{turn}"), prompt


KINDS = ("append_only", "clock_at_start", "diverging_at_end")


def run(kind: str, base: array[int]) -> dict[str, float | int]:
    """Match and add every turn of one kind."""
    ledger, spans_ns, copies_ns = Ledger(), [], []
    for turn in range(TURNS):
        conversation, prompt = prompt_of(kind, base, turn)
        start = time.perf_counter_ns()
        prompt.tobytes()
        copies_ns.append(time.perf_counter_ns() - start)
        start = time.perf_counter_ns()
        ledger.match(conversation, prompt)
        ledger.add(conversation, prompt)
        spans_ns.append(time.perf_counter_ns() - start)
    return {
        "median_ms_per_turn": round(statistics.median(spans_ns) / 1e6, 3),
        "worst_ms_per_turn": round(max(spans_ns) / 1e6, 3),
        "ratio_to_one_copy": round(statistics.median(spans_ns) / statistics.median(copies_ns), 1),
        "held_megabytes": round(ledger.held_bytes / 1e6, 1),
        "last_prompt_megabytes": round(TOKENS * TOKEN_BYTES / 1e6, 2),
    }


if __name__ == "__main__":
    main()
