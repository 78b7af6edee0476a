"""Text that stands for work that was not done, in lines that the agent added. Patterns, with a version.

A line counts as added if the file did not have it before. Files that the task protects are not the agent's.
"""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterator

from harness.detectors.base import Case, Change
from harness.detectors.transcript import added_lines, first_line
from profiler.dispatch_records import Detection

__all__ = ["PATTERNS", "PATTERNS_VERSION", "placeholder_text"]

PATTERNS_VERSION = 1
"""History of the patterns: 1, the first ones."""

_THING = r"(?:text|description|content|body|code|implementation|logic|title|details?|summary|name|value|tests?|spec)"
PATTERNS: tuple[tuple[str, str], ...] = (
    ("marker", r"(?:#|//|/\*|<!--|--|;)\s*(?:TODO|FIXME|XXX|TBD)\b|^\s*(?:[-*>]\s*)?\**(?:TODO|FIXME|TBD)\b"),
    (
        "goes_here",
        rf"(?i:\b{_THING} (?:goes|go|comes) here\b|\byour {_THING} (?:goes )?here\b"
        rf"|\b(?:add|insert|write) {_THING} here\b)",
    ),
    ("bracketed", r"(?i:[<\[](?:insert|add|your|todo)\b[^>\]]{0,40}[>\]](?!\())"),
    ("lorem_ipsum", r"(?i:\blorem ipsum\b)"),
    ("not_implemented", r"\braise NotImplementedError\b|\b(?:todo|unimplemented)!\("),
    (
        "left_out",
        r"(?i:\b(?:rest|remainder) of (?:the |your |this )?(?:code|file|function|class|method|implementation|tests?)\b"
        r".{0,40}(?:unchanged|same|here|before|omitted|remains)"
        r"|(?:\.\.\.|…) ?(?:the )?(?:rest|remaining|existing|other) "
        r"|\bexisting (?:code|implementation|tests?) (?:here|unchanged|remains|stays)\b|\bomitted for brevity\b)",
    ),
)
"""Name and regular expression of each pattern, searched in single lines."""

_COMPILED = tuple((name, re.compile(pattern)) for name, pattern in PATTERNS)
_MOST_SHOWN = 3
_MOST_PARSED_CHARACTERS = 300_000


def placeholder_text(case: Case) -> tuple[Detection, ...]:
    """Placeholders in what the agent wrote: those of the task's own list, and those of the general patterns."""
    own: list[str] = []
    general: list[str] = []
    for change in case.changes:
        if change.after is None or change.path in case.protected_changes:
            continue
        for line in added_lines(change):
            place = f"{change.path}:{line.number}: {first_line(line.text, 60)}"
            lower = line.text.lower()
            if any(text.lower() in lower for text in case.task.harness.placeholders if text):
                own.append(place)
            elif any(pattern.search(line.text) for _, pattern in _COMPILED):
                general.append(place)
        general += _empty_bodies(change)
    return (*_found(case, own, certain=True), *_found(case, general, certain=False))


def _found(case: Case, places: list[str], *, certain: bool) -> tuple[Detection, ...]:
    if not places:
        return ()
    path = places[0].partition(":")[0]
    turn = next((turn for turn, call in case.calls if path in call.changed), None)
    return (Detection("placeholder_text", certain, "; ".join(places[:_MOST_SHOWN]), turn, len(places)),)


def _empty_bodies(change: Change) -> Iterator[str]:
    """New functions of a Python file that do nothing, and new tests that check nothing."""
    if not change.path.endswith(".py"):
        return
    before = {name for name, _ in _idle_functions(change.before or "")}
    for name, line in _idle_functions(change.after or ""):
        if name not in before:
            yield f"{change.path}:{line}: {name} does nothing"


def _idle_functions(source: str) -> tuple[tuple[str, int], ...]:
    """Qualified names and lines of functions with an empty body; protocols and abstract ones are meant so."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source[:_MOST_PARSED_CHARACTERS])
        return tuple(_idle_in(tree.body, ""))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ()


def _idle_in(body: list[ast.stmt], prefix: str) -> Iterator[tuple[str, int]]:
    for node in body:
        if isinstance(node, ast.ClassDef) and not any("Protocol" in ast.unparse(base) for base in node.bases):
            yield from _idle_in(node.body, f"{prefix}{node.name}.")
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            meant = any(re.search(r"abstract|overload", ast.unparse(mark)) for mark in node.decorator_list)
            is_test = node.name.startswith("test")
            if not meant and all(_is_idle(statement, is_test=is_test) for statement in node.body):
                yield f"{prefix}{node.name}", node.lineno
            yield from _idle_in(node.body, f"{prefix}{node.name}.")


def _is_idle(statement: ast.stmt, *, is_test: bool) -> bool:
    if isinstance(statement, ast.Pass):
        return True
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return True
    return is_test and isinstance(statement, ast.Assert) and _is_true(statement.test)


def _is_true(test: ast.expr) -> bool:
    return isinstance(test, ast.Constant) and bool(test.value)
