"""Request parameters that engines in a worker accept alike."""

from __future__ import annotations

__all__ = ["OF_SERVERS_ALONE"]

OF_SERVERS_ALONE = frozenset(
    {
        "id_slot",
        "stream_options",
        "timings_per_token",
        "return_progress",
        "return_tokens",
        "verbose",
        "parallel_tool_calls",
    }
)
"""They change neither the output nor the cache of an engine with one sequence."""
