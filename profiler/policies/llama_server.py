"""llama-server's cache: slots, the host prompt cache behind them, and checkpoints where a cache cannot be cut back.

Modelled after `tools/server/server-context.cpp` of llama.cpp and checked request by request against the engine
(`benchmarks/policy_agreement.py`). Not modelled: requests that overlap in time, LoRA adapters, images, speculative
decoding, context shift, windows that are chunks (Llama 4), saved slot files.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
import numpy as np

from profiler.ledger import TOKEN_BYTES, common_prefix_tokens
from profiler.policies.base import Predicted, Sent
from profiler.policies.llama_memory.cells import NOTHING, FullAttention, Memory, RecurrentState, SlidingWindow
from profiler.policies.llama_memory.checkpoints import Checkpoint, CheckpointRules, batches, go_back, take, wanted
from profiler.policies.llama_memory.host_cache import Entry, HostCache
from profiler.policies.llama_memory.shifting import shifted_runs

__all__ = ["Options", "open_policy"]

AUTOMATIC_SLOTS = 4
"""Slots where none are asked for; they then share one KV cache."""
RING_PADDING = 256
UNLIMITED_CELLS = 1 << 20
"""Cells of a window that keeps everything, where no context is given."""
SAVED_BELOW = np.float32(0.5)
"""A slot of which less than this would be kept is saved to the host cache first."""

Count = Annotated[int, msgspec.Meta(ge=1)]
AtLeast0 = Annotated[int, msgspec.Meta(ge=0)]


class Options(msgspec.Struct, frozen=True):
    """The target options of the engine `llama-server` that decide about its cache, with the server's defaults.

    `ctx` is the whole context in tokens, as launched; unset, every slot has the model's. `cache_ram` is in MiB, 0 is
    off, -1 without limit. The rest are facts of the model: `model_ctx` tokens it was trained for (unset: no prompt is
    too long, and a unified cache is never full), `window` tokens of its sliding window (0: none),
    `kv_bytes_per_token` of a sequence's saved state (all layers that keep every token), `window_bytes_per_token` of
    its windowed layers, `state_bytes` of its recurrent state. With sizes of 0, nothing is ever too large for the host
    cache.
    """

    ctx: Count | None = None
    slots: Count | None = None
    batch: Count = 2048
    ubatch: Count = 512
    swa_full: bool = False
    kv_unified: bool | None = None
    slot_prompt_similarity: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.1
    cache_ram: Annotated[int, msgspec.Meta(ge=-1)] = 8192
    cache_reuse: AtLeast0 = 0
    cache_idle_slots: bool = True
    ctx_checkpoints: AtLeast0 = 32
    checkpoint_min_step: AtLeast0 = 8192
    model_ctx: Count | None = None
    cache_kind: Literal["full", "sliding_window", "recurrent"] = "full"
    window: AtLeast0 = 0
    kv_bytes_per_token: float = 0.0
    window_bytes_per_token: float = 0.0
    state_bytes: float = 0.0


class _Slot(msgspec.Struct):
    """What a slot holds: the tokens of its last request, with the reply, and their checkpoints."""

    number: int
    tokens: bytes = b""
    checkpoints: list[Checkpoint] = []
    last_used: int = -1

    @property
    def held_tokens(self) -> int:
        return len(self.tokens) // TOKEN_BYTES


class _Chosen(msgspec.Struct):
    """The slot that serves a request, how it was chosen, and whether what it holds is exchanged with the host cache."""

    slot: _Slot
    how: str
    exchange: bool


def _room_for_each(options: Options, slots: int, *, unified: bool) -> int | None:
    """Cells that a sequence may fill: all of them if they are shared, else its part; padded as llama.cpp does."""
    if options.ctx is None:
        return options.model_ctx
    whole = options.ctx + -options.ctx % RING_PADDING
    each = whole if unified else whole // slots
    return each + -each % RING_PADDING


def open_policy(options: Options) -> LlamaServerPolicy:
    """A server that has just started."""
    return LlamaServerPolicy(options)


class LlamaServerPolicy:
    """The slots of one server and its host cache. See `Policy`."""

    def __init__(self, options: Options) -> None:
        self._options = options
        count = options.slots or AUTOMATIC_SLOTS
        self._unified = options.kv_unified if options.kv_unified is not None else options.slots is None
        self._slots = [_Slot(number) for number in range(count)]
        self._room = _room_for_each(options, count, unified=self._unified)
        self._total = self._room if self._room is None or self._unified else self._room * count
        self._slot_ctx = min((c for c in (self._room, options.model_ctx) if c is not None), default=None)
        batch = min(options.batch, self._total or options.batch)
        ubatch = min(options.ubatch, batch)
        self._rules = CheckpointRules(options.ctx_checkpoints, options.checkpoint_min_step, batch, ubatch)
        # With `swa_full` every position is kept, so the server counts on all of them; what is loaded from the host
        # cache still lacks those outside the window.
        self._window = 0 if options.swa_full or options.cache_kind == "full" else options.window
        self._checkpointed = options.ctx_checkpoints > 0 and (self._window > 0 or options.cache_kind == "recurrent")
        self._shifts = options.cache_reuse > 0 and self._window == 0
        self._memory = self._memory_of(options, count, ubatch)
        self._host = HostCache(max(0, options.cache_ram) << 20, self._total or 0) if options.cache_ram else None
        self._requests = 0

    def _memory_of(self, options: Options, sequences: int, ubatch: int) -> Memory:
        if options.cache_kind == "recurrent":
            return RecurrentState(sequences)
        if options.cache_kind == "full" or not options.window:
            return FullAttention()
        room = self._room or UNLIMITED_CELLS
        wanted = room if options.swa_full else options.window * (sequences if self._unified else 1) + ubatch
        cells = min(wanted, room)
        return SlidingWindow(cells + -cells % RING_PADDING, options.window, sequences, shared=self._unified)

    def serve(self, sent: Sent) -> Predicted:
        """See `Policy.serve`."""
        self._requests += 1
        prompt = sent.prompt.tobytes()
        chosen = self._choose(prompt, sent.slot)
        slot = chosen.slot
        steps = [chosen.how]
        if chosen.exchange:
            steps += self._exchange(slot, prompt)
        steps += self._save_idle(slot)
        slot.last_used = self._requests
        count = len(sent.prompt)
        if self._slot_ctx is not None and count >= self._slot_ctx:
            return Predicted(None, f"refused: {count} tokens do not fit the context of {self._slot_ctx}", slot.number)
        reuse, found = self._reuse(slot, prompt, count, cache_prompt=sent.cache_prompt)
        steps.append(found)
        if 0 < reuse == count:
            reuse -= 1
            steps.append("the last token is evaluated again")
        held = prompt + sent.generated.tobytes()[:-TOKEN_BYTES]
        steps += self._make_room(slot, len(held) // TOKEN_BYTES)
        self._memory.cut(slot.number, reuse)
        self._evaluate(slot, reuse, count, [m.start for m in sent.messages if m.role == "user" and m.start > 0])
        self._memory.evaluate(slot.number, count, len(held) // TOKEN_BYTES, 1)
        slot.tokens = held
        return Predicted(reuse, "; ".join(steps), slot.number)

    def _choose(self, prompt: bytes, pinned: int | None) -> _Chosen:
        """`get_available_slot`: the pinned slot, else the most alike, else the one that was used longest ago."""
        tokens = np.float32(max(1, len(prompt) // TOKEN_BYTES))
        threshold = np.float32(self._options.slot_prompt_similarity)
        candidates = self._slots if pinned is None else [self._slots[pinned % len(self._slots)]]
        best = None if pinned is None else candidates[0]
        likeness = np.float32(0)
        if threshold != 0:
            for slot in candidates:
                if not slot.tokens:
                    continue
                like = np.float32(common_prefix_tokens(slot.tokens, prompt)) / tokens
                if like > likeness and like > threshold:
                    best, likeness = slot, like
        if best is None:
            # Of those never used, the last one: the comparison lets equal ones win.
            slot = min(reversed(self._slots), key=lambda s: s.last_used)
            return _Chosen(slot, f"slot {slot.number}, used longest ago", exchange=True)
        exchange = False
        if threshold != 0 and best.tokens:
            exchange = bool(likeness * tokens / np.float32(best.held_tokens) < SAVED_BELOW)
        how = "pinned" if pinned is not None else f"{float(likeness):.2f} of the prompt alike"
        return _Chosen(best, f"slot {best.number}, {how}", exchange)

    def _exchange(self, slot: _Slot, prompt: bytes) -> list[str]:
        """Save what the slot holds, and take a better prompt from the host cache if there is one."""
        if self._host is None:
            return []
        steps = ["its content was saved to the host cache"] if self._save(self._host, slot) else []
        entry = self._host.better(slot.tokens, prompt)
        if entry is not None:
            steps.append(self._load(self._host, slot, entry))
        self._host.trim()
        return steps

    def _load(self, host: HostCache, slot: _Slot, entry: Entry) -> str:
        tokens = len(entry.tokens) // TOKEN_BYTES
        if self._needed_room(slot, tokens) > 0:
            self._clear(slot)
            return f"a saved prompt of {tokens} tokens found no room in the unified KV cache, so the slot was cleared"
        host.remove(entry)
        slot.tokens, slot.checkpoints = entry.tokens, list(entry.checkpoints)
        self._memory.restore(slot.number, entry.saved)
        return f"a saved prompt of {tokens} tokens came back from the host cache"

    def _save(self, host: HostCache, slot: _Slot) -> bool:
        if not slot.tokens:
            return False
        saved = self._memory.saved(slot.number)
        size = slot.held_tokens * self._options.kv_bytes_per_token + self._copy_bytes(len(saved))
        size += sum(self._copy_bytes(len(c.saved)) for c in slot.checkpoints)
        return host.save(Entry(slot.tokens, tuple(slot.checkpoints), saved, round(size)))

    def _copy_bytes(self, positions: int) -> float:
        """Size of a copy of what cannot be cut back."""
        if self._options.cache_kind == "recurrent":
            return self._options.state_bytes if positions else 0.0
        return positions * self._options.window_bytes_per_token

    def _save_idle(self, busy: _Slot) -> list[str]:
        """Save the slots that have nothing to do; with unified KV they are then cleared."""
        if self._host is None or not self._options.cache_idle_slots:
            return []
        cleared: list[str] = []
        for slot in self._slots:
            if slot is busy or not slot.tokens:
                continue
            if self._save(self._host, slot):
                self._host.trim()
            if self._unified:
                self._clear(slot)
                cleared.append(str(slot.number))
        return [f"idle slot {', '.join(cleared)} was saved and cleared"] if cleared else []

    def _clear(self, slot: _Slot) -> None:
        slot.tokens = b""
        slot.checkpoints.clear()
        self._memory.cut(slot.number, 0)

    def _needed_room(self, slot: _Slot, tokens: int) -> int:
        """Tokens by which the unified KV cache is too small for what the others hold and these; never above 0 else."""
        if not self._unified or self._total is None:
            return 0
        return tokens + sum(s.held_tokens for s in self._slots if s is not slot) - self._total

    def _make_room(self, slot: _Slot, tokens: int) -> list[str]:
        """Clear idle slots, the lowest first, until a request fits the unified KV cache."""
        purged: list[str] = []
        for other in self._slots:
            if other is not slot and other.tokens and self._needed_room(slot, tokens) > 0:
                self._clear(other)
                purged.append(str(other.number))
        return [f"slot {', '.join(purged)} was purged to make room"] if purged else []

    def _reuse(self, slot: _Slot, prompt: bytes, count: int, *, cache_prompt: bool) -> tuple[int, str]:
        """Tokens that stay, and what was found."""
        matched = common_prefix_tokens(slot.tokens, prompt) if cache_prompt else 0
        if not cache_prompt:
            found = "the request forbids reuse"
        elif not slot.tokens:
            found = "the slot is empty"
        else:
            found = f"{matched} of its {slot.held_tokens} tokens matched"
        if cache_prompt and self._shifts:
            runs = list(shifted_runs(slot.tokens, prompt, matched, self._options.cache_reuse))
            for run in runs:
                self._memory.shift(slot.number, run.held_at, run.held_at + run.tokens, run.prompt_at)
            if runs:
                shifted = sum(run.tokens for run in runs)
                found += f", {shifted} more were shifted into place"
                matched += shifted
        whole = matched == count
        reuse, note = go_back(slot.checkpoints, self._memory, slot.number, matched, window=self._window, whole=whole)
        return reuse, note or found

    def _evaluate(self, slot: _Slot, start: int, count: int, users: Sequence[int]) -> None:
        """Play the batches of a prompt with the checkpoints between them."""
        if not self._checkpointed:
            for first in range(start, count, self._rules.batch):
                last = min(count, first + self._rules.batch)
                self._memory.evaluate(slot.number, first, last, self._rules.ubatch)
            return
        memory, sequence = self._memory, slot.number
        for first, last in batches(self._rules, start, count, users, slot.checkpoints):
            oldest = memory.oldest(sequence)
            if oldest != NOTHING and wanted(self._rules, first, last, count, users, slot.checkpoints):
                new = Checkpoint(self._requests, first, oldest, first - 1, memory.saved(sequence))
                take(self._rules, slot.checkpoints, new)
            memory.evaluate(sequence, first, last, self._rules.ubatch)
