"""The chance that of k attempts at a task one succeeds (pass@k), or all do (pass^k); without bias, from n attempts."""

from __future__ import annotations

from collections.abc import Iterable
from math import comb

from harness.stats.base import Observation

__all__ = ["attempts_by_task", "pass_all_k", "pass_at_k"]


def pass_at_k(attempts: int, successes: int, k: int) -> float | None:
    """The share of the k-sized choices of the attempts that hold a success; None with fewer than k attempts.

    Raises:
        ValueError: k below 1, or more successes than attempts.
    """
    _check(attempts, successes, k)
    return None if attempts < k else 1 - comb(attempts - successes, k) / comb(attempts, k)


def pass_all_k(attempts: int, successes: int, k: int) -> float | None:
    """The share of the k-sized choices of the attempts that are successes throughout; None with fewer than k attempts.

    Raises:
        ValueError: k below 1, or more successes than attempts.
    """
    _check(attempts, successes, k)
    return None if attempts < k else comb(successes, k) / comb(attempts, k)


def attempts_by_task(observations: Iterable[Observation], arm: str) -> dict[str, tuple[int, int]]:
    """Judged attempts and successes of an arm, by task; the mean over tasks of the figures above is an arm's."""
    found: dict[str, tuple[int, int]] = {}
    for seen in observations:
        if seen.arm == arm and not seen.excluded and seen.success is not None:
            n, successes = found.get(seen.task, (0, 0))
            found[seen.task] = (n + 1, successes + seen.success)
    return found


def _check(attempts: int, successes: int, k: int) -> None:
    if k < 1 or not 0 <= successes <= attempts:
        raise ValueError(
            f"{successes} successes in {attempts} attempts, k = {k}: k is at least 1, successes at most attempts"
        )
