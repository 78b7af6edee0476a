"""Plans of llama.cpp, on the real library: sizes, models larger than the machine, wrong input, a worker that dies."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from backends import open_planner, parse_target
from backends.abilities import Planner
from backends.base import LaunchError, ModelFileError, Target, TargetError
from backends.gguf_header import read_header
from backends.workers.llama_planner import LlamaPlanner
from backends.workers.planning_messages import PlanSettings
from profiler.fit.engine_plan import EnginePlan, engine_plan
from tests.backends.header_models import GEMMA_3_270M, LLAMA_70B, parameters, write_header
from tests.tiny_model.export import quantize
from tests.tiny_model.templates import FOLDER

pytest.importorskip("llama_cpp")
pytestmark = pytest.mark.engine

MIB = 1 << 20
F16 = FOLDER / "tiny-f16.gguf"
Q4_K_M = FOLDER / "tiny-q4_k_m.gguf"


@pytest.fixture(scope="module")
def server() -> Iterator[Planner]:
    with closing(open_planner("llama-server")) as planner:
        yield planner


@pytest.fixture(scope="module")
def library() -> Iterator[Planner]:
    with closing(open_planner("llama-cpp")) as planner:
        yield planner


def planned(planner: Planner, target: str) -> EnginePlan:
    plan = engine_plan(planner.plan(parse_target(target)))
    assert plan is not None
    return plan


def cache_mib(plan: EnginePlan) -> float:
    return sum(cache.bytes for cache in plan.caches) / MIB


def tensor_bytes(model: Path) -> int:
    return sum(tensor.size_bytes or 0 for tensor in read_header(model).tensors)


def test_every_byte_of_the_weights_is_in_one_memory(library: Planner) -> None:
    memories = planned(library, f"llama-cpp:{Q4_K_M}?ctx=2048").memories
    assert sum(memory.weights_bytes or 0 for memory in memories) == pytest.approx(tensor_bytes(Q4_K_M), abs=4096)


@pytest.mark.parametrize(
    ("options", "mib"),
    [
        ("ctx=4096", 8),
        ("ctx=4096&kv=q8_0", 4.25),
        ("ctx=4096&slots=4", 8),
        ("ctx=1000&slots=3", 3),  # 512 cells for each slot
        ("slots=2", 128),  # the model's 32768 tokens for each slot
    ],
)
def test_a_server_is_planned_with_its_own_defaults(server: Planner, options: str, mib: float) -> None:
    assert cache_mib(planned(server, f"llama-server:{F16}?{options}")) == mib


def test_the_automatic_slots_of_a_server_share_one_cache(server: Planner) -> None:
    (cache,) = planned(server, f"llama-server:{F16}?ctx=4096").caches
    assert (cache.sequences, cache.streams) == (4, 1)


def test_flash_attention_is_off_in_the_library_and_automatic_in_the_server(server: Planner, library: Planner) -> None:
    of_server = planned(server, f"llama-server:{F16}?ctx=8192&slots=1")
    of_library = planned(library, f"llama-cpp:{F16}?ctx=8192")
    assert (of_server.flash_attention, of_library.flash_attention) == (True, False)
    assert of_library.memories[0].compute_bytes > 4 * of_server.memories[0].compute_bytes


@pytest.mark.parametrize(
    ("options", "mib"),
    [
        ("ctx=4096&slots=1", 27),
        ("ctx=4096&slots=2", 42),
        ("ctx=4096&slots=4", 72),
        ("ctx=4096&slots=8", 72),
        ("ctx=8192&slots=1", 39),
        ("ctx=8192&slots=2", 54),
        ("ctx=1024&slots=3", 27),
        ("ctx=1024&slots=4", 18),
    ],
)
def test_a_header_gives_the_sizes_that_servers_printed_for_gemma_3_270m(
    server: Planner, options: str, mib: float, tmp_path: Path
) -> None:
    """Sources: see `tests/profiler/fit/public_figures.toml`."""
    model = write_header(tmp_path / "gemma-3-270m.gguf", GEMMA_3_270M)
    assert cache_mib(planned(server, f"llama-server:{model}?{options}")) == mib


def test_a_model_larger_than_this_machine_is_planned_from_its_header(server: Planner, tmp_path: Path) -> None:
    model = write_header(tmp_path / "llama-70b.gguf", LLAMA_70B)
    plan = planned(server, f"llama-server:{model}?ctx=32768&slots=1")
    assert cache_mib(plan) == 10 * 1024
    assert sum(m.weights_bytes or 0 for m in plan.memories) == pytest.approx(2 * parameters(LLAMA_70B), rel=1e-3)
    assert model.stat().st_size < MIB


def test_sizes_of_types_are_those_of_written_files(server: Planner, tmp_path: Path) -> None:
    sizes = server.quantised_bytes(str(F16))
    assert {"IQ2_XXS", "IQ1_S", "Q2_K", "Q4_K_M", "Q8_0", "F16", "BF16"} <= set(sizes), (
        "also those that need an imatrix"
    )
    for label in ("Q4_0", "Q5_K_M"):
        assert tensor_bytes(quantize(F16, tmp_path / f"{label}.gguf", f"MOSTLY_{label}")) == sizes[label]
    assert tensor_bytes(F16) == sizes["F16"]


def test_sizes_of_types_need_no_weights(server: Planner, tmp_path: Path) -> None:
    header = write_header(tmp_path / "llama-70b.gguf", LLAMA_70B)
    assert server.quantised_bytes(str(header))["Q8_0"] == pytest.approx(parameters(LLAMA_70B) * 34 / 32, rel=1e-3)


@pytest.mark.parametrize(
    ("target", "error", "words"),
    [
        ("llama-cpp:absent.gguf", ModelFileError, "does not exist"),
        (f"llama-cpp:{F16}?ctxx=1", TargetError, "no option 'ctxx'"),
        (f"llama-cpp:{F16}?kv=q8_0&flash_attn=off", TargetError, "needs flash attention"),
        ("llama-cpp:http://127.0.0.1:1", TargetError, "needs a model file"),
    ],
)
def test_wrong_input_is_said(library: Planner, target: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        library.plan(parse_target(target))


def test_what_the_library_refuses_is_said_and_the_next_question_is_answered(library: Planner, tmp_path: Path) -> None:
    data = F16.read_bytes()
    unknown = tmp_path / "unknown.gguf"
    unknown.write_bytes(re.sub(rb"(general\.architecture\x08\0\0\0\x05\0\0\0\0\0\0\0)qwen3", rb"\1qwen9", data))
    with pytest.raises(LaunchError, match="could not plan") as refused:
        library.plan(parse_target(f"llama-cpp:{unknown}?ctx=512"))
    assert "qwen9" in (refused.value.hint or "")
    assert cache_mib(planned(library, f"llama-cpp:{F16}?ctx=512")) == 1


def test_a_worker_that_was_killed_is_replaced() -> None:
    with closing(LlamaPlanner("llama-cpp", lambda _target, _header: SETTINGS)) as planner:
        planner.plan(Target("llama-cpp", str(F16)))
        assert planner.pid is not None
        os.kill(planner.pid, signal.SIGKILL)
        assert "llama_kv_cache: size" in planner.plan(Target("llama-cpp", str(F16)))


def test_a_plan_without_the_breakdown_has_all_but_the_weights(library: Planner) -> None:
    log = library.plan(parse_target(f"llama-cpp:{F16}?ctx=4096"))
    without = engine_plan("\n".join(line for line in log.splitlines() if "breakdown" not in line))
    assert without is not None
    assert not without.tells_weights
    assert cache_mib(without) == 8


SETTINGS = PlanSettings(
    context_tokens=512,
    sequences=1,
    kv="f16",
    batch=512,
    ubatch=512,
    flash_attn="off",
    swa_full=True,
    kv_unified=False,
    gpu_layers=-1,
    most_outputs=0,
)
