"""llama-server's host prompt cache: whole prompts with their state in RAM, oldest first out.

The rules are those of `tools/server/server-task.cpp` (`server_prompt_cache`). Shares are compared in float32, as the
server does.
"""

from __future__ import annotations

import msgspec
import numpy as np

from profiler.ledger import TOKEN_BYTES, common_prefix_tokens
from profiler.policies.llama_memory.cells import Positions
from profiler.policies.llama_memory.checkpoints import Checkpoint

LEAST_KEPT = np.float32(0.25)
"""A saved prompt of which less than this would be used is left alone."""


class Entry(msgspec.Struct, frozen=True):
    """A saved prompt: token bytes, its checkpoints, what else of the memory was copied, and its size in RAM."""

    tokens: bytes
    checkpoints: tuple[Checkpoint, ...]
    saved: Positions
    size_bytes: int


class HostCache:
    """Saved prompts, oldest first. `limit_bytes` 0 is no limit; `limit_tokens` 0 likewise."""

    def __init__(self, limit_bytes: int, limit_tokens: int) -> None:
        self._limit_bytes = limit_bytes
        self._limit_tokens = limit_tokens
        self._entries: list[Entry] = []

    def __len__(self) -> int:
        return len(self._entries)

    def save(self, entry: Entry) -> bool:
        """Keep a prompt, unless a saved one begins with it or it is too large; what it begins with is dropped."""
        shared = [common_prefix_tokens(old.tokens, entry.tokens) * TOKEN_BYTES for old in self._entries]
        if len(entry.tokens) in shared:
            return False
        if 0 < self._limit_bytes < entry.size_bytes:
            return False
        self._entries = [old for old, same in zip(self._entries, shared, strict=True) if same < len(old.tokens)]
        if self._limit_bytes:
            self._drop_oldest(self._limit_bytes - entry.size_bytes)
        self._entries.append(entry)
        return True

    def better(self, held: bytes, prompt: bytes) -> Entry | None:
        """The saved prompt that shares more with this one than what is held, and of which more would be used.

        It stays saved until it is taken out (`remove`).
        """
        same = common_prefix_tokens(held, prompt)
        keep = _share(same, held) if held else np.float32(-1)
        like = _share(same, prompt)
        best: Entry | None = None
        for entry in self._entries:
            same = common_prefix_tokens(entry.tokens, prompt)
            kept, alike = _share(same, entry.tokens), _share(same, prompt)
            if kept >= LEAST_KEPT and keep < kept and like < alike:
                keep, like, best = kept, alike, entry
        return best

    def remove(self, entry: Entry) -> None:
        """Take out a prompt that moves into a slot."""
        self._entries = [old for old in self._entries if old is not entry]

    def trim(self) -> None:
        """Drop the oldest above the limits; the limit of tokens is raised as far as the bytes allow it."""
        if self._limit_bytes:
            self._drop_oldest(self._limit_bytes)
        if not self._limit_tokens:
            return
        tokens, size = self._tokens(), self._size()
        limit = self._limit_tokens
        if self._limit_bytes:
            each = max(np.float32(1), np.float32(size) / np.float32(max(1, tokens)))
            limit = max(limit, int(np.float32(self._limit_bytes) / each))
        while self._entries and self._tokens() > limit:
            del self._entries[0]

    def _drop_oldest(self, limit_bytes: int) -> None:
        while self._entries and self._size() > limit_bytes:
            del self._entries[0]

    def _size(self) -> int:
        return sum(entry.size_bytes for entry in self._entries)

    def _tokens(self) -> int:
        return sum(len(entry.tokens) // TOKEN_BYTES for entry in self._entries)


def _share(same: int, of: bytes) -> np.float32:
    return np.float32(same) / np.float32(max(1, len(of) // TOKEN_BYTES))
