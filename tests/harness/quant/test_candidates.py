"""Which models are compared: what files and folders mean, and what is answered where they mean nothing good."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest

from backends.base import ModelFileError
from harness.experiment.plan import PlanError
from harness.quant.base import Wanted
from harness.quant.candidates import candidates_of, check_enough, models_of, reference_of
from profiler.model_file.base import ModelFile
from tests.harness.quant.comparisons import model

TINY = Path(__file__).parents[3] / "profiles" / "models" / "tiny"
WANTED = Wanted(4096, 2)


def candidates(*models: ModelFile, kv: tuple[str, ...] = ("f16",), **further: Any) -> Any:
    return candidates_of(models, kv, WANTED, engine="llama-server", **further)


def test_a_folder_means_all_its_models_and_a_file_in_it_is_not_taken_twice() -> None:
    found = models_of([TINY])
    assert {one.label for one in found} == {"F16", "Q8_0", "Q4_K_M", "Q2_K"}
    again = models_of([TINY / "tiny-q8_0.gguf", TINY])
    assert len(again) == 4
    assert again[0].label == "Q8_0"


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (["tiny-q8_0.gguf", "./tiny-q8_0.gguf"], "given twice"),
        (["nothing.gguf"], "does not exist"),
        (["README.md"], "README.md"),
    ],
)
def test_wrong_files_are_named(named: list[str], said: str) -> None:
    with pytest.raises((PlanError, ModelFileError), match=said) as raised:
        models_of([TINY / name for name in named])
    assert getattr(raised.value, "hint", None)


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no model here\n")
    with pytest.raises(PlanError, match="no model in") as raised:
        models_of([tmp_path])
    assert ".gguf" in (raised.value.hint or "")


def test_a_split_model_with_a_part_missing(tmp_path: Path) -> None:
    for number in (1, 3):
        shutil.copyfile(TINY / "tiny-q2_k.gguf", tmp_path / f"m-{number:05}-of-00003.gguf")
    with pytest.raises(PlanError, match=r"not complete: 2 of 3 parts are here"):
        models_of([tmp_path])
    with pytest.raises(ModelFileError):
        models_of([tmp_path / "m-00001-of-00003.gguf"])


def test_a_damaged_file_in_a_folder_is_told_and_not_left_out(tmp_path: Path) -> None:
    shutil.copyfile(TINY / "tiny-q2_k.gguf", tmp_path / "good.gguf")
    (tmp_path / "bad.gguf").write_bytes((TINY / "tiny-q8_0.gguf").read_bytes()[:3000])
    with pytest.raises(ModelFileError, match=r"bad\.gguf"):
        models_of([tmp_path])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"architecture": "gemma3"}, "two architectures: .*made-up-8b-Q8_0.gguf is llama, .* is gemma3"),
        ({"parameters": 4_000_000_000}, "not the same model: .*8,030,000,000 parameters, .*4,000,000,000"),
        ({"vocabulary_tokens": 32000}, "not the same vocabulary: .*128,256 tokens, .*32,000"),
    ],
)
def test_another_model_is_no_quant_of_this_one(changed: dict[str, Any], said: str) -> None:
    files = {Path("a"): model("Q8_0"), Path("b"): model("Q4_K_M", 4.9, **changed)}

    def models(*names: str) -> None:
        models_of([TINY / "tiny-f16.gguf", TINY / "tiny-q8_0.gguf"], read=lambda _: files[Path(next(order))])

    order = iter(["a", "b"])
    with pytest.raises(PlanError, match=said):
        models()


def test_one_matrix_that_only_one_file_holds_makes_no_other_model() -> None:
    files = iter([model("Q8_0"), model("Q4_K_M", 4.9, parameters=8_130_000_000)])
    assert len(models_of([TINY / "tiny-f16.gguf", TINY / "tiny-q8_0.gguf"], read=lambda _: next(files))) == 2


def test_names_tell_the_candidates_apart() -> None:
    plain = candidates(model("Q8_0"), model("Q4_K_M", 4.9), kv=("f16", "q8_0"))
    assert [one.name for one in plain.candidates] == ["Q8_0", "Q8_0 kv=q8_0", "Q4_K_M", "Q4_K_M kv=q8_0"]
    twins = candidates(model("Q4_K_M", 4.9, path=Path("x/a.gguf")), model("Q4_K_M", 4.8, path=Path("y/b.gguf")))
    assert [one.name for one in twins.candidates] == ["a", "b"]
    same = candidates(model("Q4_K_M", 4.9, path=Path("x/a.gguf")), model("Q4_K_M", 4.8, path=Path("y/a.gguf")))
    assert [one.name for one in same.candidates] == ["x/a.gguf", "y/a.gguf"]


def test_the_target_is_what_was_wanted_and_typed() -> None:
    (one,) = candidates(model("Q8_0"), kv=("q8_0",), options={"threads": "6", "gpu_layers": "0"}).candidates
    assert one.target.options == {"ctx": "8192", "slots": "2", "kv": "q8_0", "threads": "6", "gpu_layers": "0"}


def test_the_reference_has_the_most_bits_unless_it_is_named() -> None:
    small, large = model("Q4_K_M", 4.9), model("Q8_0")
    found = candidates(small, large, kv=("q8_0", "f16"))
    assert found.reference.name == "Q8_0"
    assert reference_of(found.candidates) == found.reference
    other = model("F16", 16.0)
    named = candidates(small, large, reference=other)
    assert named.reference.model == other
    assert named.all[-1] == named.reference
    assert named.reference not in named.candidates
    own = candidates(small, large, reference=small)
    assert own.reference.name == "Q4_K_M"
    assert own.all == own.candidates


@pytest.mark.parametrize(
    ("kv", "said"), [(("f16", "f16"), "f16 twice"), (("q9_9",), "'q9_9' is no type of KV cache"), ((), "nothing")]
)
def test_types_of_kv_cache(kv: tuple[str, ...], said: str) -> None:
    with pytest.raises(PlanError, match=said):
        candidates(model(), kv=kv)


def test_one_quant_alone_is_no_comparison() -> None:
    one = candidates(model("Q8_0"))
    with pytest.raises(PlanError, match="Q8_0 alone is no comparison") as raised:
        check_enough(one)
    assert all(re.search(word, raised.value.hint or "") for word in ("--kv", "--reference", "--predict-only"))
    check_enough(candidates(model("Q8_0"), kv=("f16", "q8_0")))
    check_enough(candidates(model("Q8_0"), reference=model("F16", 16.0)))


def test_a_model_knows_nothing_of_where_it_was_found() -> None:
    (found,) = models_of([TINY / "tiny-q8_0.gguf"])
    assert msgspec.structs.replace(found, path=Path("x")) != found
