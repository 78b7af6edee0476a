"""The line of the report that says where the engine's memory went, and one on energy. Values in, text out."""

from __future__ import annotations

from profiler.document import Residency
from profiler.residency.records import LoadSizes

__all__ = ["memory_lines", "size"]

_GIB = 1 << 30
_MIB = 1 << 20
_SHARED_TWICE = "status"
_GPU_HOW = {
    "process": "by its process",
    "new_process": "by the one new process",
    "device_delta": "what the device holds more than before the launch",
}


def memory_lines(residency: Residency | None) -> list[str]:
    """One line on memory; a second on energy where it was measured."""
    if residency is None:
        return []
    if residency.reason is not None:
        return [f"memory {residency.reason}"]
    parts = [text for text in (_host(residency), _gpu(residency), _load(residency.load)) if text]
    return [f"memory {' · '.join(parts)}", *_energy(residency)]


def size(value_bytes: int | None) -> str:
    """Bytes as MiB or GiB."""
    if value_bytes is None:
        return "?"
    return f"{value_bytes / _GIB:.1f} GiB" if value_bytes >= _GIB else f"{value_bytes / _MIB:.0f} MiB"


def _host(residency: Residency) -> str:
    if residency.must_have_peak_bytes is None:
        return f"peak {size(residency.rss_peak_bytes)} resident (what of it can be dropped is not known here)"
    text = f"peak {size(residency.must_have_peak_bytes)} must-have"
    if residency.file_peak_bytes:
        text += f" + {size(residency.file_peak_bytes)} reclaimable file pages"
    if residency.swap_peak_bytes:
        text += f" + {size(residency.swap_peak_bytes)} swapped out"
    return text + (" (shared pages counted whole)" if residency.source == _SHARED_TWICE else "")


def _gpu(residency: Residency) -> str | None:
    if not residency.gpu_peak_bytes:
        return None
    how = ", ".join(_GPU_HOW[source] for source in residency.gpu_sources)
    return f"GPU {size(residency.gpu_peak_bytes)} ({how})"


def _load(load: LoadSizes | None) -> str | None:
    if load is None:
        return None
    said = {"weights": load.weights_bytes, "KV": load.kv_bytes, "compute": load.compute_bytes}
    return "its load log: " + ", ".join(f"{name} {size(value)}" for name, value in said.items() if value is not None)


def _energy(residency: Residency) -> list[str]:
    known = [row for row in residency.sessions if row.energy_j_per_dispatch is not None]
    if not known:
        return []
    dispatches = [row.energy_j_per_dispatch for row in known if row.energy_j_per_dispatch is not None]
    most = max(known, key=lambda row: row.energy_j_per_dispatch or 0.0)
    text = f"energy {sum(dispatches) / len(dispatches):.0f} J a dispatch, most in {most.session}"
    if most.energy_j_per_dispatch is not None and most.energy_j_per_generated_token is not None:
        text += f" ({most.energy_j_per_dispatch:.0f} J, {most.energy_j_per_generated_token:.2g} J a generated token)"
    return [f"{text}: whole GPU boards"]
