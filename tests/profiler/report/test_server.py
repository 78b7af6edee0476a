"""The lines on what a server reports, and the table where the sides of a loss are not known."""

from __future__ import annotations

import msgspec
import pytest

from profiler.document import CacheDocument, Calibrated
from profiler.probe_records import CachedFigure, Probe
from profiler.report.server import server_lines, server_warnings
from profiler.summary import summarise
from tests.profiler.report.test_cache import shown
from tests.profiler.test_stability import INFERRING, bounded, figure, unseen
from tests.profiler.test_summary import HIT, INFO


def probed(probe: Probe, calibration: Calibrated | None = None) -> CacheDocument:
    return msgspec.structs.replace(summarise(INFO, [HIT]), probe=probe, calibration=calibration)


def test_what_is_reported_and_what_is_not_is_one_line() -> None:
    (line,) = server_lines(probed(figure("reported", 0, 299)))
    said, _, unsaid = line.partition("; not reported: ")
    assert said == "this server reports: cached tokens, prompt tokens, prompts"
    assert unsaid == ("evaluated tokens, generated tokens, prefill time, decode time, slot, token ids, log lines")


def test_a_silent_server_and_how_its_reuse_was_inferred() -> None:
    silent = figure("not_reported", None, None)
    line, inferred = server_lines(probed(silent, Calibrated(21, 4913, fitted=True)))
    assert "; not reported: cached tokens," in line
    assert inferred == "what it reused is inferred from 21 timed cold prompts of up to 4,913 tokens"
    _, noisy = server_lines(probed(silent, Calibrated(3, None, fitted=False)))
    assert noisy == "3 timed cold prompts were too few or too noisy to infer what it reused"


def test_a_run_without_a_probe_has_no_such_line() -> None:
    assert server_lines(summarise(INFO, [HIT])) == []
    assert server_warnings(None) == []
    assert "this server reports" not in shown(summarise(INFO, [HIT]))


@pytest.mark.parametrize(
    ("cached", "first", "second", "why"),
    [
        ("always_0", 0, 0, "its cache is off, or cannot take up a whole prompt again, or the figure is none"),
        ("always_the_same", 7, 7, "the figure does not follow the cache"),
        ("falls", 9, 7, "the figure does not follow the cache"),
        ("contradictory", 9, 900, "its counts contradict each other"),
    ],
)
def test_a_doubtful_figure_is_a_warning(cached: CachedFigure, first: int, second: int, why: str) -> None:
    probe = figure(cached, first, second)
    said = f"! cached tokens were said to be {first} for a cold prompt and {second} for its identical repeat: {why}"
    assert server_warnings(probe) == [said]
    text = " ".join(shown(probed(probe)).split())
    assert said in text
    assert "cached tokens (doubtful)" in text


@pytest.mark.parametrize("cached", ["reported", "reported_when_not_0", "not_reported"])
def test_a_figure_that_follows_the_cache_or_is_left_out_is_none(cached: CachedFigure) -> None:
    assert server_warnings(figure(cached, None, None)) == []


@pytest.mark.parametrize("width", [80, 120])
def test_where_the_sides_are_not_known_the_table_has_one_loss(width: int) -> None:
    text = shown(summarise(INFO, [*[unseen(900)] * 11, unseen(400)]), width)
    words = " ".join(text.split())
    assert "on which side is not known, most in clean" in words
    assert "by which side is not known, the prompts are not shown" in words
    assert " 500 " in text
    assert "engine" not in text.split("clean")[1].split("p95")[0]
    assert max(map(len, text.splitlines())) <= width


def test_what_is_only_bounded_is_shown_as_a_range() -> None:
    text = shown(summarise(INFERRING, [bounded(860, 960)] * 12))
    assert "95–100 %" in text
    assert text.strip().startswith("STABLE")
    assert "seconds lost: not known" in text
