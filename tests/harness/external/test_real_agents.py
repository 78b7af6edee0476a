"""Agents as others publish them, installed from their registries, complete a recorded dispatch on the bundled model.

Slow, and they download (pi by npm, about 40 s; mini-swe-agent by pip, about 700 MB): only with `-m slow`. The model is
far too small for these agents: what is asserted is that their requests are recorded, attributed, rendered and judged.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from backends import open_engine, parse_target
from backends.base import Engine
from harness.external.agent import AgentEnded, run_agent
from harness.external.command import ExternalAgent
from harness.sandbox.unconfined import Unconfined
from harness.sending import Judged, Sender
from profiler.dispatch_records import TurnRecord
from tests.backends.recorded_http import MODEL

pytestmark = [pytest.mark.engine, pytest.mark.slow]

PI = "@mariozechner/pi-coding-agent@0.73.1"
MINI = ("mini-swe-agent==2.4.6", "mcp")
"""The second is needed by what the first depends on, which does not say so."""
MODELS = """{"providers": {"dyno": {"baseUrl": "{base_url}", "api": "openai-completions", "apiKey": "dyno",
  "models": [{"id": "tiny", "contextWindow": 32768, "maxTokens": 60}]}}}"""
INSTRUCTION = "What is in notes.txt?"


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    pytest.importorskip("xllamacpp")
    opened = open_engine(parse_target(f"llama-server:{MODEL}?threads=1&ctx=32768&slots=1"))
    yield opened
    opened.close()


def installed_pi(folder: Path) -> ExternalAgent:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    flags = ("--no-audit", "--no-fund", "--ignore-scripts")
    subprocess.run([npm, "install", "--prefix", str(folder), *flags, PI], check=True, capture_output=True)
    return ExternalAgent(
        f"{folder}/node_modules/.bin/pi --print --no-session --offline --provider dyno --model tiny {{instruction}}",
        files={".pi/agent/models.json": MODELS},
    )


def installed_mini(folder: Path) -> ExternalAgent:
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    subprocess.run([f"{folder}/bin/pip", "install", "-q", *MINI], check=True, capture_output=True)
    levers = "-c agent.step_limit=4 -c model.model_kwargs.max_tokens=60 -c model.cost_tracking=ignore_errors"
    return ExternalAgent(
        f"{folder}/bin/mini -y --exit-immediately -m openai/tiny -c mini.yaml {levers} -t {{instruction}}"
        " -o {workspace}/.home/trajectory.json",
        env={"MSWEA_CONFIGURED": "true", "MSWEA_SILENT_STARTUP": "1", "LITELLM_LOCAL_MODEL_COST_MAP": "True"},
    )


@pytest.mark.parametrize("install", [installed_pi, installed_mini])
def test_a_published_agent_completes_a_recorded_dispatch(
    install: Callable[[Path], ExternalAgent], engine: Engine, tmp_path: Path
) -> None:
    agent = install(tmp_path / "agent")
    workspace = tmp_path / "workspace"
    workspace.mkdir()
    (workspace / "notes.txt").write_text("buy bread\n")
    requests: list[Judged] = []
    turns: list[TurnRecord] = []
    ended: AgentEnded = run_agent(
        msgspec.structs.replace(agent, wall_s=120),
        engine=engine,
        sender=Sender(engine, fidelity="dispatch"),
        sandbox=Unconfined(),
        dispatch_id="d-1",
        instruction=INSTRUCTION,
        workspace=workspace,
        folder=tmp_path,
        clock=time.perf_counter_ns,
        wall_clock=lambda: 1_700_000_000_000_000_000,
        on_request=requests.append,
        on_turn=turns.append,
    )
    assert (ended.exit_status, ended.exit_code) == ("stopped", 0), (tmp_path / "agent.log").read_text()
    assert ended.requests == len(requests) == len(turns) > 0
    first, *later = requests
    assert first[0].conversation == "main"
    assert INSTRUCTION.encode() in first[1].body
    for record, kept in requests:
        assert record.error is None
        assert kept.rendered is not None
        assert len(kept.rendered.token_ids) == record.evidence.prompt_tokens == record.verdict.prompt_tokens
        assert record.verdict.cached_source == "timings.cache_n"
        assert record.verdict.cache_class != "unknown"
    assert all(record.verdict.cached_tokens for record, _ in later if record.conversation == "main")
