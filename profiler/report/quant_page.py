"""The page around a chart of quants: everything inlined, nothing loaded, light or dark as the reader's system is. Pure.

What comes from a model file (names, paths, reasons) is escaped: as HTML in the text, and in the script so that it can
neither end the script nor be code.
"""

from __future__ import annotations

import html
import json
from typing import Any

from profiler.quant_document import QuantDocument
from profiler.report.causes import visible

__all__ = ["page"]

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy"
  content="default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline' 'unsafe-eval'; img-src data:">
<title>{title}</title>
<style>
body {{ margin: 1.5rem; font: 16px/1.5 sans-serif; background: #ffffff; color: #1b1b1b; }}
main {{ max-width: 72rem; margin: auto; }}
#chart {{ overflow-x: auto; }}
code {{ overflow-wrap: anywhere; }}
.doubts, footer {{ color: #6b6b6b; font-size: 0.9rem; }}
@media (prefers-color-scheme: dark) {{
  body {{ background: #16181c; color: #ececec; }}
  .doubts, footer {{ color: #a4a7ad; }}
}}
</style>
</head>
<body>
<main>
<h1>Which quant for this machine</h1>
<p><strong>{answer}</strong> {reason}</p>
{details}
<div id="chart" role="img" aria-label="{label}"></div>
{doubts}
<footer>{footer}</footer>
</main>
<script>{bundle}</script>
<script>
const charts = {charts};
const dark = window.matchMedia("(prefers-color-scheme: dark)");
function draw() {{
  vegaEmbed("#chart", charts[dark.matches ? "dark" : "light"], {{actions: false, renderer: "svg"}});
}}
dark.addEventListener("change", draw);
draw();
</script>
</body>
</html>
"""


def page(document: QuantDocument, light: dict[str, Any], dark: dict[str, Any], bundle: str) -> str:
    """The page; `bundle` is the script that defines `vegaEmbed`."""
    verdict = document.verdict
    details = list(verdict.details)
    if verdict.runner_up is not None:
        details.append(f"next best: {verdict.runner_up}: {verdict.runner_up_cost}")
    run = f"<p>Next: <code>{_text(verdict.run)}</code></p>" if verdict.run is not None else ""
    where = f"; {document.machine}" if document.machine else ""
    slots = "1 slot" if document.slots == 1 else f"{document.slots} slots"
    return _PAGE.format(
        title=_text(f"dyno quant: {verdict.chosen or verdict.answer}"),
        answer=_text(verdict.answer.upper()),
        reason=_text(verdict.reason),
        details=_list(details) + run,
        label=_text(f"Memory by decode rate of {len(document.candidates)} candidates, and their KLD"),
        doubts=f'<div class="doubts">{_list(verdict.doubts)}</div>',
        footer=_text(f"dyno quant; context {document.context_tokens:,} tokens, {slots}{where}"),
        bundle=bundle.replace("</script", "<\\/script"),
        charts=_script({"light": light, "dark": dark}),
    )


def _list(lines: list[str] | tuple[str, ...]) -> str:
    return "<ul>" + "".join(f"<li>{_text(line)}</li>" for line in lines) + "</ul>" if lines else ""


def _text(value: str) -> str:
    return html.escape(visible(value))


def _script(value: Any) -> str:
    """JSON that cannot end the script that it stands in."""
    return json.dumps(value).replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
