"""What a cache policy has to know of a model and of a run's engine: from the run's facts, and the model file's header.

The sizes of what llama-server saves of a prompt are known for full attention alone; which layers of other models keep
what, their headers do not say in one way.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from backends.base import EngineError, Facts, ModelFileError, Target, TargetError
from backends.gguf_header import GgufHeader, read_header
from backends.options import convert_options
from harness.simulation.settings import FACTS
from harness.targets import resolve_target
from profiler.policies import load, policy_names
from profiler.records import RunInfo

__all__ = ["ModelFacts", "facts_of_model", "facts_of_run", "own_options"]

_BYTES_PER_VALUE: Final = {
    "f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 34 / 32, "q5_1": 24 / 32, "q5_0": 22 / 32, "q4_1": 20 / 32,
    "q4_0": 18 / 32, "iq4_nl": 18 / 32,
}  # fmt: skip
"""Of llama.cpp's types for keys and values (ggml-common.h)."""
_POSITION_BYTES: Final = 12
"""Saved with each token beside its keys and values (measured: 2060 bytes where these take 2048)."""
_CELL_OF: Final = {"vllm": "block_size", "sglang": "page_size"}


class ModelFacts(msgspec.Struct, frozen=True):
    """Values for the options of policies that describe the model, and what is not known, in words."""

    values: dict[str, Any]
    notes: tuple[str, ...] = ()


class _Config(msgspec.Struct):
    sliding_window: int | None = None
    max_position_embeddings: int | None = None


def facts_of_model(place: str, kv: str = "f16") -> ModelFacts:
    """The facts of a GGUF file, or of a folder with a `config.json`; `kv` is the type of its cache.

    Raises:
        ModelFileError: the file is not there or no GGUF.
    """
    path = Path(place)
    if path.is_dir():
        return _facts_of_folder(path)
    header = read_header(place)
    values: dict[str, Any] = {"cache_kind": header.cache_kind, "window": header.sliding_window or 0}
    if header.context_length is not None:
        values["model_ctx"] = header.context_length
    size = _kv_bytes_per_token(header, kv) if header.cache_kind == "full" else None
    if size is None:
        note = "how large a saved prompt of this model is, is not known: the host cache is taken as never full"
        return ModelFacts(values, (note,))
    return ModelFacts(values | {"kv_bytes_per_token": size})


def facts_of_run(info: RunInfo, shown: Mapping[str, Any] | None = None) -> ModelFacts:
    """The facts of a run's model: from its file if it is still there, else what the engine said of itself.

    `shown` are facts that the user gives; what they say is not missed.
    """
    given = shown or {}
    place = _model_of(info)
    if place is not None:
        try:
            found = facts_of_model(place, info.facts.settings.get("kv", "f16"))
        except ModelFileError:
            pass  # changed since: what the engine said is left
        else:
            if Path(place).is_dir() and info.facts.cache_kind is not None:
                return ModelFacts(found.values | {"cache_kind": info.facts.cache_kind})
            return found
    notes: list[str] = []
    values: dict[str, Any] = {}
    kind = info.facts.cache_kind
    if kind is not None:
        values["cache_kind"] = kind
    elif "cache_kind" not in given:
        notes.append("the engine does not say how its cache can be cut back: full attention is assumed")
    if info.facts.context_tokens is not None:
        values["model_ctx"] = info.facts.context_tokens
    if kind == "sliding_window" and "window" not in given:
        notes.append("the model file is not here, so its window is not known: give --set window=TOKENS")
    return ModelFacts(values, tuple(notes))


def own_options(info: RunInfo) -> dict[str, str] | None:
    """The settings of a run's engine that its policy knows, as typed; `None` where no policy models that engine.

    Of a server that dyno did not start, the slots and the context alone are known.
    """
    facts = info.facts
    if facts.engine not in policy_names():
        return None
    known = {field.name for field in msgspec.structs.fields(load(facts.engine).Options)} - set(FACTS)
    own = {k: v for k, v in facts.settings.items() if k in known and _fits(facts.engine, k, v)}
    own |= _shape(facts, own)
    cell = _CELL_OF.get(facts.engine)
    if cell is not None and cell not in own and facts.granularity_tokens is not None:
        own[cell] = str(facts.granularity_tokens)
    return own


def _shape(facts: Facts, own: Mapping[str, str]) -> dict[str, str]:
    """Slots and context where the settings do not say them."""
    context, slots = facts.context_tokens, facts.slots
    if context is None or "ctx" in own or facts.engine == "mlx-server":
        return {}
    if facts.engine != "llama-server":
        return {"ctx": str(context)}
    if facts.launched:
        return {}
    # `/props` names the context of a slot. Four slots are the automatic mode, in which each has all of it.
    if slots is None or slots == 4:
        return {"ctx": str(context)}
    return {"slots": str(slots), "ctx": str(slots * context)}


def _fits(engine: str, key: str, value: str) -> bool:
    """Whether a noted setting is a value; «default» and «None» are not."""
    try:
        convert_options({key: value}, load(engine).Options, engine)
    except EngineError:
        return False
    return value not in ("default", "None")


def _model_of(info: RunInfo) -> str | None:
    try:
        target: Target = resolve_target(info.target)
    except TargetError:
        return None
    if target.url is not None or target.model is None:
        return None
    path = Path(target.model)
    return str(path) if path.is_dir() or (path.suffix == ".gguf" and path.is_file()) else None


def _facts_of_folder(folder: Path) -> ModelFacts:
    try:
        config = msgspec.json.decode((folder / "config.json").read_bytes(), type=_Config)
    except (OSError, msgspec.DecodeError) as error:
        raise ModelFileError(f"{folder} has no config.json that can be read: {error}") from error
    values: dict[str, Any] = {"cache_kind": "sliding_window" if config.sliding_window else "full"}
    if config.sliding_window:
        values["window"] = config.sliding_window
    note = "whether this model has recurrent layers is not known: give --set cache_kind=recurrent if it has"
    return ModelFacts(values, (note,))


def _kv_bytes_per_token(header: GgufHeader, kv: str) -> float | None:
    """Bytes that llama-server saves for a token of a model whose layers all keep every token; `None`: not known."""

    def number(key: str) -> int | None:
        value = header.values.get(f"{header.architecture}.{key}")
        return value if isinstance(value, int) else None

    heads, kv_heads = (
        number("attention.head_count"),
        header.values.get(f"{header.architecture}.attention.head_count_kv"),
    )
    width, blocks, each = number("embedding_length"), header.block_count, _BYTES_PER_VALUE.get(kv)
    if kv_heads is None:
        kv_heads = heads
    if blocks is None or heads is None or width is None or each is None:
        return None
    if isinstance(kv_heads, tuple):
        all_heads = sum(int(n) for n in kv_heads)
    elif isinstance(kv_heads, int):
        all_heads = kv_heads * blocks
    else:
        return None
    key = number("attention.key_length") or width // heads
    value = number("attention.value_length") or width // heads
    return all_heads * (key + value) * each + _POSITION_BYTES
