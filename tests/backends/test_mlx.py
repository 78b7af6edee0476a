"""mlx-lm in its worker: exact counts on each kind of cache, forced output, what is refused."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psutil
import pytest

from backends import open_engine
from backends.base import (
    ContextOverflow,
    Delta,
    EngineDied,
    Forced,
    Forcer,
    JsonObject,
    LaunchError,
    ModelFileError,
    Request,
    RequestRejected,
    Resetter,
    Target,
    TargetError,
)
from backends.workers.worker_engine import WorkerEngine
from tests.backends import mlx_models
from tests.backends.contract import ANSWER, CALL, Served, conversation

pytest.importorskip("mlx.core", reason="mlx-lm is not installed: pip install 'llmdyno[mlx]'")
pytestmark = pytest.mark.engine

GO_ON: JsonObject = {"role": "user", "content": "Go on."}
ROOT = Path(__file__).parents[2]
Launch = Callable[..., WorkerEngine]


def start(folder: Path, **options: str) -> WorkerEngine:
    engine = open_engine(Target("mlx", model=str(folder), options={"ctx": "8192"} | options))
    assert isinstance(engine, WorkerEngine)
    return engine


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mlx_models.write_dense(tmp_path_factory.mktemp("dense"))


@pytest.fixture
def launch() -> Iterator[Launch]:
    """Start an engine that ends with the test."""
    started: list[WorkerEngine] = []

    def started_here(folder: Path, **options: str) -> WorkerEngine:
        started.append(start(folder, **options))
        return started[-1]

    yield started_here
    for engine in started:
        engine.close()


@pytest.fixture(scope="module")
def loaded(dense: Path) -> Iterator[WorkerEngine]:
    engine = start(dense)
    yield engine
    engine.close()


@pytest.fixture
def engine(loaded: WorkerEngine) -> WorkerEngine:
    loaded.reset()
    return loaded


def forced(engine: WorkerEngine, request: Request, reply: JsonObject) -> Request:
    made = engine.forced(request, reply)
    assert made is not None
    return msgspec.structs.replace(request, forced=made)


def cached(engine: WorkerEngine, request: Request) -> int:
    count = Served(engine.stream(request)).evidence.cached_tokens
    assert count is not None
    return count


def length(engine: WorkerEngine, request: Request) -> int:
    return len(engine.render(request).token_ids)


def test_the_facts_name_what_runs(engine: WorkerEngine) -> None:
    facts = engine.facts()
    assert (facts.engine, facts.architecture, facts.quant, facts.slots) == ("mlx", "qwen3", "float32", 1)
    assert (facts.cache_kind, facts.granularity_tokens, facts.context_tokens) == ("full", 1, 8192)
    assert facts.build is not None
    assert facts.build.startswith("mlx-lm 0.")
    assert len(facts.template_sha256 or "") == 64
    assert facts.settings["cache_layers"] == "KVCache"
    assert isinstance(engine, Forcer)
    assert isinstance(engine, Resetter)
    (pid,) = engine.pids()
    assert pid != os.getpid()


@pytest.mark.parametrize(
    ("write", "kind"),
    [
        (mlx_models.write_dense, "full"),
        (mlx_models.write_sliding_window, "sliding_window"),
        (mlx_models.write_hybrid, "recurrent"),
    ],
    ids=["dense", "sliding_window", "hybrid"],
)
def test_each_kind_of_cache_keeps_what_it_can(
    write: Callable[[Path], Path], kind: str, launch: Launch, tmp_path: Path
) -> None:
    """Appending is reused to the last generated token by all; only a cache that can be cut back survives a branch."""
    engine = launch(write(tmp_path))
    assert engine.facts().cache_kind == kind
    first = forced(engine, conversation("kinds"), ANSWER)
    assert cached(engine, first) == 0
    assert first.forced is not None
    held = length(engine, first) + len(first.forced.token_ids) + 1
    append = conversation("kinds", ANSWER, GO_ON)
    assert cached(engine, append) == held
    branch = conversation("kinds", ANSWER, {"role": "user", "content": "Stop here."})
    said = Served(engine.stream(branch)).evidence
    repeated = cached(engine, branch)
    if kind == "full":
        assert held <= (said.cached_tokens or 0) < length(engine, branch)
        assert repeated == length(engine, branch) - 1
    else:
        assert (said.cached_tokens, repeated) == (0, 0)
        assert "cannot be cut back" in said.log[0]


def test_a_window_that_is_not_full_can_be_cut_back(launch: Launch, tmp_path: Path) -> None:
    engine = launch(mlx_models.write_sliding_window(tmp_path))
    hello, other = (
        Request(({"role": "user", "content": f"Say {word}"},), max_tokens=4) for word in ("hello", "no more")
    )
    assert length(engine, hello) + 4 < mlx_models.WINDOW_TOKENS
    cached(engine, hello)
    assert cached(engine, other) > 0


def test_what_is_reused_does_not_change_the_answer(engine: WorkerEngine) -> None:
    """The same prompt warm, after a branch and cold gives the same tokens: the cache was cut in the right place."""

    def ids(request: Request) -> list[int]:
        return [i for delta in Served(engine.stream(request)).deltas for i in delta.token_ids or ()]

    request = conversation("same", ANSWER, GO_ON, max_tokens=24)
    cold = ids(request)
    cached(engine, conversation("same", ANSWER, {"role": "user", "content": "Stop here."}))
    assert ids(request) == cold
    assert ids(request) == cold


def test_a_forced_call_keeps_its_kinds_and_its_reason(engine: WorkerEngine) -> None:
    request = forced(engine, conversation("call", tools=True), CALL)
    served = Served(engine.stream(request))
    parts = {
        kind: "".join(d.text for d in served.deltas if d.kind == kind) for kind in ("reasoning", "content", "tool_call")
    }
    assert parts["reasoning"] == "\nI should look at it first.\n"
    assert '"read_file"' in parts["tool_call"]
    assert served.stops[0].reason == "tool_calls"
    assert request.forced is not None
    ids = tuple(i for delta in served.deltas for i in delta.token_ids or ())
    assert ids == (*request.forced.token_ids, request.forced.end_token_id)


def test_sampling_follows_its_seed(engine: WorkerEngine) -> None:
    def text(seed: int) -> str:
        sampling = {"temperature": 2.0, "top_k": 50, "seed": seed}
        request = msgspec.structs.replace(conversation("seed", max_tokens=24), parameters=sampling)
        return Served(engine.stream(request)).text

    assert text(1) == text(1)
    assert text(1) != text(2)


def test_no_token_is_a_reply_too(engine: WorkerEngine) -> None:
    served = Served(engine.stream(conversation("none", max_tokens=0)))
    assert (served.deltas, served.evidence.generated_tokens, served.stops[0].reason) == ([], 0, "length")


def test_a_long_prefill_is_given_up_between_steps(launch: Launch, dense: Path) -> None:
    engine = launch(dense, prefill_step="16")
    long = Request(({"role": "user", "content": "one two three four " * 200},))
    stream = engine.stream(long)
    next(iter(stream))
    stream.close()  # type: ignore[attr-defined]
    kept = cached(engine, long)
    assert kept < length(engine, long) - 1
    assert kept % 16 == 0


def test_a_full_context_ends_the_reply(launch: Launch, dense: Path) -> None:
    engine = launch(dense, ctx="128")
    request = conversation("context", max_tokens=500)
    room = 128 - length(engine, request)
    served = Served(engine.stream(request))
    assert room > 0
    assert (served.evidence.generated_tokens, served.stops[0].reason) == (room, "length")
    assert served.evidence.truncated
    with pytest.raises(ContextOverflow) as caught:
        list(engine.stream(msgspec.structs.replace(request, forced=Forced("", (5,) * room, 2))))
    assert caught.value.context_tokens == 128


@pytest.mark.parametrize(
    ("parameters", "message"),
    [({"stop": ["x"]}, "no parameter 'stop'"), ({"temperature": "hot"}, "not a number")],
)
def test_a_parameter_that_would_be_ignored_is_refused(
    engine: WorkerEngine, parameters: JsonObject, message: str
) -> None:
    with pytest.raises(RequestRejected, match=message):
        list(engine.stream(msgspec.structs.replace(conversation("refused"), parameters=parameters)))


def test_a_worker_that_is_killed_is_an_error_and_not_our_end(launch: Launch, dense: Path) -> None:
    engine = launch(dense)
    stream = engine.stream(msgspec.structs.replace(conversation("kill"), forced=Forced("", (85,) * 1500, 2)))
    next(event for event in stream if isinstance(event, Delta))
    os.kill(engine.pids()[0], signal.SIGKILL)
    with pytest.raises(EngineDied, match="SIGKILL"):
        list(stream)


def test_no_worker_outlives_its_parent(dense: Path) -> None:
    code = (
        "import os, sys; from backends import open_engine; from backends.base import Target\n"
        "engine = open_engine(Target('mlx', model=sys.argv[1]))\n"
        "print(engine.pids()[0], flush=True); os.kill(os.getpid(), 9)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, str(dense)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in [int(ended.stdout)] if psutil.pid_exists(pid)], 5)
    assert not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


def test_settings_that_exclude_each_other_are_named(launch: Launch, tmp_path: Path) -> None:
    with pytest.raises(LaunchError, match="cannot quantise the cache"):
        launch(mlx_models.write_sliding_window(tmp_path), kv_bits="8")


def test_a_quantised_cache_counts_too(launch: Launch, dense: Path) -> None:
    engine = launch(dense, kv_bits="8", kv_start="0", kv_group="32")
    cached(engine, conversation("quantised"))
    assert cached(engine, conversation("quantised")) == length(engine, conversation("quantised")) - 1


def test_a_folder_with_weights_that_do_not_fit_is_a_failed_launch(launch: Launch, dense: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    for file in dense.iterdir():
        (broken / file.name).write_bytes(file.read_bytes())
    (broken / "config.json").write_text((dense / "config.json").read_text().replace('"qwen3"', '"nothing-like-it"'))
    with pytest.raises(LaunchError, match="not supported"):
        launch(broken)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"ctxx": "1"}, "no option 'ctxx'"), ({"kv_bits": "7"}, "kv_bits=7"), ({"template": "nowhere"}, "cannot be read")],
)
def test_wrong_options_are_named(options: dict[str, str], message: str, launch: Launch, dense: Path) -> None:
    with pytest.raises(TargetError, match=message):
        launch(dense, **options)


def test_a_file_is_not_a_folder(launch: Launch) -> None:
    with pytest.raises(ModelFileError, match="is a file"):
        launch(mlx_models.TINY)
