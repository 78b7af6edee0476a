"""A dispatch from task to record: what is stored, what an interruption leaves, and figures worked out by hand."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from backends import open_engine, parse_target
from backends.base import Facts
from harness.agent.loop import Finished
from harness.agent.work import forced_work, script_work
from harness.diary import Site
from harness.dispatch import Bench, Order, Work, run_dispatch
from harness.sandbox.base import SandboxError
from harness.sending import Sender
from harness.settings import Setting, with_levers
from profiler.causes.cases import Cases
from profiler.dispatch_document import TurnRow
from profiler.dispatch_records import DispatchRecord
from profiler.dispatch_store import DispatchWriter, StoredDispatch, dispatch_folder, read_dispatches
from profiler.ledger import Ledger
from profiler.measure import clock_of
from profiler.store import RunWriter, read_run
from tests.harness.tasks.bare_sandbox import BareSandbox
from tests.profiler.dispatches import CONFINED, MS
from tests.profiler.test_store import run_info

PLAIN = Setting(task=msgspec.structs.replace(Setting().task, persona=""))


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    writer = RunWriter.create(tmp_path, run_info())
    dispatches = DispatchWriter(writer.path)
    yield Site(writer, dispatches, BareSandbox(), CONFINED, None, Cases(Facts("none")), time.perf_counter_ns)
    dispatches.close()
    writer.close("complete")


def order(task: str = "toolbench/chain2-1", setting: Setting = PLAIN, **further: object) -> Order:
    fields = {"seed": 0, "setting_name": "plain", "actor": "oracle", "agent": "oracle", "fidelity": "no_engine"}
    return Order(task=task, setting=setting, **{**fields, **further})  # type: ignore[arg-type]


def stored(site: Site) -> tuple[StoredDispatch, ...]:
    dispatches, notes = read_dispatches(site.writer.path)
    assert notes == ()
    return dispatches


def test_a_solved_task_passes_and_everything_is_stored(site: Site) -> None:
    rows: list[TurnRow] = []
    record = run_dispatch(order(), site, script_work("oracle", time.perf_counter_ns), on_turn=rows.append)
    assert (record.exit_status, record.outcome.verified, record.outcome.score) == ("submitted", "pass", 1.0)
    (one,) = stored(site)
    assert one.ended == record
    assert [turn.turn for turn in one.turns] == [row.turn for row in rows] == [0, 1, 2]
    assert one.started.levers["task.persona"] == ""
    folder = dispatch_folder(site.writer.path, record.dispatch_id)
    assert {file.name for file in folder.iterdir()} >= {"workspace.diff", "trajectory.json"}


def test_doing_nothing_fails(site: Site) -> None:
    record = run_dispatch(order(actor="nop", agent="nop"), site, script_work("nop", time.perf_counter_ns))
    assert (record.exit_status, record.outcome.verified) == ("stopped", "fail")


def interrupted_after(turns: int, error: BaseException) -> Work:
    def work(bench: Bench) -> Finished:
        seen = 0

        def on_turn(turn: object) -> None:
            nonlocal seen
            bench.on_turn(turn)  # type: ignore[arg-type]
            seen += 1
            if seen == turns:
                raise error

        return script_work("oracle", time.perf_counter_ns)(bench._replace(on_turn=on_turn))

    return work


def test_ctrl_c_keeps_the_turns_and_says_that_it_was_aborted(site: Site) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_dispatch(order(), site, interrupted_after(2, KeyboardInterrupt()))
    (one,) = stored(site)
    assert len(one.turns) == 2
    assert one.ended is not None
    assert (one.ended.exit_status, one.ended.outcome.verified) == ("aborted", "not_run")


def test_a_command_that_cannot_be_confined_ends_it_as_a_fault_of_the_machine(site: Site) -> None:
    with pytest.raises(SandboxError):
        run_dispatch(order(), site, interrupted_after(1, SandboxError("no user namespaces")))
    (one,) = stored(site)
    assert one.ended is not None
    assert one.ended.exit_status == "infra_fault"
    assert [found.code for found in one.ended.detections] == ["infra_fault"]


def test_a_killed_dispatch_has_no_end_and_all_its_turns(site: Site) -> None:
    class Killed(BaseException):
        pass

    with pytest.raises(Killed):
        run_dispatch(order(), site, interrupted_after(2, Killed()))
    (one,) = stored(site)
    assert (len(one.turns), one.ended) == (2, None)


def task_folder(tmp_path: Path, test_sh: str) -> Path:
    folder = tmp_path / "own-task"
    (folder / "workspace").mkdir(parents=True)
    (folder / "workspace" / "a.txt").write_text("one\n")
    (folder / "tests").mkdir()
    (folder / "tests" / "test.sh").write_text(test_sh)
    (folder / "task.toml").write_text("[harness]\ntools = ['read', 'write', 'submit']\n")
    (folder / "instruction.md").write_text("Write two into a.txt.\n")
    (folder / "trajectories").mkdir()
    steps = [{"calls": [{"name": "write", "arguments": {"path": "a.txt", "content": "two\n"}}]}, {"content": "Done."}]
    (folder / "trajectories" / "oracle.json").write_bytes(msgspec.json.encode(steps))
    return folder


def test_a_task_of_the_users_own_and_what_was_changed_in_it(site: Site, tmp_path: Path) -> None:
    folder = task_folder(
        tmp_path, 'grep -q two "$WORKSPACE/a.txt" && echo \'{"score": 1}\' > "$REWARD_DIR/reward.json"'
    )
    record = run_dispatch(order(str(folder)), site, script_work("oracle", time.perf_counter_ns))
    assert (record.outcome.verified, record.changed_files) == ("pass", ("a.txt",))
    difference = dispatch_folder(site.writer.path, record.dispatch_id) / "workspace.diff"
    assert difference.read_text() == "--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-one\n+two\n"


def test_a_verifier_that_changes_its_mind_is_not_believed(site: Site, tmp_path: Path) -> None:
    folder = task_folder(tmp_path, 'echo "{\\"score\\": 0.$(date +%N | tail -c 4)}" > "$REWARD_DIR/reward.json"')
    record = run_dispatch(order(str(folder)), site, script_work("oracle", time.perf_counter_ns), verifications=4)
    assert not record.outcome.valid
    assert "does not always say the same" in record.outcome.notes[-1]


def rehearsed(tmp_path: Path, setting: Setting, task: str = "toolbench/chain2-1") -> DispatchRecord:
    """On a simulated engine that takes 0.1 ms a prompt token and 10 ms a generated one, and keeps one slot."""
    engine = open_engine(parse_target("scripted:"))
    writer = RunWriter.create(tmp_path, run_info("20261120-000000-aaaa"))
    dispatches = DispatchWriter(writer.path)
    site = Site(writer, dispatches, BareSandbox(), CONFINED, "scripted:", Cases(engine.facts()), clock_of(engine))
    sender = Sender(engine, fidelity="rehearse", ledger=Ledger())
    record = run_dispatch(
        order(task, setting, fidelity="rehearse"), site, forced_work("oracle", sender, clock_of(engine))
    )
    dispatches.close()
    writer.close("complete")
    assert len(read_run(writer.path).requests) == record.totals.requests
    return record


def test_a_rehearsal_that_only_appends_loses_nothing(tmp_path: Path) -> None:
    totals = rehearsed(tmp_path, PLAIN).totals
    assert (totals.requests, totals.lost_tokens, totals.lost_by_cause_s) == (3, 0, {})
    assert totals.evaluated_tokens is not None
    assert totals.prefill_ns == totals.evaluated_tokens * MS // 10
    assert totals.wall_ns == totals.engine_ns


@pytest.mark.parametrize(
    ("lever", "code"),
    [
        ({"prompt.volatile": "clock"}, "P1"),
        ({"prompt.tool_order": "shuffled"}, "P6"),
    ],
)
def test_a_hostile_lever_is_a_cause_by_name(tmp_path: Path, lever: dict[str, object], code: str) -> None:
    totals = rehearsed(tmp_path, with_levers(PLAIN, lever), "toolbench/chain6-1").totals
    assert totals.lost_tokens
    # Among shuffled orders one may begin as an earlier one, which the only slot holds no more (E20).
    assert max(totals.lost_by_cause_s, key=lambda name: totals.lost_by_cause_s[name] or 0) == code
    assert set(totals.lost_by_cause_s) <= {code, "E20"}
    assert sum(s or 0 for s in totals.lost_by_cause_s.values()) == pytest.approx((totals.lost_ns or 0) / 1e9, rel=0.2)
