"""llama-server's policy against what the engine was seen to do (cache.md §1.7), and its rules one by one."""

from __future__ import annotations

from array import array
from itertools import count
from typing import Any

import pytest

from profiler.policies.base import Message, Sent
from profiler.policies.llama_server import LlamaServerPolicy, Options, open_policy

REPLY_TOKENS = 8
_fresh = count(1_000_000)


def ids(length: int) -> array[int]:
    """Tokens that no other text holds."""
    return array("i", (next(_fresh) for _ in range(length)))


def policy(**options: Any) -> LlamaServerPolicy:
    return open_policy(Options(**options))


def cached(
    server: LlamaServerPolicy, prompt: array[int], slot: int | None = None, *, cache_prompt: bool = True
) -> int | None:
    """C for a prompt whose reply the client does not send back as it was."""
    return server.serve(Sent("c", prompt, ids(REPLY_TOKENS), slot, cache_prompt)).cached_tokens


SYSTEM = ids(899)
MAIN = SYSTEM + ids(1039)
SUB = SYSTEM + ids(29)


def sub_agent(server: LlamaServerPolicy) -> tuple[int | None, int | None]:
    """Main, a sub-agent with the same system prompt, main again: C of the last two."""
    cached(server, MAIN)
    return cached(server, SUB), cached(server, MAIN)


@pytest.mark.parametrize(
    ("options", "sub", "main"),
    [
        ({}, 899, 899),  # c: the saved copy of main is never searched
        ({"slot_prompt_similarity": 0.5}, 899, 1937),  # c2
        ({"slot_prompt_similarity": 0.5, "slots": 2, "kv_unified": False}, 899, 1937),
        ({"slot_prompt_similarity": 0.98}, 0, 1937),  # c3
        ({"slot_prompt_similarity": 0.0}, 0, 1937),
    ],
)
def test_a_sub_agent_takes_the_slot(options: dict[str, Any], sub: int, main: int) -> None:
    assert sub_agent(policy(**options)) == (sub, main)


def test_a_branch_cuts_a_long_conversation_for_good() -> None:
    """c4: 3429 of the branch's tokens are main's; what was cut off was never saved."""
    server = policy()
    long = ids(5123)
    cached(server, long)
    assert cached(server, long[:3429] + ids(27)) == 3429
    assert cached(server, long) == 3429


@pytest.mark.parametrize(
    ("options", "main", "sub"),
    [
        ({"slots": 4, "kv_unified": True}, 0, 0),
        ({"slots": 4, "kv_unified": False}, 1938, 928),
        ({"slots": 4, "kv_unified": True, "cache_idle_slots": False}, 1938, 928),
    ],
)
def test_pinned_slots(options: dict[str, Any], main: int, sub: int) -> None:
    """d: with unified KV an idle slot is cleared, and a pinned one never looks into the host cache."""
    server = policy(**options)
    cached(server, MAIN, 0)
    cached(server, SUB, 1)
    assert (cached(server, MAIN + ids(28), 0), cached(server, SUB + ids(23), 1)) == (main, sub)


@pytest.mark.parametrize(("cache_ram", "wanted"), [(0, 2), (8192, 903)])
def test_a_title_between_turns_on_one_slot(cache_ram: int, wanted: int) -> None:
    """b: without the host cache the title's two common tokens are all that is left."""
    server = policy(slots=1, cache_ram=cache_ram)
    head, turn = ids(2), ids(901)
    cached(server, head + turn)
    cached(server, head + ids(63))
    assert cached(server, head + turn + ids(74)) == wanted


def test_a_pure_append_reuses_all_but_the_last_generated_token() -> None:
    for kind, window in (("full", 0), ("sliding_window", 128), ("recurrent", 0)):
        server = policy(cache_kind=kind, window=window)
        prompt, reply = ids(900), ids(40)
        server.serve(Sent("c", prompt, reply))
        assert cached(server, prompt + reply + ids(30)) == 939, kind


def test_a_repeat_evaluates_the_last_token_again() -> None:
    server, prompt = policy(), ids(100)
    cached(server, prompt)
    predicted = server.serve(Sent("c", prompt, ids(3)))
    assert predicted.cached_tokens == 99
    assert "last token" in predicted.why


@pytest.mark.parametrize(("checkpoints", "repeat", "append"), [(32, 919, 919), (0, 0, 0)])
def test_a_recurrent_state_goes_back_to_its_checkpoint(checkpoints: int, repeat: int, append: int) -> None:
    """e: four tokens before the end of the last prompt, or nowhere."""
    server, prompt = policy(cache_kind="recurrent", ctx_checkpoints=checkpoints), ids(923)
    cached(server, prompt)
    assert cached(server, prompt) == repeat
    assert cached(server, prompt + ids(28)) == append


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, 9),
        ({"cache_kind": "sliding_window", "window": 128}, 0),
        ({"cache_kind": "sliding_window", "window": 128, "swa_full": True}, 9),
        ({"cache_kind": "recurrent"}, 0),
    ],
)
def test_a_date_at_the_top(options: dict[str, Any], wanted: int) -> None:
    """f: nine tokens stay the same; a window or a state cannot be cut back to them."""
    server = policy(slots=1, **options)
    head = ids(9)
    cached(server, head + ids(924))
    assert cached(server, head + ids(924)) == wanted


def test_a_user_message_is_gone_back_to() -> None:
    server = policy(cache_kind="recurrent", slots=1)
    prompt = ids(2866)
    users = tuple(Message("user", start) for start in (297, 890, 2370))
    server.serve(Sent("c", prompt, ids(3), messages=users))
    assert cached(server, prompt[:2400] + ids(400)) == 2370


def test_a_request_that_forbids_reuse() -> None:
    server, prompt = policy(), ids(100)
    cached(server, prompt)
    assert cached(server, prompt, cache_prompt=False) == 0
    assert cached(server, prompt) == 99


def test_slots_that_were_never_used_are_taken_from_the_last() -> None:
    server = policy(slots=3, kv_unified=False)
    slots = [server.serve(Sent("c", ids(50), ids(3))).slot for _ in range(4)]
    assert slots == [2, 1, 0, 2]


def test_a_full_unified_cache_purges_the_lowest_idle_slot() -> None:
    server = policy(slots=2, kv_unified=True, cache_idle_slots=False, cache_ram=0, ctx=4096)
    first = ids(2500)
    cached(server, first)
    predicted = server.serve(Sent("c", ids(2500), ids(3)))
    assert "slot 1 was purged" in predicted.why
    assert cached(server, first) == 0


def test_a_saved_prompt_that_finds_no_room_is_not_loaded() -> None:
    server = policy(slots=2, kv_unified=True, cache_idle_slots=False, ctx=4096)
    first = ids(2500)
    cached(server, first, 1)
    cached(server, ids(1000), 1)  # takes its slot, so it is saved
    cached(server, ids(3000), 0)
    predicted = server.serve(Sent("c", first, ids(3), slot=1))
    assert predicted.cached_tokens == 0
    assert "no room" in predicted.why


@pytest.mark.parametrize(
    ("options", "least"),
    [  # as the engine named the contexts of its slots
        ({"slots": 3, "kv_unified": False, "ctx": 1000}, 512),
        ({"slots": 3, "kv_unified": True, "ctx": 1000}, 1024),
        ({"slots": 3, "kv_unified": False, "model_ctx": 3072}, 3072),
        ({"slots": 1, "ctx": 8192, "model_ctx": 3072}, 3072),
    ],
)
def test_a_prompt_that_is_too_long_is_refused(options: dict[str, Any], least: int) -> None:
    server = policy(**options)
    predicted = server.serve(Sent("c", ids(least), ids(3)))
    assert predicted.cached_tokens is None
    assert "refused" in predicted.why
    assert cached(server, ids(least - 1)) == 0


def test_a_whole_window_comes_back_from_the_host_cache_without_its_past() -> None:
    """Seen on the engine with `swa_full`: a saved state leaves out what is outside the window."""
    server = policy(slots=1, cache_kind="sliding_window", window=128, swa_full=True, ctx=8192)
    prompt = ids(900)
    cached(server, prompt)
    assert cached(server, prompt[:600] + ids(300)) == 600
    cached(server, ids(700))
    assert cached(server, prompt[:600] + ids(300)) == 0


def test_a_state_that_was_shifted_past_a_checkpoint_goes_back_to_it() -> None:
    """Seen on the engine: the checkpoint holds the state of the old text, and the server uses it all the same."""
    server = policy(slots=1, cache_kind="recurrent", cache_reuse=16)
    start, gone, kept = ids(200), ids(300), ids(250)
    cached(server, start + gone + kept)
    assert cached(server, start + kept + ids(30)) == 234


def test_an_empty_prompt_and_an_empty_reply() -> None:
    server = policy()
    for prompt in (ids(0), ids(5), ids(0)):
        assert server.serve(Sent("c", prompt, ids(0))).cached_tokens == 0


def test_later_parts_are_shifted_into_place() -> None:
    server = policy(slots=1, cache_reuse=256)
    system, old, kept = ids(500), ids(700), ids(600)
    cached(server, system + old + kept)
    predicted = server.serve(Sent("c", system + kept + ids(10), ids(3)))
    assert predicted.cached_tokens == 1100
    assert "shifted" in predicted.why
