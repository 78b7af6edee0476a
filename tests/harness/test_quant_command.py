"""`dyno quant` as a user types it: wrong inputs, predictions, and one whole comparison on the real engines."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backends.base import ModelFileError, TargetError, UnknownEngine
from harness.cli import app
from harness.experiment.plan import PlanError
from harness.quant.depths import DepthPlan
from harness.quant.plan import Amount, QuantPlan, steps_of
from harness.quant.planning import QuantAsked, choice_of
from harness.quant.prediction import predict_all
from harness.quant.store import Comparison, create, read_comparison
from harness.sessions import SessionError
from harness.tasks.base import TaskError

TINY = Path(__file__).parents[2] / "profiles" / "models" / "tiny"
Q8, Q4, Q2 = (str(TINY / f"tiny-{name}.gguf") for name in ("q8_0", "q4_k_m", "q2_k"))

Dyno = Callable[..., str]


@pytest.fixture
def dyno(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Dyno:
    """Runs a command in an empty folder, without what the user has saved, and gives what it printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def run(*words: str) -> str:
        app(["quant", *words], standalone_mode=False)
        return capsys.readouterr().out

    return run


@pytest.mark.parametrize(
    ("words", "error", "said"),
    [
        (["."], PlanError, "no model in"),
        (["nothing.gguf"], PlanError, "does not exist"),
        ([Q8, Q8], PlanError, "given twice"),
        ([Q8], PlanError, "Q8_0 alone is no comparison"),
        ([str(TINY / "README.md"), Q8], ModelFileError, "README.md"),
        ([Q8, Q2, "--memory", "much"], PlanError, "no size of memory"),
        ([Q8, Q2, "--budget", "soon"], PlanError, "no duration"),
        ([Q8, Q2, "--kv", "f16,q7"], PlanError, "'q7' is no type of KV cache"),
        ([Q8, Q2, "--machine", "m4-maxx-128g"], TargetError, "no machine is named"),
        ([Q8, Q2, "--tasks", "toolbench:99"], PlanError, "no number of tasks"),
        ([Q8, Q2, "--tasks", "toolbemch"], TaskError, "toolbemch"),
        ([Q8, Q2, "--sessions", "nothing-of-the-kind"], SessionError, "nothing-of-the-kind"),
        ([Q8, Q2, "--set", "threads"], PlanError, "has no value"),
        ([Q8, Q2, "--set", "thread=1"], TargetError, "thread"),
        ([Q8, Q2, "--engine", "llama-serve"], UnknownEngine, "llama-serve"),
        ([Q8, Q2, "--engine", "openai"], PlanError, "openai does not load GGUF files"),
        ([Q8, Q2, "--context", "1000000000"], PlanError, "has 32,768 tokens of context"),
        ([Q8, Q2, "--budget", "soon", "--predict-only"], PlanError, "no duration"),
        ([Q8, Q2, "--chart", "no/such/chart.html"], PlanError, "no folder"),
        ([Q8, Q2, "--chart", "chart.pdf"], PlanError, "no chart"),
        (["--resume", "latest"], PlanError, "no comparison 'latest'"),
    ],
)
def test_a_wrong_input_is_one_clear_line_and_starts_nothing(
    words: list[str], error: type[Exception], said: str, dyno: Dyno, tmp_path: Path
) -> None:
    with pytest.raises(error, match=said) as raised:
        dyno(*words)
    assert "\n" not in str(raised.value)
    assert getattr(raised.value, "hint", None)
    assert not (tmp_path / "runs").exists()


def test_a_split_model_with_a_part_missing(dyno: Dyno, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    shutil.copyfile(Q2, folder / "m-00001-of-00002.gguf")
    with pytest.raises(PlanError, match="not complete: 1 of 2 parts are here"):
        dyno(str(folder))


def test_predictions_alone_load_nothing_and_store_nothing(dyno: Dyno, tmp_path: Path) -> None:
    document = json.loads(dyno(str(TINY), "--predict-only", "--json", "--context", "4096", "--machine", "m4-max-128g"))
    assert document["verdict"]["answer"] == "predicted"
    rows = {row["name"]: row for row in document["candidates"]}
    assert set(rows) == {"F16", "Q8_0", "Q4_K_M", "Q2_K"}
    assert rows["Q8_0"]["memory"]["fits"] == "fits"
    assert rows["Q8_0"]["memory"]["measured_bytes"] is None
    assert (
        rows["Q8_0"]["speed"]["predicted_decode_tokens_per_s"] > rows["F16"]["speed"]["predicted_decode_tokens_per_s"]
    )
    assert "m4-max-128g" in document["machine"]
    assert not (tmp_path / "runs").exists()


def test_less_memory_than_it_takes_is_said_with_what_would_fit(dyno: Dyno) -> None:
    document = json.loads(dyno(Q8, Q2, "--predict-only", "--json", "--context", "32768", "--memory", "110M"))
    found = {row["name"]: row["memory"]["fits"] for row in document["candidates"]}
    assert set(found.values()) <= {"fits_with_smaller_kv", "fits_with_less_context", "does_not_fit"}
    assert "fits" not in found.values()


def test_from_one_file_the_size_of_every_quant_is_told(dyno: Dyno) -> None:
    pytest.importorskip("llama_cpp")
    document = json.loads(dyno(str(TINY / "tiny-f16.gguf"), "--predict-only", "--json", "--context", "2048"))
    rows = {row["name"]: row for row in document["candidates"]}
    made = json.loads(dyno(Q4, "--predict-only", "--json", "--context", "2048"))
    real = next(row for row in made["candidates"] if row["name"] == "Q4_K_M")
    assert rows["Q4_K_M (of F16)"]["tensor_bytes"] == real["tensor_bytes"]
    assert "not made yet" in rows["Q4_K_M (of F16)"]["model_notes"][0]


def test_the_plan_says_its_cost_and_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    app(["quant", Q8, Q2, "--plan", "--context", "4096", "--repeats", "3"], standalone_mode=False)
    said = capsys.readouterr().err
    assert "3 rounds in random order" in said
    assert "reference Q8_0" in said
    assert any(unit in said for unit in (" s: more", " min: more"))
    assert not (tmp_path / "runs").exists()


SMALL = Amount(
    rounds=1,
    depths=DepthPlan((0,), prefill_tokens=64, decode_tokens=8),
    sessions=(),
    tasks=("toolbench/select-1",),
    positions=3,
    chunks=2,
    chunk_tokens=128,
    position_tasks=("toolbench/chain2-1",),
)


@pytest.mark.engine
def test_two_bundled_quants_on_the_real_engines(dyno: Dyno, tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp")
    pytest.importorskip("xllamacpp")
    of, wanted = choice_of(QuantAsked(files=(Path(Q8), Path(Q2)), context=4096))
    plan = QuantPlan(wanted=wanted, choice=of, amount=SMALL)
    predicted = predict_all(of, wanted)
    path = create(tmp_path / "runs", Comparison("small", 1, plan, predicted.by_name, predicted.machine))
    document: dict[str, Any] = json.loads(dyno("--resume", "small", "--runs", str(tmp_path / "runs"), "--json"))
    assert document["complete"]
    rows = {row["name"]: row for row in document["candidates"]}
    assert document["verdict"]["answer"] in {"recommended", "cannot tell"}
    for name in ("Q8_0", "Q2_K"):
        row = rows[name]
        assert row["excluded"] is None
        assert row["memory"]["measured_bytes"] > 4096 * 4 * 2 * 128 * 2, "the KV cache at least"
        assert row["speed"]["decode_tokens_per_s"] > 0
        assert row["tasks"]["dispatches"] == 1
    assert rows["Q8_0"]["tasks"]["passed"] == 1
    assert rows["Q2_K"]["quality"]["kld"] > 20 * rows["Q8_0"]["quality"]["kld"]
    assert rows["Q8_0"]["quality"]["same_top"] > 0.99 > rows["Q2_K"]["quality"]["same_top"]
    assert rows["Q2_K"]["flips"]["positions"] == 3
    done = read_comparison(path).done
    assert [one.step for one in done] == list(steps_of(plan))
    # Again: nothing is left, so nothing is loaded, and the report is the same.
    loads = sorted(folder.name for folder in path.iterdir())
    again = json.loads(dyno("--resume", "small", "--runs", str(tmp_path / "runs"), "--json"))
    assert again == document
    assert sorted(folder.name for folder in path.iterdir()) == loads
