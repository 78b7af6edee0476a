"""llama-cpp-python in its worker: cached counts are exact, output can be forced, no failure passes for a result."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from backends import open_engine
from backends.base import (
    ContextOverflow,
    Delta,
    EngineDied,
    EngineFault,
    Event,
    Evidence,
    Forced,
    Forcer,
    JsonObject,
    LaunchError,
    ModelFileError,
    Opened,
    Request,
    RequestRejected,
    Resetter,
    Stop,
    Target,
    TargetError,
)
from backends.gguf_header import read_header
from backends.llama_cpp import Options, resolve
from backends.workers.worker_engine import WorkerEngine
from tests.backends.random_models import WINDOW_TOKENS, write_mamba, write_swa, write_unknown

pytestmark = pytest.mark.engine

TINY = Path(__file__).parents[2] / "profiles" / "models" / "tiny" / "tiny-f16.gguf"
CONTEXT_TOKENS = 2048
SYSTEM: JsonObject = {"role": "system", "content": "You read files and answer in few words. " * 8}
ASK: JsonObject = {"role": "user", "content": "What is in lib/frame.py?"}
TOOL: JsonObject = {"type": "function", "function": {"name": "read_file", "parameters": {"zebra": 1, "apple": 2}}}


Launch = Callable[..., WorkerEngine]


class Reply:
    """The events of one reply, in order and sorted out."""

    def __init__(self, events: Iterator[Event]) -> None:
        self.events = list(events)
        self.deltas = [event for event in self.events if isinstance(event, Delta)]
        (self.evidence,) = [event for event in self.events if isinstance(event, Evidence)]
        (self.stop,) = [event for event in self.events if isinstance(event, Stop)]
        self.text = "".join(delta.text for delta in self.deltas)
        self.ids = tuple(i for delta in self.deltas for i in delta.token_ids or ())
        assert self.evidence.prompt_tokens is not None
        self.prompt_tokens = self.evidence.prompt_tokens
        self.cached_tokens = self.evidence.cached_tokens


def start(model: Path, **options: str) -> WorkerEngine:
    chosen = {"threads": "1", "ctx": str(CONTEXT_TOKENS)} | options
    engine = open_engine(Target("llama-cpp", model=str(model), options=chosen))
    assert isinstance(engine, WorkerEngine)
    return engine


@pytest.fixture
def launch() -> Iterator[Launch]:
    """Start an engine that ends with the test."""
    started: list[WorkerEngine] = []

    def started_here(model: Path, **options: str) -> WorkerEngine:
        started.append(start(model, **options))
        return started[-1]

    yield started_here
    for engine in started:
        engine.close()


@pytest.fixture(scope="module")
def loaded() -> Iterator[WorkerEngine]:
    engine = start(TINY)
    yield engine
    engine.close()


@pytest.fixture
def engine(loaded: WorkerEngine) -> WorkerEngine:
    loaded.reset()
    return loaded


def request(*messages: JsonObject, **more: Any) -> Request:
    fields: dict[str, Any] = {"max_tokens": 8} | more
    return Request(messages=messages or (SYSTEM, ASK), **fields)


def common(a: array[int], b: array[int]) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def test_the_facts_name_what_runs(engine: WorkerEngine) -> None:
    facts = engine.facts()
    assert (facts.engine, facts.model, facts.quant, facts.slots) == ("llama-cpp", "tiny-f16.gguf", "F16", 1)
    assert (facts.architecture, facts.cache_kind, facts.granularity_tokens) == ("qwen3", "full", 1)
    assert (facts.context_tokens, facts.launched) == (CONTEXT_TOKENS, True)
    assert facts.build is not None
    assert facts.build.startswith("llama-cpp-python 0.")
    assert len(facts.template_sha256 or "") == 64
    assert facts.settings["threads"] == "1"
    assert facts.settings["kv"] == "f16"
    assert isinstance(engine, Forcer)
    assert isinstance(engine, Resetter)
    (pid,) = engine.pids()
    assert pid != os.getpid()
    assert psutil.pid_exists(pid)


def test_a_cold_prompt_is_evaluated_in_full_and_events_come_in_order(engine: WorkerEngine) -> None:
    prompt = engine.render(request())
    before_ns = time.perf_counter_ns()
    reply = Reply(engine.stream(request()))
    after_ns = time.perf_counter_ns()
    evidence = reply.evidence
    assert prompt.text.endswith("<|im_start|>assistant\n")
    assert (reply.prompt_tokens, reply.cached_tokens) == (len(prompt.token_ids), 0)
    assert evidence.evaluated_tokens == reply.prompt_tokens
    assert evidence.generated_tokens == len(reply.ids)
    assert evidence.sources["cached_tokens"] == "exact_inprocess: eval"
    assert isinstance(reply.events[0], Opened)
    assert reply.events[-2:] == [evidence, reply.stop]
    stamps = [event.at_ns for event in reply.events if not isinstance(event, Evidence)]
    assert stamps == sorted(stamp for stamp in stamps if stamp is not None)
    assert before_ns < (stamps[0] or 0) < (stamps[-1] or 0) < after_ns
    assert 0 < (evidence.prefill_ns or 0) < after_ns - before_ns
    assert 0 < (evidence.decode_ns or 0) < after_ns - before_ns


def test_an_identical_repeat_evaluates_one_token(engine: WorkerEngine) -> None:
    first, second = (Reply(engine.stream(request())) for _ in range(2))
    assert second.cached_tokens == second.prompt_tokens - 1
    assert second.evidence.evaluated_tokens == 1
    assert second.ids == first.ids


def test_a_prompt_that_was_just_decoded_evaluates_nothing(engine: WorkerEngine) -> None:
    # One sampled token is never evaluated, so the cache is the prompt itself and its logits are still there.
    first, second = (Reply(engine.stream(request(max_tokens=1))) for _ in range(2))
    assert second.cached_tokens == second.prompt_tokens
    assert second.evidence.evaluated_tokens == 0
    assert second.ids == first.ids
    assert second.evidence.decode_ns is None


def test_a_change_in_the_middle_keeps_what_stands_before_it(engine: WorkerEngine) -> None:
    other = request(SYSTEM, {"role": "user", "content": "What is in src/main.py?"})
    Reply(engine.stream(request()))
    shared = common(engine.render(request()).token_ids, engine.render(other).token_ids)
    reply = Reply(engine.stream(other))
    assert reply.cached_tokens == shared
    assert 0 < shared < reply.prompt_tokens - 1


def test_a_forced_reply_comes_out_exactly_and_the_next_turn_reuses_it(engine: WorkerEngine) -> None:
    answer: JsonObject = {"role": "assistant", "content": "Größe: 3 µs — 日本語 🦕.\n\n* done"}
    forced = engine.forced(request(), answer)
    assert forced is not None
    assert forced.text == answer["content"]
    reply = Reply(engine.stream(request(forced=forced, max_tokens=1)))
    assert reply.text == answer["content"]
    assert reply.ids == (*forced.token_ids, forced.end_token_id)
    assert reply.evidence.generated_tokens == len(forced.token_ids) + 1
    assert reply.stop.reason == "stop"
    following = request(SYSTEM, ASK, answer, {"role": "user", "content": "And then?"})
    ledger = [*engine.render(request()).token_ids, *reply.ids]
    assert engine.render(following).token_ids[: len(ledger)].tolist() == ledger
    assert Reply(engine.stream(following)).cached_tokens == len(ledger) - 1


def test_a_forced_tool_call_is_a_tool_call(engine: WorkerEngine) -> None:
    call = {"id": "1", "type": "function", "function": {"name": "read_file", "arguments": '{"path": "a.py"}'}}
    answer: JsonObject = {"role": "assistant", "content": "Look:", "reasoning_content": "hm", "tool_calls": [call]}
    ask = request(tools=(TOOL,))
    forced = engine.forced(ask, answer)
    assert forced is not None
    reply = Reply(engine.stream(request(tools=(TOOL,), forced=forced)))
    parts = {
        kind: "".join(d.text for d in reply.deltas if d.kind == kind) for kind in ("reasoning", "content", "tool_call")
    }
    assert parts["reasoning"] == "\nhm\n"
    assert parts["content"] == "\n\nLook:\n"
    assert parts["tool_call"] == '\n{"name": "read_file", "arguments": {"path": "a.py"}}\n'
    assert reply.stop.reason == "tool_calls"


def test_what_cannot_be_forced_is_none(engine: WorkerEngine, tmp_path: Path, launch: Launch) -> None:
    assert engine.forced(request(), {"role": "assistant", "content": "a<|im_end|>b"}) is None
    # The template changes what it wrote before, as some do with the reasoning of earlier turns.
    template = tmp_path / "t.jinja"
    template.write_text("{{ messages | length }}{% for m in messages %}{{ m.content }}{% endfor %}")
    other = launch(TINY, template=str(template))
    assert other.forced(request(), {"role": "assistant", "content": "a"}) is None
    assert other.render(request(ASK)).text == "1" + ASK["content"]
    assert other.facts().template_sha256 != engine.facts().template_sha256


def test_tools_reach_the_prompt_in_their_own_order(engine: WorkerEngine) -> None:
    text = engine.render(request(tools=(TOOL,))).text
    assert '{"zebra": 1, "apple": 2}' in text
    assert text.count("<tools>") == engine.render(request()).text.count("<tools>") + 2


def test_reset_makes_the_next_request_cold(engine: WorkerEngine) -> None:
    Reply(engine.stream(request()))
    engine.reset()
    assert Reply(engine.stream(request())).cached_tokens == 0


def test_sampling_follows_its_seed_and_greedy_is_the_default(engine: WorkerEngine) -> None:
    hot = [
        request(max_tokens=24, parameters={"temperature": 5.0, "min_p": 0, "top_p": 1, "seed": s}) for s in (1, 1, 2)
    ]
    a, b, c = (Reply(engine.stream(asked)).ids for asked in hot)
    assert a == b
    assert a != c
    greedy = Reply(engine.stream(request(max_tokens=24)))
    assert greedy.ids == Reply(engine.stream(request(max_tokens=24, parameters={"temperature": 0, "seed": 9}))).ids


def test_no_token_is_a_reply_too(engine: WorkerEngine) -> None:
    reply = Reply(engine.stream(request(max_tokens=0)))
    assert (reply.deltas, reply.evidence.generated_tokens, reply.stop.reason) == ([], 0, "length")
    assert reply.evidence.evaluated_tokens == reply.prompt_tokens


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"stop": ["x"]}, "no parameter 'stop'"),
        ({"temperature": "hot"}, "not a number"),
        ({"seed": True}, "not a number"),
    ],
)
def test_a_parameter_that_would_be_ignored_is_refused(
    engine: WorkerEngine, parameters: JsonObject, message: str
) -> None:
    with pytest.raises(RequestRejected, match=message):
        Reply(engine.stream(request(parameters=parameters)))
    assert Reply(engine.stream(request(parameters={"id_slot": 0}))).evidence.slot == 0


def test_messages_that_the_template_refuses_are_one_request_lost(tmp_path: Path, launch: Launch) -> None:
    template = tmp_path / "t.jinja"
    template.write_text("{% if messages|length > 1 %}{{ raise_exception('one message only') }}{% endif %}x")
    engine = launch(TINY, template=str(template))
    with pytest.raises(RequestRejected, match="one message only"):
        engine.render(request())
    assert engine.render(request(ASK)).text == "x"


def test_a_prompt_that_does_not_fit_leaves_the_cache_alone(engine: WorkerEngine) -> None:
    Reply(engine.stream(request()))
    with pytest.raises(ContextOverflow) as caught:
        Reply(engine.stream(request({"role": "user", "content": "long " * CONTEXT_TOKENS})))
    assert caught.value.context_tokens == CONTEXT_TOKENS
    assert (caught.value.prompt_tokens or 0) > CONTEXT_TOKENS
    with pytest.raises(ContextOverflow, match="forced reply"):
        Reply(engine.stream(request(forced=Forced("", (5,) * CONTEXT_TOKENS, 2))))
    again = Reply(engine.stream(request()))
    assert again.cached_tokens == again.prompt_tokens - 1


def test_a_full_context_ends_the_reply(engine: WorkerEngine, launch: Launch) -> None:
    prompt_tokens = len(engine.render(request()).token_ids)
    small = launch(TINY, ctx=str(prompt_tokens + 3))
    reply = Reply(small.stream(request(max_tokens=1000)))
    # The last token is sampled from a full cache and has no room of its own.
    assert (len(reply.ids), reply.stop.reason, reply.evidence.truncated) == (4, "length", True)


def test_closing_a_reply_ends_its_generation(engine: WorkerEngine) -> None:
    answer: JsonObject = {"role": "assistant", "content": "one, two, three, four, five. " * 60}
    forced = engine.forced(request(), answer)
    assert forced is not None
    stream = engine.stream(request(forced=forced))
    next(event for event in stream if isinstance(event, Delta))
    stream.close()  # type: ignore[attr-defined]
    following = Reply(engine.stream(request(SYSTEM, ASK, answer, ASK)))
    assert following.cached_tokens is not None
    prompt_tokens = len(engine.render(request()).token_ids)
    assert prompt_tokens <= following.cached_tokens < prompt_tokens + len(forced.token_ids)


def test_a_new_request_takes_over_from_one_that_was_left_open(engine: WorkerEngine) -> None:
    left = engine.stream(request(max_tokens=500))
    next(left)
    reply = Reply(engine.stream(request()))
    assert reply.evidence.generated_tokens == len(reply.ids)
    with pytest.raises(EngineFault, match="another request was started"):
        list(left)


def test_a_long_prefill_is_given_up_between_batches(launch: Launch) -> None:
    engine = launch(TINY, batch="32")
    asked = request({"role": "user", "content": "one two three four " * 150})
    length = len(engine.render(asked).token_ids)
    stream = engine.stream(asked)
    assert isinstance(next(stream), Opened)
    stream.close()  # type: ignore[attr-defined]
    cached = Reply(engine.stream(asked)).cached_tokens
    assert cached is not None
    assert cached < length - 1
    assert cached % 32 == 0


def test_a_worker_that_is_killed_is_an_error_and_not_our_end(launch: Launch) -> None:
    engine = launch(TINY)
    (pid,) = engine.pids()
    os.kill(pid, signal.SIGINT)
    stream = engine.stream(request(forced=Forced("", (85,) * 1500, 2)))
    next(event for event in stream if isinstance(event, Delta))
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(EngineDied, match="SIGKILL"):
        list(stream)
    with pytest.raises(EngineDied):
        Reply(engine.stream(request()))


def test_closing_an_engine_ends_its_worker_at_once() -> None:
    engine = start(TINY)
    worker = psutil.Process(engine.pids()[0])
    left = engine.stream(request(max_tokens=500))
    next(left)
    before_s = time.perf_counter()
    engine.close()
    assert not worker.is_running()
    assert time.perf_counter() - before_s < 5
    with pytest.raises(EngineDied, match="is closed"):
        list(left)
    with pytest.raises(EngineDied, match="is closed"):
        engine.render(request())


def test_no_worker_outlives_its_parent() -> None:
    code = (
        "import os, sys, time; from backends import open_engine; from backends.base import Target\n"
        "engine = open_engine(Target('llama-cpp', model=sys.argv[1], options={'threads': '1', 'ctx': '512'}))\n"
        "print(engine.pids()[0], flush=True); os.kill(os.getpid(), 9)"
    )
    root = str(TINY.parents[3])
    ended = subprocess.run(
        [sys.executable, "-c", code, str(TINY)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    gone, alive = psutil.wait_procs([psutil.Process(pid) for pid in [int(ended.stdout)] if psutil.pid_exists(pid)], 5)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]
    assert len(gone) <= 1


def test_without_the_library_the_install_command_is_named() -> None:
    code = (
        "import sys; sys.modules['llama_cpp'] = None; from backends import open_engine; from backends.base import *\n"
        "try: open_engine(Target('llama-cpp', model='m.gguf'))\n"
        "except MissingExtra as error: print(error.hint)"
    )
    env = {**os.environ, "PYTHONPATH": str(TINY.parents[3])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout.strip() == "pip install 'llmdyno[llama-cpp]'"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ctxx": "1"}, "no option 'ctxx'"),
        ({"ctx": "0"}, "not a whole number"),
        ({"kv": "q8_0", "flash_attn": "off"}, "needs flash attention"),
        ({"template": "nowhere.jinja"}, "cannot be read"),
    ],
)
def test_wrong_options_are_named_before_anything_starts(options: dict[str, str], message: str, launch: Launch) -> None:
    with pytest.raises(TargetError, match=message):
        launch(TINY, **options)


def test_a_model_that_is_not_whole_or_not_known_is_named(tmp_path: Path, launch: Launch) -> None:
    with pytest.raises(ModelFileError, match="does not exist"):
        launch(tmp_path / "none.gguf")
    (tmp_path / "cut.gguf").write_bytes(TINY.read_bytes()[:-4096])
    with pytest.raises(ModelFileError, match="cut short"):
        launch(tmp_path / "cut.gguf")
    with pytest.raises(TargetError, match="no chat template"):
        launch(write_swa(tmp_path / "plain.gguf", template=None))
    with pytest.raises(LaunchError, match="could not load") as caught:
        launch(write_unknown(tmp_path / "unknown.gguf"))
    assert "dynosaur" in (caught.value.hint or "")
    with pytest.raises(LaunchError, match="no valid jinja"):
        launch(write_swa(tmp_path / "bad.gguf", template="{% for %}"))
    with pytest.raises(TargetError, match="needs a model file"):
        open_engine(Target("llama-cpp"))


def test_defaults_are_resolved_from_the_model() -> None:
    header = read_header(TINY)
    settings = resolve(Options(kv="q8_0", ubatch=4096), header)
    assert (settings.ctx, settings.flash_attn, settings.ubatch) == (32768, True, 512)
    assert settings.threads >= 1
    assert resolve(Options(), header).flash_attn is False


def test_a_quantised_cache_works(launch: Launch) -> None:
    engine = launch(TINY, kv="q8_0")
    assert Reply(engine.stream(request())).prompt_tokens > 0
    assert engine.facts().settings["flash_attn"] == "on"


def test_a_window_that_is_gone_is_not_reused(tmp_path: Path, launch: Launch) -> None:
    model = write_swa(tmp_path / "swa.gguf")
    long = request({"role": "user", "content": "abcdefgh " * 150}, max_tokens=4)
    short = request({"role": "user", "content": "abcdefgh " * 12 + "and then?"}, max_tokens=24)
    engine = launch(model, swa_full="off", batch="64", ubatch="64")
    assert engine.facts().cache_kind == "sliding_window"
    Reply(engine.stream(long))
    reply = Reply(engine.stream(short))
    assert reply.cached_tokens == 0
    assert "window of 64" in reply.evidence.log[0]
    repeated = Reply(engine.stream(short))
    assert repeated.cached_tokens == repeated.prompt_tokens - 1
    engine.reset()
    fresh = Reply(engine.stream(short))
    assert reply.ids == fresh.ids == repeated.ids
    whole = launch(model, swa_full="on", batch="64", ubatch="64")
    assert whole.facts().cache_kind == "full"
    Reply(whole.stream(long))
    reused = Reply(whole.stream(short))
    assert reused.cached_tokens == common(whole.render(long).token_ids, whole.render(short).token_ids)
    assert reused.ids == fresh.ids


def test_a_prefix_is_reused_exactly_as_far_as_the_window_reaches(tmp_path: Path, launch: Launch) -> None:
    engine = launch(write_swa(tmp_path / "swa.gguf"), swa_full="off", batch="64", ubatch="64")
    text = "".join(chr(97 + i * i % 26) for i in range(900))
    oldest = 0
    reused: list[bool] = []
    for kept in (*range(600, 720, 15), 719, *range(720, 890, 15), 899):
        engine.reset()
        long = request({"role": "user", "content": text}, max_tokens=1)
        Reply(engine.stream(long))
        cut = request({"role": "user", "content": text[:kept] + "#"}, max_tokens=16)
        reply = Reply(engine.stream(cut))
        engine.reset()
        assert reply.ids == Reply(engine.stream(cut)).ids, f"kept {kept} of {len(text)}"
        shared = common(engine.render(long).token_ids, engine.render(cut).token_ids)
        if not reply.cached_tokens:
            (note,) = reply.evidence.log
            oldest = int(note.partition("position ")[2].partition(":")[0])
        assert reply.cached_tokens == (shared if shared - WINDOW_TOKENS + 1 >= oldest > 0 else 0)
        reused.append(bool(reply.cached_tokens))
    assert reused == sorted(reused)
    assert {*reused} == {False, True}


def test_a_recurrent_cache_is_reused_by_appending_alone(tmp_path: Path, launch: Launch) -> None:
    engine = launch(write_mamba(tmp_path / "mamba.gguf"))
    assert engine.facts().cache_kind == "recurrent"
    answer: JsonObject = {"role": "assistant", "content": "fine"}
    forced = engine.forced(request(), answer)
    assert forced is not None
    first = Reply(engine.stream(request(forced=forced)))
    appended = Reply(engine.stream(request(SYSTEM, ASK, answer, ASK)))
    assert appended.cached_tokens == first.prompt_tokens + len(forced.token_ids)
    changed = Reply(engine.stream(request(SYSTEM, ASK)))
    assert changed.cached_tokens == 0
    assert "cannot be cut back" in changed.evidence.log[0]


def test_a_bos_is_there_once(tmp_path: Path, launch: Launch) -> None:
    plain = launch(write_swa(tmp_path / "plain.gguf"))
    own = launch(write_swa(tmp_path / "own.gguf", template="{{ bos_token }}{{ messages[0].content }}"))
    assert plain.render(request(ASK)).token_ids[:2].tolist()[0] == 1
    assert own.render(request(ASK)).token_ids[:2].tolist()[0] == 1
    assert 1 not in plain.render(request(ASK)).token_ids[1:]
    assert 1 not in own.render(request(ASK)).token_ids[1:]
