"""How servers say that they cannot take a model's reply apart: a fault of the reply, not of theirs. Pure."""

from __future__ import annotations

import re

from profiler.records import Failure

__all__ = ["is_parser_fault"]

_SAID = re.compile(
    r"failed to parse|error parsing tool call|invalid tool call|tool.call.{0,40}pars|pars(?:e|ing)\b.{0,20}tool",
    re.IGNORECASE,
)
_READ = 2000


def is_parser_fault(error: Failure | None) -> bool:
    """Whether a request failed because the server could not read the tool call that the model had written."""
    return error is not None and error.kind == "EngineFault" and _SAID.search(error.message[:_READ]) is not None
