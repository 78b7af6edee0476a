"""What engine, request and settings name themselves: each with the line that proves it, and a near miss."""

from __future__ import annotations

import pytest

from backends.base import Facts, JsonObject
from profiler.causes import engine_said as said
from profiler.causes.engine_rules import engine_causes
from profiler.records import Failure
from tests.profiler.causes.engine_cases import IMAGE, LLAMA, case, ids, step

SAVED = "saving prompt with length 1000, total state size = 2.969 MiB (draft: 0.000 MiB)"
TOO_LARGE = "prompt state size 2.969 MiB exceeds cache size limit 1.000 MiB, skipping"
SEARCHED = "looking for better prompt, base f_keep = 0.029, f_sim = 0.001"
OLDEST = "id  0 | task -1 | selected slot by LRU, t_last = 14562043615"
ALIKE = "id  0 | task -1 | selected slot by LCP similarity, f_sim_best = 0.408 (> 0.100 thold), f_keep = 0.946"


def test_a_reload_is_believed_where_the_engine_says_it() -> None:
    cause = said.reloaded(case(0, reloaded=True))
    assert cause is not None
    assert (cause.code, cause.confidence) == ("E8", "observed")
    assert said.reloaded(case(0, log=("the model was loaded for this request (2.1 s): its cache was empty",)))
    # What another request was loaded for is gone for this one too.
    other = step(5, ids(3, 40, 5), conversation="title", reloaded=True)
    found = said.reloaded(case(0, between=(other,)))
    assert found is not None
    assert "s/title (request 5)" in found.text
    assert said.reloaded(case(0, reloaded=False)) is None
    assert said.reloaded(case(0)) is None


@pytest.mark.parametrize("parameters", [{"cache_prompt": True}, {}, {"temperature": 0, "cache_prompt": None}])
def test_caching_is_off_only_where_it_is_said(parameters: JsonObject) -> None:
    assert said.caching_off(case(0, parameters={"cache_prompt": False})) is not None
    assert said.caching_off(case(0, parameters=parameters)) is None
    off = Facts("vllm", settings={"enable_prefix_caching": "False"})
    assert said.caching_off(case(0, facts=off)) is not None


def test_another_adapter_is_logged() -> None:
    line = "id  0 | task 12 | clearing cache for lora change. 1 loras -> 2 loras"
    cause = said.adapter_changed(case(0, log=(line,)))
    assert cause is not None
    assert cause.code == "E9"
    assert cause.proofs[0].text == line
    assert said.adapter_changed(case(0, log=("id  0 | task 12 | keeping cache for alora. 1 target loras",))) is None


def test_a_shift_counts_for_the_requests_after_it() -> None:
    line = "id  2 | task 7 | slot context shift, n_keep = 1, n_left = 511, n_discard = 255"
    before = step(1, ids(1000, 1000, 1), slot=2, log=(line,))
    assert said.context_shifted(case(1, best=before)) is not None
    # Its own shift came after its prefill; one in another slot moved nothing here.
    assert said.context_shifted(case(1, log=(line,))) is None
    elsewhere = step(5, ids(3, 40, 5), slot=1, log=(line,))
    assert said.context_shifted(case(1, between=(elsewhere,))) is None


def test_a_reply_cut_at_the_end_of_the_context_moves_nothing() -> None:
    line = "id  2 | task 7 | stop processing: n_tokens = 512, truncated = 1"
    before = step(1, ids(1000, 1000, 1), slot=2, log=(line,))
    assert said.context_shifted(case(1, best=before, log=(line,))) is None


def test_a_purge_of_another_slot_is_not_to_blame() -> None:
    purge = step(5, ids(3, 40, 5), conversation="other", slot=1, log=("purging slot 2 with 1027 tokens",))
    cause = said.kv_purged(case(0, between=(purge,)))
    assert cause is not None
    assert (cause.code, cause.confidence) == ("E17", "observed")
    assert "s/other (request 5)" in cause.text
    other = step(5, ids(3, 40, 5), slot=1, log=("purging slot 3 with 1027 tokens",))
    assert said.kv_purged(case(0, between=(other,))) is None


def test_a_store_is_too_small_for_a_prompt_that_it_was_given_and_searched_for() -> None:
    title = step(5, ids(3, 40, 5), conversation="title", slot=0, log=(OLDEST, SAVED, TOO_LARGE))
    cause = said.store_full(case(1, between=(title,), log=(OLDEST, SEARCHED)))
    assert cause is not None
    assert (cause.code, cause.confidence) == ("E7", "observed")
    # Not searched, found, or another prompt that was dropped: something else is to blame.
    assert said.store_full(case(1, between=(title,), log=(ALIKE,))) is None
    found = "found better prompt with f_keep = 0.996, f_sim = 1.000"
    assert said.store_full(case(1, between=(title,), log=(OLDEST, SEARCHED, found))) is None
    other = step(5, ids(3, 40, 5), log=("saving prompt with length 77, total state size = 1 MiB", TOO_LARGE))
    assert said.store_full(case(1, between=(other,), log=(OLDEST, SEARCHED))) is None
    assert said.store_full(case(1, log=(OLDEST, SEARCHED))) is None


def test_a_server_that_logs_little_is_inferred_from() -> None:
    removed = "cache size limit reached, removing oldest entry (size = 2.969 MiB)"
    title = step(5, ids(3, 40, 5), log=(removed,))
    cause = said.store_full(case(1, between=(title,)))
    assert cause is not None
    assert cause.confidence == "inferred"


def test_mlx_keeps_ten_prompts_unless_told_otherwise() -> None:
    facts = Facts("mlx-server", cache_kind="full")
    others = tuple(step(2, ids(3, 40, n), conversation=f"c{n}") for n in range(2, 12))
    cause = said.store_full(case(1, facts=facts, between=others))
    assert cause is not None
    assert cause.code == "E7"
    assert said.store_full(case(1, facts=facts, between=others[:9])) is None
    larger = Facts("mlx-server", settings={"prompt_cache_size": "20"})
    assert said.store_full(case(1, facts=larger, between=others)) is None


@pytest.mark.parametrize(
    "line", ["id  0 | task 3 | failed to load prompt from cache", "WARN failed to restore cache, freeing all caches"]
)
def test_a_failed_restore_is_logged(line: str) -> None:
    cause = said.restore_failed(case(0, log=(line,)))
    assert cause is not None
    assert cause.code == "E16"
    assert said.restore_failed(case(0, log=("found better prompt with f_keep = 0.996, f_sim = 1.000",))) is None


def test_a_request_that_ended_before_any_output_left_a_part() -> None:
    failure = Failure("EngineFault", "the client gave up")
    before = step(1, ids(1000, 1000, 1), error=failure, first_delta=False)
    cause = said.cancelled(case(640, best=before))
    assert cause is not None
    assert cause.code == "E12"
    assert "s/main (request 1)" in cause.text
    answered = step(1, ids(1000, 1000, 1), error=failure)
    assert said.cancelled(case(640, best=answered)) is None
    assert said.cancelled(case(640)) is None


def test_the_image_path_is_blamed_for_images_alone() -> None:
    log = "0.01 I srv load_model: loaded multimodal model, 'mmproj.gguf'\nW cache_reuse is not supported by multimodal"
    cause = said.vision_path(case(0, load_log=log, messages=(IMAGE,)))
    assert cause is not None
    assert cause.code == "E11"
    assert said.vision_path(case(0, load_log=log, messages=({"role": "user", "content": "text"},))) is None
    assert said.vision_path(case(0, messages=(IMAGE,))) is None


@pytest.mark.parametrize(
    "parameters",
    [
        {"temperature": 1.0, "top_p": 0.5, "seed": 3},
        {"grammar": "root ::= [a]", "response_format": {"type": "json_object"}},
        {"stop": ["x"], "logit_bias": {"3": 1}, "max_tokens": 9},
    ],
)
def test_what_touches_no_cache_is_never_blamed(parameters: JsonObject) -> None:
    quantised = Facts("llama-server", slots=4, cache_kind="full", granularity_tokens=1, settings={"kv": "q4_0"})
    for facts in (LLAMA, quantised, Facts("llama-cpp", cache_kind="full"), Facts("openai")):
        assert engine_causes(case(400, facts=facts, parameters=parameters)) == ()
