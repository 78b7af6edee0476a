"""The columns of the table of quants: head, and a row's cell as text. `None` is what is not known of that row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, NamedTuple, TypeVar

from profiler.quant_document import QuantDocument, QuantRow
from profiler.report.figures import rate, seconds, share
from profiler.report.memory import size

__all__ = ["GROUPS", "Column", "legend"]

_STATES = {
    "better": "better than",
    "held": "no loss against",
    "not shown": "not told from",
    "broken": "seems to lose against",
    "worse": "worse than",
}
_WIDEST: Final = 5
"""An interval whose ends are farther apart than this factor says nothing, and would look as if it did."""
Number = TypeVar("Number", int, float)

_FITS = {
    "fits": "yes",
    "fits_with_smaller_kv": "smaller KV",
    "fits_with_less_context": "less context",
    "spills": "spills",
    "does_not_fit": "no",
    "unknown": "?",
}


class Column(NamedTuple):
    """A column: its head for a document, and its cell for a row."""

    head: Callable[[QuantDocument], str]
    cell: Callable[[QuantRow], str | None]
    justify: Literal["left", "right"] = "right"
    narrow: bool = True


def _bits(row: QuantRow) -> str:
    return f"{row.bits_per_weight:.2f}"


def _size(row: QuantRow) -> str:
    return size(row.tensor_bytes)


def _kv(row: QuantRow) -> str:
    return row.kv


def _must_have(row: QuantRow) -> str | None:
    measured = row.memory.measured_must_have_bytes
    predicted = row.memory.predicted_must_have_bytes if measured is None else row.memory.predicted_at_fill_bytes
    return _both(predicted, measured, size)


def _in_all(row: QuantRow) -> str | None:
    whole = row.memory.full_context_bytes
    return size(whole) if row.memory.full_context_measured else _both(whole, None, size)


def _error(row: QuantRow) -> str | None:
    return None if row.memory.error is None else f"{row.memory.error * 100:+.1f} %".replace("-", "−")


def _fits(row: QuantRow) -> str | None:
    return None if row.memory.fits is None else _FITS.get(row.memory.fits, row.memory.fits)


def _decode(row: QuantRow) -> str | None:
    return _both(row.speed.predicted_decode_tokens_per_s, row.speed.decode_tokens_per_s, rate)


def _decode_span(row: QuantRow) -> str | None:
    low, high = row.speed.decode_low, row.speed.decode_high
    if low is None or high is None:
        return None
    return f"{rate(low)} … {rate(high)}" if high <= _WIDEST * low else "too wide to say"


def _prefill(row: QuantRow) -> str | None:
    return _both(row.speed.predicted_prefill_tokens_per_s, row.speed.prefill_tokens_per_s, rate)


def _dispatch(row: QuantRow) -> str | None:
    return seconds(row.tasks.dispatch_s) if row.tasks and row.tasks.dispatch_s is not None else None


def _kld(row: QuantRow) -> str | None:
    if row.quality is None:
        return None
    low, high = row.quality.kld_low, row.quality.kld_high
    half = f" ± {(high - low) / 2:.1g}" if low is not None and high is not None else ""
    return f"{row.quality.kld:.2g}{half}"


def _floor(row: QuantRow) -> str | None:
    return None if row.quality is None or row.quality.kld_floor is None else f"{row.quality.kld_floor:.1g}"


def _band(row: QuantRow) -> str | None:
    return None if row.quality is None else row.quality.band


def _same_top(row: QuantRow) -> str | None:
    return None if row.quality is None else share(row.quality.same_top)


def _flips(row: QuantRow) -> str | None:
    return None if row.flips is None else f"{row.flips.changed} (+{row.flips.up} −{row.flips.down})"


def _cache(row: QuantRow) -> str | None:
    if row.cache is None or row.cache.full_miss_rate is None:
        return None
    return f"{share(row.cache.full_miss_rate)} of {row.cache.continuations}"


def _passed(row: QuantRow) -> str | None:
    if row.tasks is None:
        return None
    if row.tasks.judged:
        return f"{row.tasks.passed}/{row.tasks.judged}"
    return None if row.tasks.score is None else f"{row.tasks.score:.2f} of {row.tasks.dispatches}"


def _state(row: QuantRow) -> str | None:
    if row.tasks is None or row.tasks.state is None:
        return None
    return f"{_STATES[row.tasks.state]} {row.tasks.baseline}"


def _both(predicted: Number | None, measured: Number | None, shown: Callable[[Number | None], str]) -> str | None:
    """`predicted → measured`; a prediction alone carries a mark that it is one."""
    if predicted is None and measured is None:
        return None
    if measured is None:
        return f"~{shown(predicted)}"
    return shown(measured) if predicted is None else f"{shown(predicted)} → {shown(measured)}"


def _named(head: str) -> Callable[[QuantDocument], str]:
    return lambda _document: head


def _depth(document: QuantDocument) -> str:
    depths = {depth for row in document.candidates if (depth := _depth_of(row)) is not None}
    at = f"{min(depths):,}" if len(depths) == 1 else "depth" if depths else "?"
    return f"decode at {at}"


def _depth_of(row: QuantRow) -> int | None:
    return row.speed.depth_tokens if row.speed.depth_tokens is not None else row.speed.predicted_depth_tokens


GROUPS: Final[tuple[tuple[str, tuple[Column, ...]], ...]] = (
    (
        "does it fit?",
        (
            Column(_named("bits"), _bits),
            Column(_named("weights"), _size),
            Column(_named("KV"), _kv, "left"),
            Column(_named("must have"), _must_have),
            Column(_named("error"), _error),
            Column(_named("in all"), _in_all),
            Column(_named("fits"), _fits, "left"),
        ),
    ),
    (
        "how fast?",
        (
            Column(_depth, _decode),
            Column(_named("interval"), _decode_span),
            Column(_named("prefill"), _prefill),
            Column(_named("a dispatch"), _dispatch),
        ),
    ),
    (
        "how good?",
        (
            Column(_named("KLD"), _kld),
            Column(_named("floor"), _floor),
            Column(_named("band"), _band, "left", narrow=False),
            Column(_named("same top"), _same_top),
            Column(_named("flips"), _flips),
        ),
    ),
    (
        "at work?",
        (
            Column(_named("full misses"), _cache),
            Column(_named("tasks"), _passed),
            Column(_named("by tasks"), _state, "left", narrow=False),
        ),
    ),
)
"""The questions in the order in which they decide, each with its columns."""


def legend(document: QuantDocument) -> list[str]:
    """What the columns mean, with the n of what is shown in percent; of columns that are not shown, nothing."""
    rows = document.candidates
    lines: list[str] = []
    if any(row.memory.measured_bytes is not None for row in rows):
        lines.append(_must_have_words(document))
    if any(not row.memory.full_context_measured and row.memory.full_context_bytes is not None for row in rows):
        lines.append("~ a prediction")
    if rows:
        lines.append(_in_all_words(document))
    repeats = sorted({row.speed.repeats for row in rows if row.speed.repeats})
    if repeats:
        lines.append(f"decode and prefill: tokens/s, predicted → measured, {_span(repeats)} repeats, interval of 95 %")
    scored = [row.quality for row in rows if row.quality is not None]
    if scored:
        tokens, chunks = (sorted({getattr(one, name) for one in scored}) for name in ("scored_tokens", "chunks"))
        references = ", ".join(sorted({one.reference for one in scored}))
        lines.append(
            f"KLD: nats a token against {references}, interval of 95 % over {_span(chunks)} chunks; "
            f"same top: of {_span(tokens)} tokens; ~ near-lossless: a tie, KLD does not rank these"
        )
    positions = sorted({row.flips.positions for row in rows if row.flips is not None})
    if positions:
        lines.append(f"flips: of {_span(positions)} tool calls, how many changed (+ became right, − became wrong)")
    compared = next((row.tasks for row in rows if row.tasks is not None and row.tasks.baseline is not None), None)
    if compared is not None:
        held = "no loss: one of more than 0.1 is ruled out"
        lines.append(f"tasks: passed of judged; by tasks: paired over {compared.tasks} tasks ({held})")
    return lines


def _must_have_words(document: QuantDocument) -> str:
    """What was filled when it was measured, in words: only a prediction for that is set against it."""
    rows = document.candidates
    loads = sorted({len(row.speed.load_s) for row in rows if row.speed.load_s})
    n = f" (n = {_span(loads)} loads each)" if loads else ""
    fills = sorted({row.memory.measured_at_tokens for row in rows if row.memory.measured_at_tokens is not None})
    where = f"at {_span(fills)} of {document.context_tokens:,} tokens" if fills else "after loading"
    compared = any(row.memory.error is not None for row in rows)
    how = "predicted for that → measured, the prediction's error" if compared else "measured"
    return f"must have: what cannot be dropped, host and GPU, {where}, {how}{n}"


def _in_all_words(document: QuantDocument) -> str:
    grown = any(
        row.memory.full_context_measured and row.memory.full_context_bytes != row.memory.measured_bytes
        for row in document.candidates
    )
    rest = " (what was not filled is predicted)" if grown else ""
    return f"in all: with a full context{rest} and the pages of the file that each token reads; fits: by prediction"


def _span(values: list[int]) -> str:
    return f"{values[0]:,}" if len(values) == 1 else f"{values[0]:,} to {values[-1]:,}"
