"""`dyno cache` on five engines with the bundled model: the verdicts agree, or a table says where not, and why.

The table and the rule that it makes exceptions from are in `expected_caches`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from harness.sessions import bundled_sessions, write_session
from tests.backends import mlx_models
from tests.harness.expected_caches import (
    BUNDLED,
    ENGINES,
    FORCING,
    REFERENCE,
    SHORT,
    Difference,
    Figures,
    Key,
    by_request,
    by_the_rule,
    differing,
    judged,
    said,
)
from tests.harness.short_sessions import write_short_sessions
from tests.harness.test_cache_command import document, dyno

for package in ("xllamacpp", "llama_cpp", "sse_starlette", "mlx.core", "mlx_lm"):
    pytest.importorskip(package, reason="all five engines are compared: pip install 'llmdyno[all]'")
pytestmark = pytest.mark.engine

TOO_LONG = ("append-only-long",)
"""Minutes for each reply, on MLX without a GPU; `test_known_answers` plays it."""
MIB = 1 << 20
CONTEXT = 32768
KV_BYTES = 4 * 2 * 2 * 64 * 2 * CONTEXT
"""Layers, keys and values, heads, their width, two bytes each."""


class Ran(msgspec.Struct):
    """The documents of all engines for one set of sessions, their requests by name, and the exceptions they show."""

    documents: dict[str, dict[str, Any]]
    exceptions: tuple[Difference, ...]

    def rows(self, engine: str) -> dict[str, dict[str, Any]]:
        return by_request(self.documents[engine]["requests"])

    def figures(self, engine: str) -> dict[str, Figures]:
        return {name: said(row) for name, row in self.rows(engine).items()}

    def off_the_rule(self) -> dict[Key, set[str]]:
        """In which figures each request on each engine leaves the rule."""
        found: dict[Key, set[str]] = {}
        for engine in ENGINES:
            expected = by_the_rule(engine, self.rows(REFERENCE))
            for name, seen in self.figures(engine).items():
                if figures := differing(seen, expected[name]):
                    found[engine, name] = figures
        return found


@pytest.fixture(scope="module", params=["short", pytest.param("bundled", marks=pytest.mark.slow)])
def ran(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    """Every engine once, one after the other: they share the processor."""
    place = tmp_path_factory.mktemp(request.param)
    sessions, folder = place / "sessions", mlx_models.write_tiny(place / "tiny")
    if request.param == "short":
        write_short_sessions(sessions)
    else:
        sessions.mkdir()
        for session in bundled_sessions():
            if session.name not in TOO_LONG:
                write_session(session, sessions / f"{session.name}.jsonl")
    documents: dict[str, dict[str, Any]] = {}
    for engine in ENGINES:
        model = folder if engine.startswith("mlx") else mlx_models.TINY
        target = f"{engine}:{model}?ctx={CONTEXT}" + ("" if engine.startswith("mlx") else "&threads=1")
        code, out, err = dyno("cache", target, "-s", str(sessions), "--json", cwd=place, timeout_s=7200)
        assert code == 0, err
        documents[engine] = document(out)
    yield Ran(documents, SHORT if request.param == "short" else BUNDLED)
    shutil.rmtree(place)


def test_every_request_was_served_and_replayed_as_its_engine_can(ran: Ran) -> None:
    for engine, value in ran.documents.items():
        rows = ran.rows(engine)
        assert value["status"] == "complete"
        assert list(rows) == list(ran.rows(REFERENCE))
        assert {row["error"] for row in rows.values()} == {None}
        assert {row["forcing"] for row in rows.values()} == {FORCING[engine]}, engine
        assert "unknown" not in {row["class"] for row in rows.values()}, engine


def test_engines_agree_but_where_the_table_says_why_not(ran: Ran) -> None:
    allowed: dict[Key, set[str]] = {}
    for difference in ran.exceptions:
        for key in difference.places():
            allowed.setdefault(key, set()).update(difference.figures)
    surprises = {
        f"{engine}: {name}": f"{sorted(figures)}: {ran.figures(engine)[name]}"
        for (engine, name), figures in ran.off_the_rule().items()
        if not figures <= allowed.get((engine, name), set())
    }
    assert not surprises


def test_every_exception_in_the_table_occurs(ran: Ran) -> None:
    seen = ran.off_the_rule()
    gone = [(*key, d.reason) for d in ran.exceptions for key in sorted(d.places()) if key not in seen]
    assert not gone


def test_engines_with_the_same_exception_reuse_the_same_tokens(ran: Ran) -> None:
    for difference in ran.exceptions:
        for name in difference.requests:
            assert len({ran.figures(engine)[name].cached for engine in difference.engines}) == 1, name


def test_class_and_losses_follow_from_the_counts(ran: Ran) -> None:
    for engine in ENGINES:
        for name, row in ran.rows(engine).items():
            counts = (row["prompt_tokens"], row["lcp_tokens"], row["prev_tokens"], row["cached_tokens"])
            assert judged(*counts, first=name.endswith(" 0")) == said(row), (engine, name)


@pytest.mark.parametrize("kind", ["clock-in-system-prompt", "tools-reordered", "compaction", "reasoning-dropped"])
def test_a_changed_text_loses_the_same_wherever_replies_are_forced(ran: Ran, kind: str) -> None:
    lost = {
        engine: {n: f.lost_prompt_side for n, f in ran.figures(engine).items() if n.startswith(kind)}
        for engine in ENGINES
    }
    forced = [lost[engine] for engine in ENGINES if FORCING[engine] == "token_ids"]
    assert len(forced) == 3
    assert all(each == forced[0] for each in forced)
    assert sum(forced[0].values()) > 0
    # Where they are not, what the client drops or rewrites of the last reply cannot be seen.
    for engine in ENGINES:
        if FORCING[engine] != "token_ids":
            assert any(lost[engine].values()) == (kind != "reasoning-dropped"), engine
            assert all(lost[engine][name] <= tokens for name, tokens in forced[0].items()), engine


@pytest.mark.parametrize("engine", ENGINES)
def test_memory_was_sampled(ran: Ran, engine: str) -> None:
    memory = ran.documents[engine]["residency"]
    assert memory["reason"] is None
    assert memory["samples"] >= 2
    assert 0 < memory["must_have_peak_bytes"] <= memory["rss_peak_bytes"]
    assert [row["session"] for row in memory["sessions"]] == [s["name"] for s in ran.documents[engine]["sessions"]]
    assert all(row["must_have"]["peak_bytes"] > 0 for row in memory["sessions"])
    if engine.startswith("mlx"):
        # mlx-lm logs no sizes, and MLX has no file mapped: its float32 weights must stay in memory.
        assert memory["load"] is None
        assert memory["must_have_peak_bytes"] > 2 * mlx_models.TINY.stat().st_size
    else:
        assert memory["load"]["kv_bytes"] == KV_BYTES
        assert 0 < memory["load"]["weights_bytes"] <= mlx_models.TINY.stat().st_size
        assert memory["load"]["compute_bytes"] > MIB
        assert memory["must_have_peak_bytes"] > KV_BYTES
