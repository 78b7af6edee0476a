"""Several tests at once: Holm's correction over the metrics declared before the run. Others are exploratory."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["holm"]


def holm(p_values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Each p as it counts among all: at most alpha of the families without any effect show one below alpha.

    A p that could not be told (None) stays so, and still counts as one of the family.
    """
    told = sorted((p, name) for name, p in p_values.items() if p is not None)
    adjusted: dict[str, float | None] = dict.fromkeys(p_values)
    largest = 0.0
    for place, (p, name) in enumerate(told):
        largest = max(largest, min(1.0, p * (len(p_values) - place)))
        adjusted[name] = largest
    return adjusted
