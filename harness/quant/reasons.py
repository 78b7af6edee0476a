"""Why a candidate is recommended, and what the next one would cost, in plain words. No percentage without its n."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.quant.base import CandidateResult, Wanted
from harness.quant.call_evidence import flips_text
from harness.quant.damage import BAND_WORDS, NEAR_LOSSLESS, band_of, kld_text
from harness.quant.figures import NEAR_LOSSLESS_BITS, Axis, Figure, Figures, rate_at
from harness.quant.task_evidence import TASK_WORDS, TaskEvidence
from harness.quant.tiers import Tier

__all__ = [
    "cost_of",
    "details_of",
    "doubts_of",
    "headline",
    "listed",
    "number",
    "quality_words",
    "share_text",
    "size_text",
]

_GIB, _MIB = 1 << 30, 1 << 20


def headline(chosen: CandidateResult, ties: Sequence[str], figures: Mapping[str, Figures]) -> str:
    """Its quality in a word, what it is a tie with, and what it needs: one line."""
    own = figures[chosen.candidate.name]
    if chosen.quality is None:
        quality = f"{chosen.candidate.model.bits_per_weight:.2f} bits per weight"
    else:
        quality = BAND_WORDS[band_of(chosen.quality)]
    least = ", of which it needs the least memory" if _is_least(chosen.candidate.name, ties, figures) else ""
    like = f", as {listed(ties)}{least}" if ties else ""
    needs = [size_text(own["memory_bytes"].value)] if "memory_bytes" in own else []
    if "decode_per_s" in own:
        needs.append(f"{number(own['decode_per_s'].value)} tokens/s")
    return "; ".join(part for part in (quality + like, ", ".join(needs)) if part)


def details_of(
    chosen: CandidateResult,
    ties: Sequence[str],
    figures: Mapping[str, Figures],
    evidence: TaskEvidence | None,
    tiers: Mapping[str, Tier],
) -> tuple[str, ...]:
    """The quality, what tasks say, what broke the tie, and what it needs: a line each."""
    name, own = chosen.candidate.name, figures[chosen.candidate.name]
    parts = [quality_words(chosen)]
    if ties:
        parts.append(f"KLD does not rank {listed([name, *ties])}: benchmarks do not follow it there")
    if evidence is not None:
        parts.append(f"{TASK_WORDS[evidence.state]} {evidence.baseline}: {evidence.metric} {evidence.text}")
    if tiers[name].cache:
        parts.append(f"its cache is less steady: {_misses(own['cache_misses'])}")
    parts += _not_the_smaller(name, ties, figures, tiers)
    parts.append(_needs(own))
    return tuple(part for part in parts if part)


def quality_words(one: CandidateResult) -> str:
    """What is known of its quality: KLD, or what its bits let one expect."""
    if one.quality is not None:
        return f"{BAND_WORDS[band_of(one.quality)]}: {kld_text(one.quality)}"
    bits = one.candidate.model.bits_per_weight
    expected = "usually near-lossless" if bits >= NEAR_LOSSLESS_BITS else "usually not near-lossless"
    return f"quality not measured; {bits:.2f} bits per weight are {expected} in published models"


def cost_of(other: CandidateResult, chosen: CandidateResult, figures: Mapping[str, Figures]) -> str:
    """What `other` would cost and bring against `chosen`."""
    first, second = figures[chosen.candidate.name], figures[other.candidate.name]
    parts = [_against(axis, first, second) for axis in _COMPARED]
    if other.quality is not None and chosen.quality is not None:
        alike = {band_of(other.quality), band_of(chosen.quality)} <= NEAR_LOSSLESS
        quality = f"KLD {other.quality.kld.value:.2g} against {chosen.quality.kld.value:.2g} nats a token"
        quality += ", which does not tell them apart" if alike else ""
    else:
        bits, own = other.candidate.model.bits_per_weight, chosen.candidate.model.bits_per_weight
        quality = f"{bits:.2f} against {own:.2f} bits per weight"
    return "; ".join([*(part for part in parts if part), quality])


def doubts_of(chosen: CandidateResult, tier: Tier, wanted: Wanted, comparisons: int) -> tuple[str, ...]:
    """What could make the answer wrong, of the candidate that leads."""
    name = chosen.candidate.name
    found: list[str] = []
    if tier.tasks == 2:
        found.append(f"{name}: tasks suggest a loss that they do not show; more rounds would tell")
    if chosen.quality is not None and chosen.quality.floor is None:
        found.append(f"{name}: its noise floor was not measured, so part of its KLD may be the engine's")
    if band_of(chosen.quality) == "drowned":
        found.append(f"{name}: the engine's own noise hides what the quant does")
    if chosen.flips is not None and chosen.flips.down > chosen.flips.up:
        found.append(f"{name}: {flips_text(chosen.flips)}")
    rate = rate_at(chosen.measured.rates, wanted.context_tokens) if chosen.measured else None
    if rate is not None and rate.depth_tokens < wanted.context_tokens // 2:
        found.append(
            f"{name}: measured at {rate.depth_tokens:,} tokens of context, wanted are {wanted.context_tokens:,}: "
            "it is slower there"
        )
    peak = chosen.measured.must_have_peak_bytes if chosen.measured else None
    if peak is not None and wanted.memory_bytes is not None and peak > wanted.memory_bytes:
        found.append(f"{name}: grew to {size_text(peak)} in use, of {size_text(wanted.memory_bytes)} wanted")
    if comparisons == 0:
        found.append(f"{name} was compared with nothing: it is the only one that can be had")
    return tuple(found)


def listed(names: Sequence[str], shown: int = 4) -> str:
    """Names in a sentence, the first few and how many more."""
    if len(names) > shown:
        return f"{', '.join(names[:shown])} and {len(names) - shown} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def size_text(value_bytes: float) -> str:
    """Bytes in MiB or GiB, signs kept apart."""
    return f"{value_bytes / _GIB:.2f} GiB" if abs(value_bytes) >= _GIB else f"{value_bytes / _MIB:.1f} MiB"


def number(value: float) -> str:
    """A figure with three digits, and no power of ten."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def share_text(figure: Figure, what: str) -> str:
    """A share with its n and interval: `26.5 % of 120 continuations [19.4 … 35.0]`."""
    span = f" [{figure.low * 100:.1f} … {figure.high * 100:.1f}]" if figure.told else ""
    return f"{figure.value * 100:.1f} % of {figure.n} {what}{span}"


_COMPARED: tuple[Axis, ...] = ("memory_bytes", "decode_per_s", "dispatch_s", "cache_misses")


def _needs(own: Figures) -> str:
    parts: list[str] = []
    if (memory := own.get("memory_bytes")) is not None:
        parts.append(f"needs {size_text(memory.value)} ({memory.found})")
    if (decode := own.get("decode_per_s")) is not None:
        parts.append(f"decodes {number(decode.value)} tokens/s ({decode.found} tokens of context)")
    if (dispatch := own.get("dispatch_s")) is not None:
        parts.append(f"{number(dispatch.value)} s a dispatch ({dispatch.n} dispatches)")
    return ", ".join(parts)


def _is_least(name: str, others: Sequence[str], figures: Mapping[str, Figures]) -> bool:
    known = [figures[each].get("memory_bytes") for each in (name, *others)]
    sizes = [each.value for each in known if each is not None]
    return len(sizes) == len(known) and sizes[0] == min(sizes)


def _not_the_smaller(
    name: str, ties: Sequence[str], figures: Mapping[str, Figures], tiers: Mapping[str, Tier]
) -> list[str]:
    """Why not a smaller one of those that KLD does not tell apart."""
    known = {other: memory.value for other in (name, *ties) if (memory := figures[other].get("memory_bytes"))}
    own = known.get(name)
    smaller = [other for other in ties if own is not None and other in tiers and known.get(other, own) < own]
    return [f"{other} is smaller, but {_but(other, tiers[name], figures, tiers)}" for other in smaller]


def _but(other: str, own: Tier, figures: Mapping[str, Figures], tiers: Mapping[str, Tier]) -> str:
    theirs = tiers[other]
    if theirs.tasks > own.tasks:
        return "tasks speak against it"
    if theirs.unproven > own.unproven:
        return "more of its tool calls became wrong than right"
    if theirs.cache > own.cache and (misses := figures[other].get("cache_misses")) is not None:
        return f"loses its cache: {_misses(misses)}"
    return "slower"


def _misses(figure: Figure) -> str:
    return f"full misses in {share_text(figure, 'continuations')}"


def _against(axis: Axis, chosen: Figures, other: Figures) -> str:
    first, second = chosen.get(axis), other.get(axis)
    if first is None or second is None or first.value == second.value:
        return ""
    if axis == "memory_bytes":
        more = second.value - first.value
        return f"{size_text(abs(more))} {'more' if more > 0 else 'less'} memory"
    if axis == "cache_misses":
        return f"{_misses(second)} against {share_text(first, 'continuations')}"
    what, unit = ("decode", "tokens/s") if axis == "decode_per_s" else ("a dispatch", "s")
    apart = "" if not (first.told and second.told) or _apart(first, second) else ", intervals overlap"
    return f"{what} {number(second.value)} against {number(first.value)} {unit}{apart}"


def _apart(first: Figure, second: Figure) -> bool:
    return first.high < second.low or second.high < first.low
