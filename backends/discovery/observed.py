"""What dyno can and cannot observe at each engine: one table, which `dyno doctor` and docs/doctor.md show.

A test holds every row against the adapter it is about: the abilities its class offers, the settings it names, and the
evidence in its recorded replies. An engine without a row fails that test.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

__all__ = ["OBSERVED", "Cached", "Observed", "Shown", "Way"]

Way = Literal["launched", "attached"]
"""Started by dyno, or running already and reached by its address."""

Cached = Literal["exact", "reported", "log", "inferred", "no"]
"""How the cached tokens are known: counted where they are evaluated, told in the reply, read in the server's log, or
bounded by the time to the first token of a server that counts prompts in its streams (`profiler.inversion`)."""

Shown = Literal["yes", "if served", "no"]
"""Whether something is seen: always, where the server behind the interface shows it, or never."""


class Observed(msgspec.Struct, frozen=True):
    """What is known of an engine's requests, used in one way.

    `needs` says what `cached` depends on, `otherwise` how the cached tokens are known without it. `prompt`: as the
    engine sees it, without which no loss can be told from a changed text. `timings`: the engine's own times for prefill
    and decoding; without them dyno's clock stands alone. `forced`: recorded replies can be replayed token by token.
    `memory`: of its processes, of an attached server only on this machine. `load_log`: it says where its memory went.
    `verified`: on the real program, in the tests.
    """

    engine: str
    way: Way
    cached: Cached
    prompt: Shown
    timings: Shown
    forced: bool = False
    memory: bool = True
    load_log: bool = False
    needs: str | None = None
    otherwise: Cached | None = None
    verified: bool = True


OBSERVED: Final = (
    Observed("llama-server", "launched", "reported", "yes", "yes", forced=True, load_log=True),
    Observed("llama-server", "attached", "reported", "yes", "yes", forced=True),
    Observed("llama-cpp", "launched", "exact", "yes", "yes", forced=True, load_log=True),
    Observed("llama-cpp-server", "launched", "log", "no", "no", load_log=True),
    Observed("llama-cpp-server", "attached", "no", "no", "no"),
    Observed("mlx", "launched", "exact", "yes", "yes", forced=True, load_log=True),
    Observed("mlx-server", "launched", "reported", "yes", "no", load_log=True),
    Observed("mlx-server", "attached", "reported", "if served", "no"),
    Observed(
        "openai", "attached", "reported", "if served", "if served", needs="a server that does", otherwise="inferred"
    ),
    Observed(
        "openai-sdk", "attached", "reported", "if served", "if served", needs="a server that does", otherwise="inferred"
    ),
    Observed("anthropic", "attached", "reported", "if served", "no", needs="a server that does", otherwise="no"),
    Observed(
        "vllm",
        "attached",
        "reported",
        "yes",
        "no",
        needs="--enable-prompt-tokens-details",
        otherwise="inferred",
        verified=False,
    ),
    Observed(
        "sglang",
        "attached",
        "reported",
        "no",
        "no",
        needs="--enable-cache-report",
        otherwise="inferred",
        verified=False,
    ),
    Observed(
        "llama-swap",
        "attached",
        "reported",
        "if served",
        "if served",
        needs="a server behind it that does",
        otherwise="inferred",
        verified=False,
    ),
    Observed(
        "ollama",
        "attached",
        "reported",
        "no",
        "yes",
        needs="0.33.3 or newer, or log=FILE",
        otherwise="inferred",
        verified=False,
    ),
    Observed("lmstudio", "attached", "log", "no", "no", needs="log=FILE", otherwise="inferred", verified=False),
    Observed("scripted", "launched", "exact", "yes", "yes", forced=True, memory=False),
)
