"""What a kind of cache can do at all: checkpoints, whole or nothing, blocks, the path of a seed, a full context."""

from __future__ import annotations

from backends.base import Facts
from profiler.causes import engine_limits as limits
from tests.profiler.causes.engine_cases import case

WINDOW = Facts("llama-server", slots=1, cache_kind="sliding_window", granularity_tokens=516)
RESTORED = "id  0 | task 12 | restored context checkpoint (pos_min = 502, pos_max = 502, n_tokens = 503, n_past = 503)"
FORCED = "id  0 | task 21 | forcing full prompt re-processing due to lack of cache data (likely due to SWA …)"


def test_a_checkpoint_is_named_by_its_line() -> None:
    cause = limits.checkpoint_too_far(case(503, facts=WINDOW, log=(RESTORED,)))
    assert cause is not None
    assert (cause.code, cause.confidence) == ("E6", "observed")
    assert "503" in cause.text
    inferred = limits.checkpoint_too_far(case(503, facts=WINDOW))
    assert inferred is not None
    assert inferred.confidence == "inferred"
    assert limits.checkpoint_too_far(case(503)) is None
    assert limits.checkpoint_too_far(case(1, facts=WINDOW)) is None


def test_without_a_checkpoint_everything_is_evaluated_again() -> None:
    cause = limits.not_trimmable(case(0, facts=WINDOW, log=(FORCED,)))
    assert cause is not None
    assert (cause.code, cause.confidence) == ("E5", "observed")
    noted = ("999 tokens matched, but this cache cannot be cut back: all was evaluated",)
    assert limits.not_trimmable(case(0, facts=Facts("mlx", cache_kind="recurrent"), log=noted)) is not None
    assert limits.not_trimmable(case(0)) is None
    # Something was kept: that is not «all or nothing».
    assert limits.not_trimmable(case(503, facts=WINDOW)) is None


def test_a_seed_matters_to_mlx_alone_and_where_nothing_can_be_cut_back() -> None:
    seed = {"seed": 7}
    recurrent = Facts("mlx-server", cache_kind="recurrent")
    cause = limits.sequential_path(case(0, facts=recurrent, parameters=seed))
    assert cause is not None
    assert cause.code == "E14"
    assert limits.sequential_path(case(0, facts=recurrent)) is None
    assert limits.sequential_path(case(0, facts=Facts("mlx-server", cache_kind="full"), parameters=seed)) is None
    assert limits.sequential_path(case(0, parameters=seed)) is None
    quantised = Facts("mlx-server", cache_kind="recurrent", settings={"kv_bits": "8"})
    assert limits.sequential_path(case(0, facts=quantised)) is not None


def test_blocks_explain_a_count_of_whole_blocks() -> None:
    vllm = Facts("vllm", granularity_tokens=16)
    cause = limits.block_granularity(case(992, facts=vllm))
    assert cause is not None
    assert cause.proofs[0].text == "992 = 62 × 16"
    assert limits.block_granularity(case(993, facts=vllm)) is None
    assert limits.block_granularity(case(992)) is None
    # The step of a window is that of its checkpoints: 0 tokens are no whole blocks of it.
    assert limits.block_granularity(case(0, facts=WINDOW)) is None


def test_a_full_context_is_lm_studios_case() -> None:
    cause = limits.context_full(case(0, facts=Facts("lmstudio", context_tokens=1200)))
    assert cause is not None
    assert cause.code == "E18"
    assert limits.context_full(case(0, facts=Facts("lmstudio", context_tokens=4096))) is None
    assert limits.context_full(case(0, facts=Facts("llama-server", context_tokens=1200))) is None
