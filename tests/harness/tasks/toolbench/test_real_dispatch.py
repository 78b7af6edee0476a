"""Real dispatches: the bundled model decides, through the agent loop, the pack's tools and the verifier."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backends import open_engine, parse_target
from harness.agent.work import model_work
from harness.diary import Site
from harness.dispatch import Order, run_dispatch
from harness.sending import Sender
from harness.settings import Setting
from profiler.causes.cases import Cases
from profiler.dispatch_records import DispatchRecord
from profiler.dispatch_store import DispatchWriter
from profiler.ledger import Ledger
from profiler.measure import clock_of
from profiler.store import RunWriter
from tests.harness.tasks.bare_sandbox import BareSandbox
from tests.profiler.dispatches import CONFINED
from tests.profiler.test_store import run_info

pytestmark = pytest.mark.engine

ROOT = Path(__file__).parents[4]
EASY = [f"toolbench/{kind}-{number}" for kind in ("select", "arguments", "chain2") for number in (1, 2, 3)]


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, DispatchRecord]]:
    """Dispatches of the easy tier's first instances, and of two that are harder, under the default settings."""
    pytest.importorskip("xllamacpp")
    target = f"llama-server:{ROOT / 'profiles' / 'models' / 'tiny' / 'tiny-f16.gguf'}?ctx=8192&threads=1"
    engine = open_engine(parse_target(target))
    writer = RunWriter.create(tmp_path_factory.mktemp("run"), run_info())
    dispatches = DispatchWriter(writer.path)
    facts, clock = engine.facts(), clock_of(engine)
    site = Site(writer, dispatches, BareSandbox(), CONFINED, target, Cases(facts), clock)
    try:
        done: dict[str, DispatchRecord] = {}
        for task in (*EASY, "toolbench/chain4-1", "toolbench/recover-1"):
            sender = Sender(engine, fidelity="dispatch", ledger=Ledger())
            order = Order(
                task=task, seed=0, setting=Setting(), setting_name="default", actor="model", agent="built-in",
                fidelity="dispatch",
            )  # fmt: skip
            done[task] = run_dispatch(order, site, model_work(sender, clock))
        yield done
    finally:
        dispatches.close()
        writer.close("complete")
        engine.close()


def test_the_model_solves_the_easy_tier(records: dict[str, DispatchRecord]) -> None:
    unsolved = [task for task in EASY if records[task].outcome.verified != "pass"]
    assert len(unsolved) <= len(EASY) * 0.1, unsolved


def test_it_works_in_several_turns_and_submits(records: dict[str, DispatchRecord]) -> None:
    for record in records.values():
        assert record.exit_status == "submitted"
        assert record.changed_files == ()
        assert record.totals.requests == record.totals.turns >= 2
    assert records["toolbench/chain4-1"].totals.turns >= 5


def test_later_turns_are_served_from_the_cache(records: dict[str, DispatchRecord]) -> None:
    for record in records.values():
        totals = record.totals
        assert totals.cached_tokens is not None
        assert totals.evaluated_tokens is not None
        assert totals.cached_tokens + totals.evaluated_tokens == totals.prompt_tokens
        assert totals.cached_tokens > 0.4 * (totals.prompt_tokens or 0)
