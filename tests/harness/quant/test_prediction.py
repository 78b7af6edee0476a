"""What is predicted of candidates, for this machine and for others; of real files, without loading them."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.base import TargetError
from harness.quant.planning import QuantAsked, choice_of
from harness.quant.prediction import Predictions, predict_all

TINY = Path(__file__).parents[3] / "profiles" / "models" / "tiny"
MIB = 1 << 20


@pytest.fixture(autouse=True)
def nothing_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))


def predicted(*names: str, all_quants: bool = False, machine: str | None = None, **asked: object) -> Predictions:
    files = tuple(TINY / f"tiny-{name}.gguf" for name in names)
    fields = {"files": files, "predict_only": True, "context": 8192, "machine": machine, **asked}
    choice, wanted = choice_of(QuantAsked(**fields))  # type: ignore[arg-type]
    return predict_all(choice, wanted, machine=machine, all_quants=all_quants)


def test_the_kv_cache_is_what_its_type_and_context_make_it() -> None:
    found = predicted("q8_0", kv=("f16", "q8_0"), slots=2).by_name
    sizes = {
        name: max(part.bytes for part in one.memory.parts if part.what == "kv_cache") for name, one in found.items()
    }
    # 2 slots × 8192 cells × 4 layers × (128 keys + 128 values) of 2 bytes, or 34 bytes for 32.
    assert sizes["Q8_0"] == 2 * 8192 * 4 * 256 * 2
    assert sizes["Q8_0 kv=q8_0"] == 2 * 8192 * 4 * 256 * 34 // 32


def test_the_answer_changes_with_what_there_is() -> None:
    assert predicted("q8_0", "q2_k").by_name["Q8_0"].fit.answer == "fits"
    need = predicted("q8_0").by_name["Q8_0"].memory.must_have_bytes
    tight = predicted("q8_0", memory=f"{need // MIB - 2}M").by_name["Q8_0"]
    assert tight.fit.answer == "fits_with_smaller_kv"
    assert predicted("q8_0", memory="10M").by_name["Q8_0"].fit.answer == "does_not_fit"


def test_another_machine_is_named_with_where_its_figures_are_from() -> None:
    found = predicted("q8_0", machine="m4-max-128g")
    assert found.machine == "m4-max-128g (published, not measured by dyno)"
    speed = found.by_name["Q8_0"].speed
    assert speed is not None
    assert speed.basis == "roofline"
    assert {point.depth_tokens for point in speed.points} >= {0, 2048, 8192}
    with pytest.raises(TargetError):
        predicted("q8_0", machine="no-such-machine")


def test_without_a_measured_machine_no_speed_is_told_and_why() -> None:
    found = predicted("q8_0")
    assert found.by_name["Q8_0"].speed is None
    assert any("dyno doctor --save" in note for note in found.notes)


def test_every_quant_that_could_be_made_of_one_file() -> None:
    pytest.importorskip("llama_cpp")
    found = predicted("f16", all_quants=True)
    sizes = [one.model.tensor_bytes for one in found.unmade]
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) > 20
    weights = {
        name: [part for part in one.memory.parts if part.what == "weights"] for name, one in found.by_name.items()
    }
    assert [part.bytes for part in weights["Q4_K_M (of F16)"]] == [
        one.model.tensor_bytes for one in found.unmade if one.model.label == "Q4_K_M"
    ]
    assert not predicted("f16", "q8_0", all_quants=True).unmade
