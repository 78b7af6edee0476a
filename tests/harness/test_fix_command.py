"""`dyno fix` on a simulation whose prices are constant, so that predicted and measured can be compared to the token."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from backends.base import EngineDied, TargetError
from harness.cli.cache_run import CacheRun, run_cache
from harness.cli.fix_run import FixAsked, run_fix
from harness.fixing.plan import Wanted
from harness.session_maker.generator import fewest_turns, generate
from harness.sessions import Session, SessionError, read_session, write_session
from profiler.run_names import list_runs
from profiler.store import StoreError, read_run
from tests.harness.fixing import fix_engine

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "fix.schema.json").read_text())
ENGINE = "tests.harness.fixing.fix_engine:?"
TURNS = 6
PREFILL_S = 0.0001
"""Of one token, in the simulation."""


def written(folder: Path, *kinds: str) -> list[Path]:
    """Short sessions as files, named as their kinds."""
    files = [folder / f"{kind}.jsonl" for kind in kinds]
    for number, (kind, file) in enumerate(zip(kinds, files, strict=True)):
        write_session(generate(kind, seed=40 + number, turns=max(TURNS, fewest_turns(kind)), scale=0.3), file)
    return files


def measured(tmp_path: Path, *kinds: str, target: str = "scripted:", repeat: int = 1, cold: bool = False) -> Path:
    """The folder of runs, with one run of these sessions in it."""
    files = written(tmp_path, *kinds)
    sessions = tuple(map(read_session, files))
    fix_engine.start()
    asked = CacheRun("cache", target, sessions, repeat, cold, tmp_path / "runs", True, named=tuple(map(str, files)))
    run_cache(asked)
    return tmp_path / "runs"


def fixed(
    runs: Path,
    capsys: pytest.CaptureFixture[str],
    *,
    apply: bool = True,
    run: str | None = None,
    baseline: bool = True,
    wanted: Wanted | None = None,
) -> dict[str, Any]:
    """The document of a fix of the first run."""
    capsys.readouterr()
    name = run or list_runs(runs)[0].name
    asked = FixAsked(name, runs, wanted or Wanted(), apply=apply, baseline=baseline, json_output=True)
    try:
        run_fix(asked)
    finally:
        fixed.document = json.loads(capsys.readouterr().out or "null")  # type: ignore[attr-defined]
    value: dict[str, Any] = fixed.document  # type: ignore[attr-defined]
    jsonschema.validate(value, SCHEMA)
    return value


def chosen(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {"+".join(row["codes"]): row for row in document["levers"] if row["chosen"]}


def test_the_plan_sends_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = measured(tmp_path, "clock-in-system-prompt", "append-only")
    document = fixed(runs, capsys, apply=False)
    assert document["status"] == "planned"
    assert document["total"] is None
    assert len(list_runs(runs)) == 1
    (row,) = document["levers"]
    assert (row["codes"], row["rewrite"], row["sessions"]) == (["P1"], "freeze_system", ["clock-in-system-prompt"])
    assert row["predicted"]["how"] == "charge"
    assert row["predicted"]["s"] == pytest.approx(row["predicted"]["tokens"] * PREFILL_S)


def test_measured_is_what_was_predicted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kinds = ("clock-in-system-prompt", "tools-reordered", "reasoning-dropped", "compaction", "append-only")
    runs = measured(tmp_path, *kinds)
    document = fixed(runs, capsys)
    assert document["status"] == "complete"
    assert {code for codes in chosen(document) for code in codes.split("+")} == {"P1", "P6", "P9", "P11", "E20"}
    for row in chosen(document).values():
        got = row["measured"]
        # The last token of a reply was never evaluated, so a request that goes on evaluates it: one token each.
        assert 0 <= got["predicted_tokens"] - got["saved_tokens"] <= got["requests"]
        assert got["saved_s"] == pytest.approx(got["saved_tokens"] * PREFILL_S)
        assert got["clock"] == "engine"
        assert got["remaining"] == []
        assert (got["failed"], got["doubtful"]) == (0, 0)
    total = document["total"]
    assert total["saved_tokens"] == sum(row["measured"]["saved_tokens"] for row in chosen(document).values())
    assert total["ratio_s"] == pytest.approx(1, abs=0.02)


def test_the_runs_are_ordinary_runs_that_say_what_they_repeat(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = measured(tmp_path, "clock-in-system-prompt", "append-only")
    document = fixed(runs, capsys)
    plain, levered = (read_run(runs / made["run"]) for made in document["runs"])
    assert [made["levers"] for made in document["runs"]] == [[], [1]]
    for run in (plain, levered):
        assert run.info.command == "fix"
        assert run.info.settings["repeats_run"] == document["run"]
        assert {record.session for record in run.requests} == {"clock-in-system-prompt"}
        assert [record.request_id for record in run.requests] == list(range(1, TURNS + 1))
        assert run.closed is not None
        assert run.closed.status == "complete"
    assert plain.info.settings["levers"] == []
    assert levered.info.settings["levers"][0]["rewrite"] == "freeze_system"
    stored = read_run(list_runs(runs)[0]).requests
    assert [r.evidence for r in plain.requests] == [r.evidence for r in stored if r.session != "append-only"]


def test_all_sessions_are_replayed_if_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = measured(tmp_path, "clock-in-system-prompt", "append-only")
    document = fixed(runs, capsys, wanted=Wanted(all_sessions=True))
    levered = read_run(runs / document["runs"][1]["run"])
    assert {record.session for record in levered.requests} == {"clock-in-system-prompt", "append-only"}
    assert document["total"]["requests"] == 2 * TURNS


def test_without_a_baseline_the_stored_run_is_compared_with(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = measured(tmp_path, "clock-in-system-prompt", "append-only")
    again = fixed(runs, capsys)
    stored = fixed(runs, capsys, run=again["run"], baseline=False)
    assert stored["baseline"] == "stored"
    assert [made["levers"] for made in stored["runs"]] == [[1]]
    assert stored["total"]["saved_tokens"] == again["total"]["saved_tokens"]


def test_repeats_are_repeated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = measured(tmp_path, "clock-in-system-prompt", repeat=2, cold=True)
    document = fixed(runs, capsys)
    assert document["total"]["requests"] == 2 * TURNS
    levered = read_run(runs / document["runs"][1]["run"])
    assert [record.repeat for record in levered.requests] == [0] * TURNS + [1] * TURNS


def test_levers_on_one_session_are_set_one_after_the_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The clock comes first in the prompt: without its repair that of the reasoning saves nothing."""
    clock = generate("clock-in-system-prompt", seed=41, turns=TURNS, scale=0.3)
    reasoning = generate("reasoning-dropped", seed=41, turns=TURNS, scale=0.3)
    turns = tuple(
        msgspec.structs.replace(turn, messages=(ticking.messages[0], *turn.messages[1:]))
        for turn, ticking in zip(reasoning.turns, clock.turns, strict=True)
    )
    both = Session("both", "", None, None, None, turns)
    file = tmp_path / "both.jsonl"
    write_session(both, file)
    run_cache(CacheRun("cache", "scripted:", (both,), 1, False, tmp_path / "runs", True, named=(str(file),)))
    document = fixed(tmp_path / "runs", capsys)
    assert [made["levers"] for made in document["runs"]] == [[], [1], [1, 2]]
    rows = chosen(document)
    assert set(rows) == {"P1", "P9"}
    for row in rows.values():
        assert row["measured"]["saved_tokens"] > 0
        off = row["measured"]["predicted_tokens"] - row["measured"]["saved_tokens"]
        assert abs(off) <= 2 * TURNS
    alone = fixed(tmp_path / "runs", capsys, run=document["run"], wanted=Wanted(causes=("P9",)))
    assert chosen(alone)["P9"]["measured"]["predicted_tokens"] == 0
    assert chosen(alone)["P9"]["measured"]["saved_tokens"] <= 0


def test_a_launch_option_is_set_and_a_lever_that_does_not_help_is_said_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = measured(tmp_path, "sub-agent", target=f"{ENGINE}slots=2&slot-prompt-similarity=0.2")
    capsys.readouterr()
    name = list_runs(runs)[0].name
    run_fix(FixAsked(name, runs, Wanted(causes=("E2",)), apply=True, baseline=True, json_output=False))
    said = capsys.readouterr().out
    assert said.strip().startswith("NO HELP")
    assert "It did not help." in said
    assert {"slots": "2", "slot_prompt_similarity": "0.5"} in [target.options for target in fix_engine.STATE.opened]


def test_a_server_that_dyno_did_not_start_gets_no_launch_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = measured(tmp_path, "clock-in-system-prompt", "sub-agent", target=f"{ENGINE}launched=off", cold=True)
    document = fixed(runs, capsys)
    assert set(chosen(document)) == {"P1"}
    (other,) = (row for row in document["levers"] if "E2" in row["codes"])
    assert "restart" in other["reason"]
    assert document["total"]["ratio_tokens"] == pytest.approx(1, abs=0.05)
    assert any("not started by dyno" in note for note in document["notes"])
    plain, levered = (read_run(runs / made["run"]) for made in document["runs"])
    for run in (plain, levered):
        # Salted: nothing of the stored run or of the other side was found.
        assert run.requests[0].verdict.cache_class in ("cold", "branch")
        assert (run.requests[0].evidence.cached_tokens or 0) < 20


@pytest.mark.parametrize(
    ("how", "raised", "status"), [("interrupt", KeyboardInterrupt, "interrupted"), ("die", EngineDied, "failed")]
)
def test_what_was_measured_is_kept(
    how: str, raised: type[BaseException], status: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two requests into the session with the lever; anchors count too."""
    fails_at = 1 + (1 + TURNS) + 1 + 3
    kinds = ("clock-in-system-prompt",)
    measured(tmp_path, *kinds, target=f"{ENGINE}how={how}")
    (run,) = list_runs(tmp_path / "runs")
    info = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**info, "target": f"{ENGINE}how={how}&fails_at={fails_at}"}))
    fix_engine.start()
    with pytest.raises(raised):
        fixed(tmp_path / "runs", capsys)
    document: dict[str, Any] = fixed.document  # type: ignore[attr-defined]
    assert document["status"] == status
    done = document["total"]
    assert done["requests"] == 3
    assert 0 <= done["predicted_tokens"] - done["saved_tokens"] <= 3
    for made in document["runs"]:
        closed = read_run(tmp_path / "runs" / made["run"]).closed
        assert closed is not None
        assert closed.status == status


def test_nothing_to_fix(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = measured(tmp_path, "append-only")
    document = fixed(runs, capsys)
    assert (document["levers"], document["applied"], document["total"]) == ([], False, None)
    run_fix(FixAsked("latest", runs, Wanted(), apply=True, baseline=True, json_output=False))
    assert "NOTHING TO SET  no loss was found" in capsys.readouterr().out


def test_what_a_server_does_not_say_is_no_loss_and_no_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = measured(tmp_path, "clock-in-system-prompt", target="scripted:?report=none")
    document = fixed(runs, capsys)
    assert document["levers"] == []
    assert f"{TURNS} of {TURNS} requests cannot be judged" in document["notes"][0]


def test_errors_say_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = measured(tmp_path, "clock-in-system-prompt")
    with pytest.raises(TargetError, match="no lever 7") as number:
        fixed(runs, capsys, wanted=Wanted(levers=(7,)))
    assert "levers 1 to 1" in str(number.value.hint)
    with pytest.raises(TargetError, match="cause E2") as cause:
        fixed(runs, capsys, wanted=Wanted(causes=("E2",)))
    assert "P1" in str(cause.value.hint)
    document = fixed(runs, capsys)
    with pytest.raises(TargetError, match="itself") as itself:
        fixed(runs, capsys, run=document["runs"][1]["run"])
    assert document["run"] in str(itself.value.hint)
    (tmp_path / "clock-in-system-prompt.jsonl").unlink()
    with pytest.raises(SessionError, match="cannot be read"):
        fixed(runs, capsys, run=document["run"])
    (runs / document["run"] / "prompts.zst").unlink()
    with pytest.raises(StoreError, match="kept no prompts"):
        fixed(runs, capsys, run=document["run"])
