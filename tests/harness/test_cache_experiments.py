"""The experiments by which prompt caches were understood, on the real llama-server: what is lost, and its cause.

Rows a to h: an unrelated prompt, a title call between turns, a sub-agent with the same system prompt (and where the
loss moves with other settings), pinned slots, repeats, a date in the system prompt, reasoning that is left out,
`cache_prompt: false`; then losses that only an unusual request or setting provokes. Prompts have some hundred tokens.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import cast

import msgspec
import pytest

from backends import open_engine, parse_target
from backends.base import Engine, EngineFault, Event, JsonObject, Opened, Request
from backends.llama_server import LlamaServer
from backends.workers.server_process import Options, ServerProcess, free_port, library_settings
from harness.sessions import Turn
from profiler.verdict import floor_tokens
from tests.harness.cache_experiments import (
    REPLY,
    Seen,
    main_turns,
    on_engine,
    rows,
    sub_agent,
    system,
    turn,
    user,
    words,
)
from tests.tiny_model.architectures import write_hybrid, write_sliding_window

pytestmark = pytest.mark.engine

TINY = Path(__file__).parents[2] / "profiles" / "models" / "tiny" / "tiny-f16.gguf"
KINDS = ("full", "sliding_window", "recurrent")
ONE_SLOT = "slots=1"
NO_STORE = "slots=1&cache_ram=0"


Play = Callable[..., dict[str, list[Seen]]]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {
        "full": TINY,
        "sliding_window": write_sliding_window(folder / "window.gguf"),
        "recurrent": write_hybrid(folder / "hybrid.gguf"),
    }


@pytest.fixture(scope="module")
def play(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Play:
    """Plays rows on a server of their own; a server that was asked for before is not started again."""
    done: dict[tuple[str, ...], dict[str, list[Seen]]] = {}

    def played(kind: str, options: str, name: str) -> dict[str, list[Seen]]:
        key = (kind, options, name)
        if key not in done:
            target = f"llama-server:{models[kind]}?threads=1&ctx=4096" + (f"&{options}" if options else "")
            engine = open_engine(parse_target(target))
            try:
                done[key] = on_engine(engine, rows(name), tmp_path_factory.mktemp("runs"))
            finally:
                engine.close()
        return done[key]

    return played


@pytest.mark.parametrize("kind", KINDS)
def test_a_an_unrelated_prompt_shares_the_template_head_alone(play: Play, kind: str) -> None:
    _, title, _ = play(kind, NO_STORE, "no store")["b"]
    assert title.verdict.cache_class == "cold"
    assert title.cached <= 3
    assert not title.engine


@pytest.mark.parametrize("kind", KINDS)
def test_b_a_title_call_evicts_the_only_slot(play: Play, kind: str) -> None:
    first, _, back = play(kind, NO_STORE, "no store")["b"]
    assert back.cached <= 3
    assert back.shared > first.verdict.prompt_tokens  # type: ignore[operator]
    assert back.engine == {"E1": back.shared - back.cached}
    cause = back.cause("E1")
    assert cause.confidence == "observed"
    assert "b/title (request 2)" in cause.text
    assert any(proof.kind == "log" and "selected slot" in proof.text for proof in cause.proofs)


@pytest.mark.parametrize("kind", KINDS)
def test_b_the_store_of_the_server_brings_the_conversation_back(play: Play, kind: str) -> None:
    first, _, back = play(kind, ONE_SLOT, "one slot")["b"]
    if kind == "sliding_window":
        # What comes back out of the store goes back to its last checkpoint, four tokens before the end of the prompt.
        assert first.verdict.prompt_tokens is not None
        assert back.cached == first.verdict.prompt_tokens - 5
        assert set(back.engine) == {"E6"}
    else:
        assert back.reuses_all()


def test_b_a_store_that_is_too_small_does_not(play: Play) -> None:
    # 500 tokens of this model take 1 MiB; a main conversation has more.
    _, _, back = play("full", "slots=1&cache_ram=1", "one")["b"]
    assert set(back.engine) == {"E7"}
    cause = back.cause("E7")
    assert cause.confidence == "observed"
    assert "exceeds cache size limit" in cause.proofs[0].text


@pytest.mark.parametrize("kind", KINDS)
def test_c_a_sub_agent_takes_the_slot_while_others_are_empty(play: Play, kind: str) -> None:
    _, sub, back = play(kind, "", "four slots")["c"]
    assert sub.shared - sub.cached <= 4
    assert sub.record.evidence.slot == back.record.evidence.slot
    assert 0 <= sub.shared - back.cached <= 4
    assert back.engine == {"E2": back.shared - back.cached}
    cause = back.cause("E2")
    assert cause.confidence == "observed"
    assert f"c/sub (request {sub.record.request_id})" in cause.text
    assert "did not look for it" in cause.text  # the copy in main memory was intact


def test_c2_a_higher_similarity_has_the_store_searched(play: Play) -> None:
    _, sub, back = play("full", "slot_prompt_similarity=0.5", "four slots")["c"]
    assert sub.reuses_all()
    assert back.reuses_all()


@pytest.mark.parametrize("similarity", ["0.98", "0"])
def test_c3_a_still_higher_one_moves_the_loss_to_the_sub_agent(play: Play, similarity: str) -> None:
    _, sub, back = play("full", f"slot_prompt_similarity={similarity}", "four slots")["c"]
    assert sub.cached == 0
    assert sub.engine == {"E19": sub.shared}
    assert sub.cause("E19").confidence == "observed"
    assert back.reuses_all()


@pytest.mark.parametrize("similarity", ["0.1", "0.5"])
def test_c4_a_branch_cuts_the_tail_off(play: Play, similarity: str) -> None:
    options = "" if similarity == "0.1" else f"slot_prompt_similarity={similarity}"
    _, branch, back = play("full", options, "four slots")["c4"]
    assert branch.reuses_all()
    assert abs(back.cached - branch.shared) <= 1
    assert back.engine == {"E2": back.shared - back.cached}
    assert "did not look for it" not in back.cause("E2").text  # the tail was never saved


def test_c4_no_similarity_wins_everywhere(play: Play) -> None:
    _, branch, back = play("full", "slot_prompt_similarity=0.98", "four slots")["c4"]
    assert branch.reuses_all()
    # The branch cut the tail off, and what it left lay in a slot that this request did not get.
    assert back.cached <= floor_tokens(back.verdict.prompt_tokens or 0)
    assert set(back.engine) == {"E2", "E19"}
    assert abs(back.engine["E2"] - (back.shared - branch.shared)) <= 4
    _, branch, back = play("full", "slot_prompt_similarity=0", "four slots")["c4"]
    assert set(branch.engine) == {"E19"}
    assert back.reuses_all()


def test_d_a_pinned_slot_is_cleared_while_it_is_idle(play: Play) -> None:
    *_, main, sub = play("full", "", "pinned")["d"]
    for one, slot in ((main, 0), (sub, 1)):
        assert one.cached == 0
        assert one.engine == {"E3": one.shared}
        cause = one.cause("E3")
        assert cause.confidence == "observed"
        assert any(f"id  {slot} |" in p.text and "clearing prompt" in p.text for p in cause.proofs if p.kind == "log")


@pytest.mark.parametrize("options", ["kv_unified=false", "cache_idle_slots=false"])
def test_d_pinning_works_where_idle_slots_are_not_cleared(play: Play, options: str) -> None:
    *_, main, sub = play("full", options, "pinned")["d"]
    assert main.reuses_all()
    assert sub.reuses_all()


def test_e_a_recurrent_cache_goes_back_to_its_checkpoint(play: Play) -> None:
    _, repeat, append = play("recurrent", ONE_SLOT, "one slot")["e"]
    # The last one lies four tokens before the end of a prompt.
    assert repeat.engine == {"E6": 3}
    assert repeat.cause("E6").confidence == "observed"
    assert append.reuses_all()


def test_e_without_checkpoints_it_starts_again(play: Play) -> None:
    _, repeat, append = play("recurrent", "slots=1&ctx_checkpoints=0", "repeats")["e"]
    assert repeat.engine == {"E5": repeat.shared}
    assert repeat.cause("E5").confidence == "observed"
    assert append.reuses_all()


@pytest.mark.parametrize("kind", ["full", "sliding_window"])
def test_e_a_cache_that_can_be_cut_back_repeats_all(play: Play, kind: str) -> None:
    _, repeat, append = play(kind, ONE_SLOT, "one slot")["e"]
    assert repeat.reuses_all()
    assert append.reuses_all()


@pytest.mark.parametrize(
    ("kind", "options", "name", "kept"),
    [
        ("full", ONE_SLOT, "one slot", True),
        ("sliding_window", ONE_SLOT, "one slot", False),
        ("recurrent", ONE_SLOT, "one slot", False),
        ("sliding_window", "slots=1&swa_full=true", "date", True),
    ],
)
def test_f_a_date_in_the_system_prompt_is_no_fault_of_the_engine(
    play: Play, kind: str, options: str, name: str, kept: bool
) -> None:
    _, later = play(kind, options, name)["f"]
    assert later.verdict.cache_class == "full_miss"
    assert (later.cached > 0) is kept
    assert later.verdict.lost_prompt_side_tokens
    assert not later.engine


@pytest.mark.parametrize("kind", KINDS)
def test_g_reasoning_that_is_left_out_is_no_fault_of_the_engine(play: Play, kind: str) -> None:
    first, later = play(kind, ONE_SLOT, "one slot")["g"]
    assert later.verdict.lcp_tokens == first.verdict.prompt_tokens
    assert later.verdict.lost_prompt_side_tokens
    # A recurrent cache goes back to the checkpoint four tokens before the end.
    assert later.engine == ({"E6": 4} if kind == "recurrent" else {})


def test_h_caching_is_switched_off_by_the_request(play: Play) -> None:
    _, later = play("full", ONE_SLOT, "one slot")["h"]
    assert later.cached == 0
    assert later.engine == {"E13": later.shared}
    assert later.cause("E13").confidence == "observed"


def test_a_loss_to_two_requests_is_shared_between_them(play: Play) -> None:
    _, sub, _, back = play("full", NO_STORE, "no store")["taken twice"]
    assert set(back.engine) == {"E2", "E1"}
    assert back.engine["E2"] == back.shared - sub.shared
    assert back.engine["E1"] == sub.shared - back.cached


def test_a_loss_to_a_request_and_to_the_cache_is_shared_between_them(play: Play) -> None:
    _, sub, back = play("recurrent", NO_STORE, "no store")["cut"]
    assert set(sub.engine) == {"E6"}
    assert set(back.engine) == {"E2", "E6"}
    assert back.engine["E2"] == back.shared - sub.shared
    assert back.engine["E6"] == sub.shared - back.cached


def test_a_text_that_is_changed_and_changed_back_costs_twice(play: Play) -> None:
    _, edited, back = play("full", ONE_SLOT, "one slot")["back"]
    assert not edited.engine
    assert back.engine == {"E20": back.shared - back.cached}
    assert back.cached == edited.shared


def test_an_anchor_between_sessions_is_named_as_dynos_own(models: dict[str, Path], tmp_path: Path) -> None:
    first, _ = main_turns("anchor")
    engine = open_engine(parse_target(f"llama-server:{models['full']}?threads=1&ctx=4096&{NO_STORE}"))
    try:
        sessions = {"one": [turn("main", *first)], "two": [turn("main", *sub_agent("anchor"))]}
        (later,) = on_engine(engine, sessions, tmp_path)["two"]
    finally:
        engine.close()
    assert set(later.engine) == {"E1"}
    assert "dyno sent a request of its own" in later.cause("E1").text


def test_a_shared_cache_without_room_is_purged(models: dict[str, Path], tmp_path: Path) -> None:
    options = "threads=1&ctx=1024&slots=2&kv_unified=true&cache_idle_slots=false"
    engine = open_engine(parse_target(f"llama-server:{models['full']}?{options}"))
    first, second = main_turns("purge")
    other = system(words("other", 130)), user(words("other task", 130))
    try:
        turns = [turn("main", *first), turn("other", *other), turn("main", *second)]
        _, large, back = on_engine(engine, {"purge": turns}, tmp_path)["purge"]
    finally:
        engine.close()
    assert back.engine == {"E17": back.shared - back.cached}
    assert back.cause("E17").confidence == "observed"
    assert f"request {large.record.request_id}" in back.cause("E17").text


class Freely:
    """An engine whose output is not forced, so that a reply can run into the end of the context."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.render, self.facts, self.pids, self.close = engine.render, engine.facts, engine.pids, engine.close

    def stream(self, request: Request) -> Iterator[Event]:
        further = {"ignore_eos": True, "return_tokens": True} if request.max_tokens > 100 else {}
        yield from self._engine.stream(msgspec.structs.replace(request, parameters=further))


def test_a_shifted_context_is_no_longer_the_history(models: dict[str, Path], tmp_path: Path) -> None:
    port = free_port(None)
    options = Options(ctx=512, slots=1, threads=1, cache_ram=0)
    settings = library_settings(str(models["full"]), port, options) | {"ctx_shift": True}
    process = ServerProcess.start(["library", json.dumps(settings)], port, None, 60.0)
    engine = LlamaServer(process.url, options, process)
    told: JsonObject = {"role": "assistant", "content": words("told", 200)}
    first = system(words("shift system", 30)), user(words("shift task", 30))
    turns = [
        Turn("main", first, (), 480, {}, told),
        Turn("main", (*first, {"role": "assistant", "content": "Well."}, user("Go on.")), (), 8, {}, REPLY),
    ]
    try:
        _, later = on_engine(Freely(engine), {"shift": turns}, tmp_path)["shift"]
    finally:
        engine.close()
    assert set(later.engine) == {"E10"}
    assert "slot context shift" in later.cause("E10").proofs[0].text


class Impatient:
    """An engine whose first request of a session is given up as soon as it has begun."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.render, self.facts, self.pids, self.close = engine.render, engine.facts, engine.pids, engine.close

    def stream(self, request: Request) -> Iterator[Event]:
        events = self._engine.stream(request)
        for event in events:
            yield event
            if isinstance(event, Opened) and len(request.messages) == 2:
                cast("Generator[Event]", events).close()
                raise EngineFault("the client gave up")


@pytest.mark.slow
def test_a_request_that_was_given_up_left_a_part_alone(models: dict[str, Path], tmp_path: Path) -> None:
    # The server looks once a second whether its client is still there.
    engine = open_engine(
        parse_target(f"llama-server:{models['full']}?threads=1&ctx=8192&{NO_STORE}&batch=64&ubatch=64")
    )
    first = (system(words("given up", 90)), user(words("given up task", 1500)))
    try:
        turns = [turn("main", *first), turn("main", *first, REPLY, user("Go on then."))]
        given_up, later = on_engine(Impatient(engine), {"cancel": turns}, tmp_path)["cancel"]
    finally:
        engine.close()
    assert given_up.record.error is not None
    assert later.cached < later.shared - 64
    assert set(later.engine) == {"E12"}
