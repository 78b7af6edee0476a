"""What each kind of generated session promises, on the bundled files and on other seeds, lengths and scales.

Whether an engine then does what `harness.sessions.Session.side` says is asked in `test_known_answers`.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.session_maker.generator import KINDS, fewest_turns, generate, write_bundled
from harness.sessions import Session, Turn, bundled_sessions, read_session, write_session

ROOT = Path(__file__).parents[3]
BUNDLED_FOLDER = ROOT / "profiles" / "sessions"
TINY_MODEL = ROOT / "profiles" / "models" / "tiny"
BUNDLED = {session.name: session for session in bundled_sessions()}

CLOCK = "Current time: "
APPENDING = tuple(kind for kind in KINDS if kind not in ("reasoning-dropped", "clock-in-system-prompt", "compaction"))
"""Kinds whose messages only ever grow within a conversation."""
BUNDLED_TURNS = {
    "append-only": 16,
    "append-only-long": 40,
    "reasoning-kept": 14,
    "reasoning-dropped": 14,
    "clock-in-system-prompt": 12,
    "tools-reordered": 12,
    "compaction": 16,
    "title-call": 12,
    "sub-agent": 14,
    "interleaved": 16,
}
SIDES = {
    "append-only": "none",
    "append-only-long": "none",
    "reasoning-kept": "none",
    "reasoning-dropped": "prompt",
    "clock-in-system-prompt": "prompt",
    "tools-reordered": "prompt",
    "compaction": "prompt",
    "title-call": "engine",
    "sub-agent": "engine",
    "interleaved": "engine",
}


class Recipe(NamedTuple):
    """What a session is made from: short to print when a property fails."""

    kind: str
    seed: int
    turns: int
    scale: float

    @property
    def session(self) -> Session:
        return generate(self.kind, seed=self.seed, turns=self.turns, scale=self.scale)


@st.composite
def others(draw: st.DrawFn, kinds: tuple[str, ...]) -> Recipe:
    kind = draw(st.sampled_from(kinds))
    turns = draw(st.integers(fewest_turns(kind), 26))
    return Recipe(kind, draw(st.integers(0, 2**32)), turns, draw(st.sampled_from((0.4, 1.0, 1.7))))


def recipes(*kinds: str) -> st.SearchStrategy[Recipe]:
    """The bundled sessions of some kinds (of all, if none is named), and others of the same kinds."""
    bundled = [Recipe(kind, BUNDLED[kind].seed or 0, len(BUNDLED[kind].turns), 1.0) for kind in kinds or KINDS]
    return st.sampled_from(bundled) | others(kinds or KINDS)


def conversations(session: Session) -> dict[str, list[Turn]]:
    result: dict[str, list[Turn]] = {}
    for turn in session.turns:
        result.setdefault(turn.conversation, []).append(turn)
    return result


def pairs(session: Session) -> Iterator[tuple[Turn, Turn]]:
    """Consecutive turns of the same conversation."""
    for turns in conversations(session).values():
        yield from itertools.pairwise(turns)


def text_of(messages: Iterable[dict[str, Any]]) -> str:
    return json.dumps(list(messages))


def prompt_chars(turn: Turn) -> int:
    return len(text_of(turn.messages)) + len(json.dumps(turn.tools))


def without_reasoning(message: dict[str, Any]) -> dict[str, Any]:
    return {key: message[key] for key in message if key != "reasoning_content"}


def run_python(code: str, **environment: str) -> str:
    environment["PYTHONPATH"] = str(ROOT)
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout


# Files


def test_the_bundled_files_are_what_the_generator_writes(tmp_path: Path) -> None:
    write_bundled(tmp_path)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    kept = {path.name: path.read_bytes() for path in BUNDLED_FOLDER.glob("*.jsonl")}
    assert sorted(made) == sorted(kept) == sorted(f"{kind}.jsonl" for kind in KINDS)
    stale = [name for name in made if made[name] != kept[name]]
    assert not stale, "write them again with harness.session_maker.generator.write_bundled"


def test_the_bundled_files_are_small_enough_to_ship() -> None:
    assert sum(path.stat().st_size for path in BUNDLED_FOLDER.glob("*.jsonl")) <= 4_000_000


def test_the_bundled_sessions_are_as_long_and_as_labelled_as_documented() -> None:
    assert {name: len(session.turns) for name, session in BUNDLED.items()} == BUNDLED_TURNS
    assert {name: session.side for name, session in BUNDLED.items()} == SIDES
    assert len({session.seed for session in BUNDLED.values()}) == len(KINDS)
    for session in BUNDLED.values():
        assert (session.provokes == "nothing") == (session.side == "none")
        assert session.title.endswith(".")


def test_the_table_of_the_sessions_names_every_file() -> None:
    table = (BUNDLED_FOLDER / "README.md").read_text()
    for session in BUNDLED.values():
        assert f"| `{session.name}` | {len(session.turns)} | {session.provokes} | {session.side} |" in table


def test_the_hash_seed_of_python_changes_nothing() -> None:
    code = """
from harness.session_maker.generator import KINDS, generate
from zlib import crc32
print([crc32(repr(generate(kind, seed=3, turns=13)).encode()) for kind in KINDS])
"""
    outputs = [run_python(code, PYTHONHASHSEED=hash_seed) for hash_seed in ("1", "2")]
    assert outputs[0] == outputs[1]


def test_the_generator_needs_no_engine() -> None:
    loaded = set(run_python("import sys, harness.session_maker.generator; print(*sys.modules)").split())
    assert "harness.session_maker.generator" in loaded
    assert loaded.isdisjoint({"numpy", "httpx", "rich", "typer", "backends.llama_server"})


# Every kind


@given(recipe=recipes())
@settings(max_examples=40, deadline=None)
def test_a_generated_session_can_be_written_and_read(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> None:
    session = recipe.session
    path = tmp_path_factory.mktemp("session") / "s.jsonl"
    write_session(session, path)
    assert read_session(path) == session


@given(kind=st.sampled_from(KINDS), seed=st.integers(0, 1000), turns=st.integers(12, 20))
@settings(max_examples=25, deadline=None)
def test_a_seed_decides_everything_and_another_seed_changes_it(kind: str, seed: int, turns: int) -> None:
    session = generate(kind, seed=seed, turns=turns)
    assert generate(kind, seed=seed, turns=turns) == session
    assert generate(kind, seed=seed + 1, turns=turns).turns != session.turns
    assert (session.name, session.seed, len(session.turns)) == (kind, seed, turns)


@pytest.mark.parametrize("kind", KINDS)
def test_too_few_turns_are_refused(kind: str) -> None:
    assert len(generate(kind, seed=1, turns=fewest_turns(kind)).turns) == fewest_turns(kind)
    with pytest.raises(ValueError, match=f"{kind} needs at least"):
        generate(kind, seed=1, turns=fewest_turns(kind) - 1)


def test_unknown_kinds_and_scales_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown kind 'nope'; kinds: append-only, "):
        generate("nope", seed=1, turns=12)
    for scale in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="scale must be positive"):
            generate("append-only", seed=1, turns=12, scale=scale)


@pytest.mark.parametrize("kind", KINDS)
def test_a_larger_scale_gives_longer_prompts(kind: str) -> None:
    small, large = (generate(kind, seed=5, turns=14, scale=scale) for scale in (1.0, 3.0))
    assert prompt_chars(large.turns[-1]) > prompt_chars(small.turns[-1])


@given(recipe=recipes())
@settings(max_examples=60, deadline=None)
def test_every_history_is_one_that_a_chat_endpoint_accepts(recipe: Recipe) -> None:
    for turn in recipe.session.turns:
        assert turn.messages[0]["role"] == "system"
        assert turn.messages[1]["role"] == "user"
        assert turn.messages[-1]["role"] in ("user", "tool")
        names = {tool["function"]["name"] for tool in turn.tools}
        seen: set[str] = set()
        for before, message in itertools.pairwise([*turn.messages, turn.reply]):
            calls = [call["id"] for call in before.get("tool_calls", ())]
            assert ([message.get("tool_call_id")] if message["role"] == "tool" else []) == calls
            for call in message.get("tool_calls", ()):
                assert call["function"]["name"] in names
                assert call["id"] not in seen
                seen.add(call["id"])


@given(recipe=recipes())
@settings(max_examples=60, deadline=None)
def test_calls_fit_the_schema_of_their_tool_and_survive_any_json_writer(recipe: Recipe) -> None:
    for turn in recipe.session.turns:
        schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in turn.tools}
        for call in turn.reply.get("tool_calls", ()):
            raw = call["function"]["arguments"]
            arguments, schema = json.loads(raw), schemas[call["function"]["name"]]
            assert set(schema["required"]) <= set(arguments) <= set(schema["properties"])
            assert json.dumps(arguments) == json.dumps(arguments, ensure_ascii=False) == raw
            assert not set("<>&'") & set(raw)
        assert not set("<>&'") & set(json.dumps(turn.tools, ensure_ascii=False))


@given(recipe=recipes())
@settings(max_examples=60, deadline=None)
def test_replies_fit_their_limit_and_hold_no_blank_ends(recipe: Recipe) -> None:
    for turn in recipe.session.turns:
        # One token holds at least one character of ASCII, and in English and code more than two.
        assert len(json.dumps(turn.reply)) < 2.2 * turn.max_tokens
        assert turn.reply["content"] == turn.reply["content"].strip() != ""
        reasoning = turn.reply.get("reasoning_content", "x")
        assert reasoning == reasoning.strip() != ""
        assert turn.parameters == {"temperature": 0}


@given(recipe=recipes())
@settings(max_examples=60, deadline=None)
def test_no_template_is_left_unfilled(recipe: Recipe) -> None:
    for turn in recipe.session.turns:
        prose = [turn.messages[0]["content"], turn.reply["content"], turn.reply.get("reasoning_content", "")]
        prose += [m["content"] for m in turn.messages if m["role"] == "user"]
        assert not any(sign in text for text in prose for sign in "{}")


@pytest.mark.parametrize("kind", KINDS)
def test_prompts_look_like_an_agents(kind: str) -> None:
    session = BUNDLED[kind]
    for name, turns in conversations(session).items():
        if name.startswith("title"):
            continue
        assert 2_500 <= len(turns[0].messages[0]["content"]) <= 4_000
        assert sorted(tool["function"]["name"] for tool in turns[0].tools) == sorted(
            ("read", "list", "grep", "edit", "write", "bash", "test")
        )
        assert "tool_calls" not in turns[-1].reply
        replies = [turn.reply["content"] for turn in turns]
        assert len(set(replies)) > 0.7 * len(replies)
        results = [m["content"] for m in turns[-1].messages if m["role"] == "tool"]
        assert len(set(results)) > 0.8 * len(results)


def test_a_long_session_calls_every_tool_and_shows_code_matches_failures_and_diffs() -> None:
    turns = BUNDLED["append-only-long"].turns
    called = {call["function"]["name"] for turn in turns for call in turn.reply.get("tool_calls", ())}
    assert called == {tool["function"]["name"] for tool in turns[0].tools}
    results = "\n".join(m["content"] for m in turns[-1].messages if m["role"] == "tool")
    for sign in ("\ndef ", "AssertionError", "1 failed", "diff --git", "\n+    return", ".py:"):
        assert sign in results
    assert sum(m["role"] == "user" for m in turns[-1].messages) >= 4


def test_an_edit_changes_what_was_read() -> None:
    messages = BUNDLED["append-only"].turns[-1].messages
    edits = 0
    for at, message in enumerate(messages):
        for call in message.get("tool_calls", ()):
            if call["function"]["name"] != "edit":
                continue
            arguments = json.loads(call["function"]["arguments"])
            edits += 1
            assert any(arguments["old"] in m["content"] for m in messages[:at] if m["role"] == "tool")
            assert arguments["new"] in messages[at + 1]["content"]
    assert edits >= 2


# Side none


@given(recipe=recipes(*APPENDING))
@settings(max_examples=60, deadline=None)
def test_appending_kinds_only_append(recipe: Recipe) -> None:
    for before, after in pairs(recipe.session):
        sent = [*before.messages, before.reply]
        assert text_of(after.messages[: len(sent)]) == text_of(sent)
        assert len(after.messages) == len(sent) + 1
        assert after.messages[-1]["role"] in ("user", "tool")


@given(recipe=recipes(*(kind for kind in KINDS if kind != "tools-reordered")))
@settings(max_examples=40, deadline=None)
def test_tools_stay_as_they_are(recipe: Recipe) -> None:
    for before, after in pairs(recipe.session):
        assert json.dumps(before.tools) == json.dumps(after.tools)


@given(recipe=recipes("reasoning-kept", "reasoning-dropped"))
@settings(max_examples=30, deadline=None)
def test_replies_reason(recipe: Recipe) -> None:
    for turn in recipe.session.turns:
        assert 60 < len(turn.reply["reasoning_content"]) < 600


def test_reasoning_comes_back_over_several_user_messages() -> None:
    messages = BUNDLED["reasoning-kept"].turns[-1].messages
    assert sum(m["role"] == "user" for m in messages) >= 3
    assert all("reasoning_content" in m for m in messages if m["role"] == "assistant")


def tokenizer() -> Any:
    tokenizers = pytest.importorskip("tokenizers")
    path = TINY_MODEL / "tokenizer.json"
    if not path.exists():
        pytest.skip("the bundled model is not here")
    return tokenizers.Tokenizer.from_file(str(path))


def rendered(turn: Turn) -> str:
    """About what the bundled model's ChatML template makes of a turn."""
    parts = [turn.messages[0]["content"], *(json.dumps(tool, ensure_ascii=False) for tool in turn.tools)]
    text = "<|im_start|>system\n" + "\n".join(parts) + "<|im_end|>\n"
    for message in turn.messages[1:]:
        functions = [call["function"] for call in message.get("tool_calls", ())]
        calls = "".join(
            f'\n<tool_call>\n{{"name": "{f["name"]}", "arguments": {f["arguments"]}}}\n</tool_call>' for f in functions
        )
        text += f"<|im_start|>{message['role']}\n{message['content']}{calls}<|im_end|>\n"
    return text + "<|im_start|>assistant\n"


def test_the_long_session_is_long() -> None:
    last = BUNDLED["append-only-long"].turns[-1]
    assert 37_000 <= len(rendered(last)) <= 44_000
    tokens = len(tokenizer().encode(rendered(last)).ids)
    assert 16_500 <= tokens <= 20_000


def test_no_other_session_is_as_long() -> None:
    assert max(len(rendered(s.turns[-1])) for n, s in BUNDLED.items() if n != "append-only-long") < 25_000


# Side prompt


@given(recipe=recipes("reasoning-dropped"))
@settings(max_examples=30, deadline=None)
def test_dropped_reasoning_is_the_only_thing_that_history_lacks(recipe: Recipe) -> None:
    for before, after in pairs(recipe.session):
        sent = [*before.messages, without_reasoning(before.reply)]
        assert "reasoning_content" in before.reply
        assert text_of(after.messages[: len(sent)]) == text_of(sent)


@given(recipe=recipes("clock-in-system-prompt"))
@settings(max_examples=30, deadline=None)
def test_the_clock_is_the_only_thing_that_changes(recipe: Recipe) -> None:
    session = recipe.session
    times: list[str] = []
    for turn in session.turns:
        system = turn.messages[0]["content"]
        assert 0 < system.index(CLOCK) < 200
        times.append(system.partition(CLOCK)[2].partition("\n")[0])
    assert times[0] == "2026-05-04 09:12:31"
    assert all(before < after for before, after in itertools.pairwise(times))
    for (old, new), (before, after) in zip(itertools.pairwise(times), pairs(session), strict=True):
        sent = [*before.messages, before.reply]
        sent[0] = {**sent[0], "content": sent[0]["content"].replace(old, new)}
        assert text_of(after.messages[: len(sent)]) == text_of(sent)


def test_no_other_kind_shows_a_clock() -> None:
    for name, session in BUNDLED.items():
        shown = [CLOCK in text_of(turn.messages) for turn in session.turns]
        assert any(shown) == all(shown) == (name == "clock-in-system-prompt")


@given(recipe=recipes("tools-reordered"))
@settings(max_examples=30, deadline=None)
def test_tools_come_in_another_order_every_turn(recipe: Recipe) -> None:
    for before, after in pairs(recipe.session):
        assert before.tools[0] != after.tools[0]
        assert sorted(map(json.dumps, before.tools)) == sorted(map(json.dumps, after.tools))


@given(recipe=recipes("compaction"))
@settings(max_examples=60, deadline=None)
def test_compaction_shortens_the_prompt_once(recipe: Recipe) -> None:
    session = recipe.session
    at = len(session.turns) // 2
    for number, (before, after) in enumerate(pairs(session), 1):
        sent = [*before.messages, before.reply]
        if number == at:
            assert prompt_chars(after) < prompt_chars(before)
            assert after.messages[0] == before.messages[0]
            assert after.messages[1]["role"] == "user"
            assert after.messages[1] not in sent
            assert after.messages[2] == before.reply
        else:
            assert text_of(after.messages[: len(sent)]) == text_of(sent)
            assert len(after.messages) == len(sent) + 1


def test_compaction_comes_at_the_ninth_turn() -> None:
    sizes = [prompt_chars(turn) for turn in BUNDLED["compaction"].turns]
    assert [number for number, (a, b) in enumerate(itertools.pairwise(sizes), 2) if b < a] == [9]
    assert sizes[8] < 0.6 * sizes[7]


# Side engine


@given(recipe=recipes("title-call"))
@settings(max_examples=30, deadline=None)
def test_titles_come_between_turns_of_main(recipe: Recipe) -> None:
    session = recipe.session
    order = [turn.conversation for turn in session.turns]
    assert [name for name in order if name != "main"] == ["title-1", "title-2", "title-3"]
    assert order[:2] == ["main", "title-1"]
    assert order[-1] == "main"
    task = session.turns[0].messages[1]["content"]
    for turn in session.turns:
        if turn.conversation != "main":
            assert turn.tools == ()
            assert [m["role"] for m in turn.messages] == ["system", "user"]
            assert task in turn.messages[1]["content"]
            assert turn.messages[0]["content"][:5] != session.turns[0].messages[0]["content"][:5]
            assert prompt_chars(turn) < 0.2 * prompt_chars(session.turns[0])


@given(recipe=recipes("sub-agent"))
@settings(max_examples=60, deadline=None)
def test_sub_agents_share_the_prefix_and_outweigh_it_as_the_engine_needs(recipe: Recipe) -> None:
    """f_sim and f_keep: llama-server's shares of the new prompt and of the slot in their common prefix."""
    session = recipe.session
    order = [turn.conversation for turn in session.turns]
    runs = [(name, len(list(group))) for name, group in itertools.groupby(order)]
    assert [name for name, _ in runs] == ["main", "sub-1", "main", "sub-2", "main"]
    assert runs[1][1] == runs[3][1] == 3

    first = session.turns[0]
    shared = len(first.messages[0]["content"]) + len(json.dumps(first.tools))
    for number, (before, after) in enumerate(itertools.pairwise(session.turns), 1):
        if before.conversation == after.conversation:
            continue
        slot = prompt_chars(before) + len(json.dumps(before.reply))
        assert json.dumps(before.tools) == json.dumps(after.tools)
        assert before.messages[0] == after.messages[0]
        assert before.messages[1]["content"][:8] != after.messages[1]["content"][:8]
        assert shared / prompt_chars(after) > 0.13, f"f_sim at turn {number + 1}"
        if after.conversation != "main":
            assert prompt_chars(before) > 2.2 * shared
            assert shared / slot < 0.46, f"f_keep at turn {number + 1}"
        else:
            assert shared / slot > 0.6, f"f_keep at turn {number + 1}"


@given(recipe=recipes("interleaved"))
@settings(max_examples=30, deadline=None)
def test_two_conversations_take_turns(recipe: Recipe) -> None:
    session = recipe.session
    order = [turn.conversation for turn in session.turns]
    assert order == [("a", "b")[number % 2] for number in range(len(order))]
    a, b = (turn.messages[0]["content"].split()[0] for turn in session.turns[:2])
    assert a != b
