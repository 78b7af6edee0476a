"""External commands as agents on the real llama-server: what they send is recorded, attributed, judged, in turns."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

from backends import open_engine, parse_target
from backends.base import Engine
from harness.external.agent import AgentEnded, run_agent
from harness.external.command import AgentError, ExternalAgent
from harness.sandbox.base import SandboxError
from harness.sandbox.choice import back_ends
from harness.sandbox.unconfined import Unconfined
from harness.sending import Judged, Sender
from profiler.dispatch_records import TurnRecord
from profiler.records import RequestRecord
from tests.backends.recorded_http import MODEL

pytestmark = pytest.mark.engine

AGENTS = Path(__file__).with_name("agents")
QUESTION = "What is the weather in Paris monday?"


class Ran(NamedTuple):
    ended: AgentEnded
    requests: list[Judged]
    turns: list[TurnRecord]
    log: str
    workspace: Path

    @property
    def records(self) -> list[RequestRecord]:
        return [record for record, _ in self.requests]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    pytest.importorskip("xllamacpp")
    opened = open_engine(parse_target(f"llama-server:{MODEL}?threads=1&ctx=4096"))
    yield opened
    opened.close()


def run(engine: Engine, agent: ExternalAgent, folder: Path, **more: Any) -> Ran:
    workspace = folder / "workspace"
    workspace.mkdir()
    requests: list[Judged] = []
    turns: list[TurnRecord] = []
    given: dict[str, Any] = {"sandbox": Unconfined(), "on_request": requests.append, "on_turn": turns.append, **more}
    ended = run_agent(
        agent,
        engine=engine,
        sender=Sender(engine, fidelity="dispatch"),
        dispatch_id="d-1",
        instruction=QUESTION,
        workspace=workspace,
        folder=folder,
        clock=time.perf_counter_ns,
        wall_clock=lambda: 1_700_000_000_000_000_000,
        **given,
    )
    return Ran(ended, requests, turns, (folder / "agent.log").read_text(), workspace)


def script(name: str, arguments: str = "") -> ExternalAgent:
    return ExternalAgent(f"'{sys.executable}' '{AGENTS / name}.py' {arguments}", model="tiny", wall_s=60)


def test_an_agent_over_httpx_is_recorded_attributed_judged_and_cut_into_turns(engine: Engine, tmp_path: Path) -> None:
    ran = run(engine, script("with_httpx"), tmp_path)
    assert (ran.ended.exit_status, ran.ended.exit_code, ran.ended.error) == ("stopped", 0, None)
    assert ran.log == "the answer is in answer.txt\n"
    assert ran.ended.final_message == (ran.workspace / "answer.txt").read_text()
    assert [message["role"] for message in ran.ended.messages] == ["system", "user", "assistant", "tool", "assistant"]

    first, title, second = ran.records
    assert [(r.conversation, r.turn, r.session) for r in ran.records] == [
        ("main", 0, "d-1"),
        ("side-1", 0, "d-1"),
        ("main", 1, "d-1"),
    ]
    assert {r.fidelity for r in ran.records} == {"dispatch"}
    assert second.verdict.cache_class == "hit"
    assert second.verdict.confidence == "observed"
    assert second.verdict.prev_tokens == first.verdict.prompt_tokens + first.evidence.generated_tokens  # type: ignore[operator]
    assert title.verdict.cache_class in ("cold", "branch")
    assert all(r.evidence.sources["cached_tokens"] == "timings.cache_n" for r in ran.records)
    assert all(r.evidence.log and r.evidence.slot is not None for r in ran.records)
    assert all(r.stamps.sent_ns < (r.stamps.first_delta_ns or 0) <= (r.stamps.done_ns or 0) for r in ran.records)

    kept = ran.requests[0][1]
    assert msgspec.json.decode(kept.body)["messages"][1] == {"role": "user", "content": QUESTION}
    assert kept.rendered is not None
    assert len(kept.rendered.token_ids) == first.verdict.prompt_tokens

    turn, side, last = ran.turns
    (call,) = turn.calls
    assert (call.name, msgspec.json.decode(call.arguments)) == ("get_weather", {"city": "Paris", "day": "monday"})
    assert (call.effect, call.fault, call.result) == ("load", None, '{"weather": "sunny", "temp": 21}')
    assert side.events == ("conversation side-1",)
    assert (last.content, last.request_id) == (ran.ended.final_message, second.request_id)


def test_an_agent_over_the_openai_client_finds_its_address_in_its_environment(engine: Engine, tmp_path: Path) -> None:
    pytest.importorskip("openai")
    ran = run(engine, script("with_openai", "{instruction} {model}"), tmp_path)
    assert ran.ended.exit_code == 0, ran.log
    chat, *responses = ran.records
    assert ran.log == f"{chat.reply.text['content']}\n{responses[-1].reply.text['content']}\n"
    assert [call.name for call in responses[0].reply.calls] == ["get_weather"]
    assert {record.conversation for record in responses} == {"side-1"}
    assert responses[1].verdict.cache_class == "hit"
    # Their prompts are shown too: llama-server's own conversion, done again here, gives as many tokens as it counts.
    for _, kept in ran.requests:
        assert kept.rendered is not None


def test_messages_in_anthropics_form_are_shown_judged_and_cut_into_turns(engine: Engine, tmp_path: Path) -> None:
    ran = run(engine, script("with_messages"), tmp_path)
    assert ran.ended.exit_code == 0, ran.log
    first, second = ran.records
    assert (first.conversation, second.conversation) == ("main", "main")
    assert (first.verdict.prompt_tokens, second.verdict.cache_class) == (len(_prompt(ran.requests[0])), "hit")
    assert ran.turns[0].calls[0].result == "sunny, 21"
    assert ran.ended.final_message == ran.log.rstrip("\n")


def _prompt(judged: Judged) -> Sequence[int]:
    rendered = judged[1].rendered
    assert rendered is not None
    return rendered.token_ids


def test_an_agent_that_takes_too_long_is_killed_and_what_it_sent_stays(engine: Engine, tmp_path: Path) -> None:
    ask = (
        "import json, os, urllib.request as r; u = os.environ['OPENAI_BASE_URL'] + '/chat/completions';"
        "b = {'messages': [{'role': 'user', 'content': 'hi'}], 'ignore_eos': True};"
        "a = lambda n: r.urlopen(r.Request(u, json.dumps({**b, 'max_tokens': n}).encode())).read();"
        "a(4); [a(3500) for _ in range(99)]"
    )
    ran = run(engine, ExternalAgent(f'"{sys.executable}" -c "{ask}"', wall_s=1.5), tmp_path)
    assert (ran.ended.exit_status, ran.ended.timed_out, ran.ended.error) == ("limit_wall", True, None)
    assert ran.records[0].error is None
    assert [record.error.kind for record in ran.records if record.error] == ["ClientLeft"]


def test_an_agent_that_fails_says_so_and_asks_nobody(engine: Engine, tmp_path: Path) -> None:
    ran = run(engine, ExternalAgent(f'"{sys.executable}" -c "print(1); raise SystemExit(3)"'), tmp_path)
    assert (ran.ended.exit_status, ran.ended.exit_code, ran.ended.requests) == ("stopped", 3, 0)
    assert ran.ended.error is not None
    assert "exit code 3" in ran.ended.error.message
    assert (ran.log, ran.turns) == ("1\n", [])


def test_a_prompt_that_does_not_fit_ends_as_such(engine: Engine, tmp_path: Path) -> None:
    ask = (
        "import httpx, os; httpx.post(os.environ['OPENAI_BASE_URL'] + '/chat/completions',"
        " json={'messages': [{'role': 'user', 'content': 'word ' * 9000}]}, timeout=60)"
    )
    ran = run(engine, ExternalAgent(f'"{sys.executable}" -c "{ask}"'), tmp_path)
    assert ran.ended.exit_status == "context_overflow"
    assert [record.error.kind for record in ran.records if record.error] == ["ContextOverflow"]


def test_an_error_while_a_request_is_kept_is_not_lost(engine: Engine, tmp_path: Path) -> None:
    def full(judged: Judged) -> None:
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        run(engine, script("with_httpx"), tmp_path, on_request=full)


def test_a_confined_agent_reaches_dyno_and_its_own_files_and_no_others(engine: Engine, tmp_path: Path) -> None:
    confined = next(iter(back_ends()), None)
    if confined is None:
        pytest.skip("no sandbox is known for this system")
    secret = tmp_path / "secret"
    secret.write_text("hidden")
    own = tmp_path / "own"
    own.mkdir()
    (own / "agent.py").write_text(
        "import os, sys, urllib.request as r; print(open(os.environ['DYNO_INSTRUCTION_FILE']).read())\n"
        "print(len(r.urlopen(os.environ['OPENAI_BASE_URL'] + '/models').read()) > 9)\n"
        "print(open(sys.argv[1]).read())\n"
    )
    agent = ExternalAgent(f"'{sys.executable}' '{own}/agent.py' '{secret}'", readable=(own,))
    try:
        ran = run(engine, agent, tmp_path, sandbox=confined)
    except SandboxError as error:
        pytest.skip(f"{confined.name} does not work here: {error}")
    assert ran.log.startswith(f"{QUESTION}\nTrue\n")
    assert "hidden" not in ran.log
    assert ran.ended.exit_code == 1


def test_an_engine_inside_dyno_has_no_address(tmp_path: Path) -> None:
    inside = open_engine(parse_target("scripted:words"))
    with pytest.raises(AgentError, match="runs inside dyno"):
        run(inside, script("with_httpx"), tmp_path)


def test_files_are_written_below_the_agents_home_and_nowhere_else(engine: Engine, tmp_path: Path) -> None:
    show = f"\"{sys.executable}\" -c \"import os; print(open(os.environ['HOME'] + '/.own/c').read())\""
    ran = run(engine, ExternalAgent(show, files={".own/c": "at {base_url}"}), tmp_path)
    assert ran.log.startswith("at http://127.0.0.1:")
    with pytest.raises(AgentError, match="not below its home"):
        run(engine, ExternalAgent(show, files={"../../c": "x"}), tmp_path / "workspace")
