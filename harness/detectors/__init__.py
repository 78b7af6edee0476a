"""Failure modes of a dispatch, one file per family; each detector is a pure function of what was recorded.

`detect` is the whole of it: a case in, its detections out, in the order of the catalogue.
"""

from __future__ import annotations

from harness.detectors.base import Case, Detector
from harness.detectors.catalogue import CATALOGUE
from harness.detectors.claims import fabricated_process, hallucinated_completion
from harness.detectors.durations import time_claim_error
from harness.detectors.ending import (
    no_final_response,
    premature_stop,
    talk_not_act,
    unaware_of_termination,
)
from harness.detectors.limits import (
    context_overflow,
    infra_fault,
    limit_tokens,
    limit_turns,
    reasoning_runaway,
    silent_truncation,
    timeout_tool,
    timeout_wall,
)
from harness.detectors.loops import (
    compaction_loop,
    monologue,
    tool_loop_alternating,
    tool_loop_same,
    tool_loop_window,
)
from harness.detectors.malformed import malformed_tool_call
from harness.detectors.placeholders import placeholder_text
from harness.detectors.tampering import constraint_violation, sandbox_denied, special_casing, test_tampering
from profiler.dispatch_records import Detection

__all__ = ["DETECTORS", "detect"]

DETECTORS: tuple[Detector, ...] = (
    infra_fault,
    timeout_wall,
    limit_turns,
    limit_tokens,
    timeout_tool,
    context_overflow,
    silent_truncation,
    reasoning_runaway,
    compaction_loop,
    tool_loop_same,
    tool_loop_alternating,
    tool_loop_window,
    malformed_tool_call,
    monologue,
    talk_not_act,
    no_final_response,
    premature_stop,
    unaware_of_termination,
    hallucinated_completion,
    fabricated_process,
    time_claim_error,
    test_tampering,
    special_casing,
    constraint_violation,
    placeholder_text,
    sandbox_denied,
)
"""All detectors, in the order of the catalogue; `malformed_tool_call` reports six codes."""

_ORDER = {kind.code: number for number, kind in enumerate(CATALOGUE)}


def detect(case: Case) -> tuple[Detection, ...]:
    """What went wrong in a dispatch, in the order of the catalogue; the same case gives the same detections."""
    found = [detection for detector in DETECTORS for detection in detector(case)]
    return tuple(sorted(found, key=lambda detection: _ORDER[detection.code]))
