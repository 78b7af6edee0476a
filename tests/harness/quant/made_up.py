"""Made-up candidates: plausible figures of an 8B model on a laptop, invented for tests and measured nowhere."""

from __future__ import annotations

from pathlib import Path

from backends.base import Target
from harness.quant.base import (
    CacheStability,
    Candidate,
    CandidateResult,
    Flips,
    Measured,
    Predicted,
    RateAt,
    TaskResult,
    Wanted,
)
from profiler.fit.base import Answer, FitVerdict, MemoryPrediction, Part
from profiler.model_file.base import ModelFile, TypeShare
from profiler.quality.base import Estimate, Quality
from profiler.speed.base import SpeedPoint, SpeedPrediction

GIB = 1 << 30
PARAMETERS = 8_030_000_000
WANTED = Wanted(context_tokens=8192)
DEPTH = 8192

#        name: bits per weight, KLD, decode tokens/s at depth, floor
QUANTS = {
    "F16": (16.0, 0.00002, 9.8, 0.000001),
    "Q8_0": (8.5, 0.0009, 18.1, 0.0001),
    "Q6_K": (6.57, 0.0041, 22.6, 0.0002),
    "Q5_K_M": (5.7, 0.0089, 25.4, 0.0003),
    "Q4_K_M": (4.89, 0.0274, 29.2, 0.0003),
    "Q3_K_M": (4.0, 0.0870, 32.0, 0.0004),
    "Q2_K": (3.16, 0.4100, 36.5, 0.0005),
}


def model(name: str, bits: float) -> ModelFile:
    tensor_bytes = int(PARAMETERS * bits / 8)
    path = Path(f"models/made-up-8b-{name}.gguf")
    return ModelFile(
        path=path,
        files=(path,),
        container="gguf",
        architecture="llama",
        name="Made-up 8B",
        label=name,
        types=(TypeShare(name.removesuffix("_M"), 290, PARAMETERS, tensor_bytes),),
        tensor_bytes=tensor_bytes,
        parameters=PARAMETERS,
        active_bytes=tensor_bytes,
        active_parameters=PARAMETERS,
        layers=None,
        context_tokens=131072,
        vocabulary_tokens=128256,
        embedding_values=4096,
        has_template=True,
    )


def predicted(tensor_bytes: int, decode: float, fit: Answer = "fits", kv_bytes: int = GIB) -> Predicted:
    parts = (
        Part("weights", tensor_bytes, "host", "engine plan", f"tensors of the file: {tensor_bytes:,} B"),
        Part("kv_cache", kv_bytes, "host", "engine plan", "8192 cells × 32 layers × 2 × 1024 × 2 B"),
        Part("compute", 300 << 20, "host", "engine plan", "one ubatch of 512"),
        Part("prompt_cache", 8 * GIB, "host", "table", "llama-server keeps 8 GiB by default", at_most=True),
    )
    points = (SpeedPoint(0, decode * 1.3, 420.0), SpeedPoint(DEPTH, decode, 300.0))
    arithmetic = f"51 GB/s over {tensor_bytes / 1e9:.2f} GB of weights and 1.07 GB of KV at 8192 tokens"
    return Predicted(
        MemoryPrediction(parts),
        FitVerdict(fit, "fits in 24.0 GiB" if fit == "fits" else "needs 17.2 GiB of 16.0 GiB"),
        SpeedPrediction(points, "calibrated", decode * 1.4, arithmetic),
    )


def quality(kld: float, floor: float | None = 0.0002, chunks: int = 48, error: float = 0.04) -> Quality:
    def estimate(value: float, share: float = 0.01) -> Estimate:
        return Estimate(value, abs(value) * share, chunks)

    return Quality(
        reference="F16",
        chunks=chunks,
        scored_tokens=chunks * 255,
        perplexity=estimate(7.31 * (1 + kld)),
        reference_perplexity=estimate(7.31),
        log_perplexity_ratio=estimate(kld, 0.2),
        kld=estimate(kld, error),
        kld_token_error=kld * 0.02,
        kld_percentiles={"50": kld / 4, "90": kld * 2, "95": kld * 3, "99": kld * 8, "99.9": kld * 20, "100": kld * 60},
        rms_delta_p=estimate(kld**0.5 / 5),
        same_top=Estimate(max(0.0, 1 - kld**0.5 / 2.5), 0.002, chunks),
        floor=None if floor is None else estimate(floor),
    )


def tasks(
    successes: int, of: int = 40, repeats: int = 1, wall_s: float = 60.0, spread: float = 0.03
) -> tuple[TaskResult, ...]:
    """The first `successes` of `of` tasks succeed in every repeat; each takes what a task of its number takes."""
    return tuple(
        TaskResult(
            f"t{n:02d}",
            repeat,
            n < successes,
            1.0 if n < successes else 0.2,
            wall_s * (1 + 0.02 * n) * (1 + spread * ((n * 7919 + repeat) % 7 - 3) / 3),
        )
        for n in range(of)
        for repeat in range(repeats)
    )


def measured(
    memory_bytes: int,
    decode: float,
    done: tuple[TaskResult, ...] = (),
    misses: float | None = 0.02,
    continuations: int = 200,
) -> Measured:
    return Measured(
        load_s=(4.1, 3.9),
        must_have_bytes=memory_bytes,
        file_bytes=memory_bytes // 2,
        rates=(
            RateAt(0, (430.0, 425.0, 428.0), (decode * 1.31, decode * 1.3, decode * 1.29)),
            RateAt(DEPTH, (301.0, 296.0, 299.0), (decode * 1.01, decode, decode * 0.99)),
        ),
        cache=None if misses is None else CacheStability(misses, 1 - misses, 12 * misses, continuations),
        tasks=done,
        energy_j_per_token=None,
        filled_tokens=DEPTH,
    )


def candidate(
    name: str,
    *,
    kv: str = "f16",
    bits: float | None = None,
    kld: float | None = None,
    decode: float | None = None,
    done: tuple[TaskResult, ...] = (),
    misses: float | None = 0.02,
    fit: Answer = "fits",
    with_quality: bool = True,
    with_measured: bool = True,
    flips: Flips | None = None,
    failed: str | None = None,
) -> CandidateResult:
    """A candidate named as one of `QUANTS` (before a space), with whatever else is said."""
    usual_bits, usual_kld, usual_decode, floor = QUANTS[name.split()[0]]
    made = model(name, usual_bits if bits is None else bits)
    rate = usual_decode if decode is None else decode
    return CandidateResult(
        candidate=Candidate(name, made, kv, Target("llama-server", str(made.path), options={"ctx": "8192", "kv": kv})),
        predicted=predicted(made.tensor_bytes, rate * 0.96, fit),
        measured=measured(made.tensor_bytes + int(1.37 * GIB), rate, done, misses) if with_measured else None,
        quality=quality(usual_kld if kld is None else kld, floor) if with_quality else None,
        flips=flips,
        failed=failed,
    )


def whole_set() -> list[CandidateResult]:
    """Seven quants, all measured, with tasks that the small ones fail."""
    passed = {"F16": 34, "Q8_0": 34, "Q6_K": 34, "Q5_K_M": 33, "Q4_K_M": 33, "Q3_K_M": 27, "Q2_K": 9}
    walls = {"F16": 141.0, "Q8_0": 88.0, "Q6_K": 74.0, "Q5_K_M": 69.0, "Q4_K_M": 64.0, "Q3_K_M": 71.0, "Q2_K": 96.0}
    return [
        candidate(
            name,
            done=tasks(passed[name], wall_s=walls[name]),
            flips=Flips(400, 4 + 3 * place, place, 3 + 2 * place, 1, 1, 1 + place),
            misses=0.02 if name != "Q3_K_M" else 0.265,
        )
        for place, name in enumerate(QUANTS)
    ]
