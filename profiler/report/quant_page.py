"""The page around a chart of quants, from the template `quant` of the pages of runs. Pure."""

from __future__ import annotations

from profiler.quant_document import QuantDocument
from profiler.report.html.drawing import Drawing
from profiler.report.html.rendering import rendered

__all__ = ["page"]

_TONES = {"recommended": "good", "predicted": "plain", "cannot tell": "unsure", "none": "bad"}


def page(document: QuantDocument, drawing: Drawing) -> str:
    """The page. What comes from a model file (names, paths, reasons) is shown as text.

    Raises:
        ChartsMissing: the extra `charts` is not installed.
    """
    verdict = document.verdict
    details = list(verdict.details)
    if verdict.runner_up is not None:
        details.append(f"next best: {verdict.runner_up}: {verdict.runner_up_cost}")
    where = f"; {document.machine}" if document.machine else ""
    slots = "1 slot" if document.slots == 1 else f"{document.slots} slots"
    return rendered(
        "quant",
        [drawing],
        title=f"dyno quant: {verdict.chosen or verdict.answer}",
        answer=verdict.answer.upper(),
        tone=_TONES[verdict.answer],
        reason=verdict.reason,
        details=details,
        next_command=verdict.run,
        doubts=list(verdict.doubts),
        footer=f"dyno quant; context {document.context_tokens:,} tokens, {slots}{where}",
    )
