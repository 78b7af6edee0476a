"""How long `dyno explain` takes on a long run: 200 turns that grow to 64,000 tokens, every one of them a loss.

The run is made here, not measured: its requests are those of an agent with a clock in its system prompt, the costliest
case, since each prompt is compared from its head to its end. Target: under 5 s.
"""

from __future__ import annotations

import resource
import tempfile
import time
from array import array
from pathlib import Path

import msgspec

from backends.base import Evidence, Facts, JsonObject
from harness.cli.explain_run import explanation_of
from profiler.ledger import Match, common_prefix_tokens
from profiler.records import Machine, Reply, RequestRecord, RunInfo, Stamps
from profiler.rendered import Rendered
from profiler.store import RunWriter
from profiler.verdict import judge

TURNS = 200
TOKENS = 64_000
TOOL_CHARS = 4 * TOKENS // TURNS
LIMIT_S = 5.0


def messages(turns: int, second: int) -> list[JsonObject]:
    history: list[JsonObject] = [
        {"role": "system", "content": f"You are an agent.\nTime: 2026-05-04 09:00:{second:02}"}
    ]
    for turn in range(turns):
        call = {"name": "read", "arguments": f'{{"path": "file_{turn}.py"}}'}
        history.append({"role": "assistant", "content": f"I read {turn}.", "tool_calls": [{"function": call}]})
        history.append({"role": "tool", "content": f"line {turn} " * (TOOL_CHARS // 9)})
    return history


def rendered(history: list[JsonObject]) -> Rendered:
    """Four characters a token, as a template would write them."""
    parts: list[str] = []
    for message in history:
        calls = "".join(str(call["function"]) for call in message.get("tool_calls", ()))
        parts.append(f"<|im_start|>{message['role']}\n{message['content']}{calls}<|im_end|>\n")
    text = "".join(parts)
    ids = array("i", (hash(text[at : at + 4]) & 0x7FFFFFFF for at in range(0, len(text), 4)))
    return Rendered(text, ids, array("i", [1, 2, 3]))


def write_run(root: Path) -> Path:
    facts = Facts("llama-server", granularity_tokens=1)
    info = RunInfo("long", "benchmark", 0, "made", facts, Machine("", None, None, None, None), {}, {})
    writer = RunWriter.create(root, info, clock=lambda: 0)
    before: Rendered | None = None
    for turn in range(TURNS):
        history = messages(turn, turn % 60)
        now = rendered(history)
        held = before.sequence if before is not None else array("i")
        shared = common_prefix_tokens(held.tobytes(), now.token_ids.tobytes())
        prompt = len(now.token_ids)
        evidence = Evidence(prompt, shared, prompt - shared, 3, prefill_ns=(prompt - shared) * 100_000)
        verdict = judge(Match(shared, len(held), turn > 0), evidence, prefill_ns=evidence.prefill_ns)
        stamps = Stamps(sent_ns=turn * 10**10, done_ns=turn * 10**10 + 1)
        record = RequestRecord(turn + 1, "s", "c", turn, 0, "rehearse", "none", 0, stamps, evidence, Reply(), verdict)
        body = msgspec.json.encode({"messages": history, "tools": [], "parameters": {}})
        writer.request(record, body, now)
        before = now
    writer.close("complete")
    return writer.path


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write_run(Path(folder))
        stored = sum(file.stat().st_size for file in path.iterdir())
        started = time.perf_counter()
        document = explanation_of(path)
        took = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    longest = max(row.prompt_tokens or 0 for row in document.worst)
    print(f"{document.requests} requests up to {longest:,} tokens, {document.losing_requests} of them losing")
    print(f"stored in {stored / 1e6:.1f} MB; explained in {took:.2f} s (target {LIMIT_S:g} s), peak {peak:.0f} MiB")
    print({row.code: row.requests for row in document.causes})


if __name__ == "__main__":
    main()
