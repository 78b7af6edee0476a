"""A real llama-server that takes token ids and says what it reused: the judge of the policy models.

`/completion` knows no messages, so no checkpoint is placed by them here; chats, by `harness.replay`, do that.
"""

from __future__ import annotations

from array import array
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import msgspec

from backends.workers.server_process import Options, ServerProcess
from profiler.policies.base import Predicted, Sent
from tests.profiler.policies.workload import Ask


class Answer(msgspec.Struct, frozen=True):
    """What the engine said: the ids it generated, the tokens it reused, the slot, and its log of this request."""

    generated: array[int]
    cached_tokens: int
    slot: int
    log: str


class IdServer:
    """A launched llama-server, spoken to in token ids. A context manager."""

    def __init__(self, model: Path, options: dict[str, Any]) -> None:
        self._process = ServerProcess.launch(str(model), Options(threads=1, **options))
        self._http = httpx.Client(
            base_url=self._process.url, timeout=60, limits=httpx.Limits(max_keepalive_connections=0)
        )

    def __enter__(self) -> IdServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()
        self._process.close()

    def answer(self, ask: Ask) -> Answer:
        """Serve one request.

        Raises:
            httpx.HTTPStatusError: the server refused it.
        """
        start = self._process.log_size()
        body = {
            "prompt": ask.prompt.tolist(),
            "n_predict": ask.reply_tokens,
            "cache_prompt": ask.cache_prompt,
            "id_slot": -1 if ask.slot is None else ask.slot,
            "return_tokens": True,
            "ignore_eos": True,
            "temperature": 0,
        }
        reply = self._http.post("/completion", json=body).raise_for_status().json()
        return Answer(
            generated=array("i", reply["tokens"]),
            cached_tokens=reply["timings"]["cache_n"],
            slot=reply["id_slot"],
            log=self._process.log_since(start),
        )


def sent_of(ask: Ask, answer: Answer) -> Sent:
    """The request and its reply as a policy takes them."""
    return Sent(ask.conversation, ask.prompt, answer.generated, ask.slot, ask.cache_prompt)


def agrees(predicted: Predicted, answer: Answer, granularity_tokens: int = 0) -> bool:
    """Whether the policy said the slot and the cached tokens that the engine used."""
    if predicted.cached_tokens is None:
        return False
    near = abs(predicted.cached_tokens - answer.cached_tokens) <= granularity_tokens
    return near and predicted.slot in (None, answer.slot)
