"""The report of a comparison of quants: verdict first, readable in 80 columns, no percentage without its n."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Sequence

import jsonschema
import msgspec
import pytest
from rich.console import Console

from harness.quant.base import CandidateResult, Wanted
from harness.quant.document import document_of
from profiler.quant_document import QuantDocument
from profiler.report.quant import print_quant, render_quant
from tests.harness.quant.made_up import GIB, QUANTS, WANTED, candidate, whole_set
from tests.schema_file import DOCS, check_schema_file

HOSTILE = "Q4\x1b[31m\n</script><b>[bold]x"


def shown(document: QuantDocument, width: int = 80, *, explain: bool = False) -> str:
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(render_quant(document, explain=explain))
    return out.getvalue()


def words(document: QuantDocument, **also: bool) -> str:
    return " ".join(shown(document, **also).split())


def predicted_only(names: Sequence[str] = tuple(QUANTS)) -> list[CandidateResult]:
    return [candidate(name, with_measured=False, with_quality=False) for name in names]


def test_the_schema_file_is_current() -> None:
    check_schema_file("quant", QuantDocument)


def test_the_document_is_what_its_schema_says_and_reads_back() -> None:
    document = document_of([*whole_set(), *predicted_only(["Q8_0"])[:0]], WANTED, directory="runs/q-1")
    out = io.StringIO()
    print_quant(document, json_output=True, out=out)
    jsonschema.validate(json.loads(out.getvalue()), json.loads((DOCS / "quant.schema.json").read_text()))
    assert msgspec.json.decode(out.getvalue(), type=QuantDocument) == document


def test_the_verdict_comes_first_then_the_best_candidate() -> None:
    document = document_of(whole_set(), WANTED, machine="made up", directory="runs/q-1")
    lines = shown(document).strip().splitlines()
    assert lines[0].startswith("RECOMMENDED  Q5_K_M: near-lossless, as F16, Q8_0 and Q6_K")
    assert document.candidates[0].name == "Q5_K_M"
    text = words(document)
    assert "6.6 GiB → 6.7 GiB +1.2 % 6.7 GiB yes" in text
    assert "24.4 → 25.4 24.8 … 26.0" in text
    assert "26.5 % of 200 27/40 worse than Q6_K" in text
    assert "same top: of 12,240 tokens" in text
    assert "F16: by Q6_K" in text
    assert "measured: runs/q-1" in text


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    failed = candidate("F16 kv=q8_0 of a name that is longer than any column", kv="q8_0", failed="signal 11")
    text = shown(document_of([*whole_set(), failed], WANTED), width)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= width
    assert "Q5_K_M ~" in text, "a name is not broken where it fits"


def test_predictions_show_no_column_that_nothing_is_known_of_and_are_marked() -> None:
    document = document_of(predicted_only(), WANTED)
    text = words(document)
    assert text.startswith("PREDICTED nothing was measured: Q6_K")
    assert "~7.4 GiB ~7.4 GiB yes" in text
    assert "~ a prediction" in text
    for head in ("KLD", "error", "flips", "tasks", "interval"):
        assert not re.search(rf"\b{head}\b", text), head


def test_explain_shows_the_arithmetic_of_each_part() -> None:
    document = document_of(predicted_only(["Q6_K"]), WANTED)
    text = words(document, explain=True)
    assert "kv_cache 1.0 GiB on the host (engine plan): 8192 cells × 32 layers × 2 × 1024 × 2 B" in text
    assert "prompt_cache may grow to 8.0 GiB on the host (table)" in text
    assert "must have: 7.4 GiB (7,982,952,124 B); in all, with what each token reads of the file: 7.4 GiB" in text
    assert "decode (calibrated): 51 GB/s" in text
    assert "51 GB/s" not in words(document)


def test_what_cannot_be_had_is_listed_with_its_reason() -> None:
    document = document_of([candidate("Q8_0"), candidate("Q6_K")], Wanted(8192, memory_bytes=8 * GIB))
    text = words(document)
    assert "cannot be had Q8_0: does not fit: needs 9.32 GiB, measured, of 8.00 GiB" in text
    assert "wanted: context 8,192 tokens, 1 slot, at most 8.0 GiB" in text
    assert document.candidates[-1].excluded == "does not fit"


def test_what_would_decide_is_shown_as_a_command() -> None:
    text = words(document_of([candidate("Q4_K_M"), candidate("Q3_K_M")], WANTED))
    assert text.startswith("CANNOT TELL tasks would have to tell. In the lead is Q4_K_M")
    assert "to decide dyno quant models/made-up-8b-Q3_K_M.gguf models/made-up-8b-Q4_K_M.gguf --context 8192" in text


def test_nothing_at_all_is_said_in_words() -> None:
    assert words(document_of([], WANTED)).startswith("NONE there is no candidate")


def test_an_interrupted_comparison_says_so() -> None:
    assert "interrupted: only what was done is shown" in words(document_of(whole_set(), WANTED, complete=False))


def test_a_hostile_name_reaches_the_terminal_as_text() -> None:
    made = candidate("Q4_K_M")
    named = msgspec.structs.replace(made, candidate=msgspec.structs.replace(made.candidate, name=HOSTILE))
    text = shown(document_of([named, candidate("Q8_0")], WANTED), 200)
    assert "\x1b" not in text
    assert "Q4\\x1b[31m⏎</script><b>[bold]x" in text
