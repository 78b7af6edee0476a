"""The layers of a GGUF model by kind, with what each keeps, as llama.cpp finds them from the header. Reads no file.

Follows `llama_model_base::load_hparams`, `llama-hparams.cpp` (`n_embd_k_gqa`, `n_embd_r`, `n_embd_s`) and the layer
filters of `llama_model::create_memory`. Says nothing of an architecture that it does not know.
"""

from __future__ import annotations

import msgspec

from backends.gguf_header import GgufHeader
from profiler.model_file import llama_architectures as known
from profiler.model_file.base import Layer, LayerKind, NotToldError
from profiler.model_file.llama_architectures import Sliding

MOST_LAYERS = 512
"""llama.cpp's own bound (`LLAMA_MAX_LAYERS`)."""


class Hparams(msgspec.Struct, frozen=True):
    """The keys of one header that layers follow from, by their names without the architecture."""

    architecture: str
    header: GgufHeader
    all_layers: int
    trunk_layers: int

    def number(self, key: str, default: int | None = None) -> int:
        """A number of the header, or `default`.

        Raises:
            NotToldError: neither is there.
        """
        value = self.header.values.get(f"{self.architecture}.{key}", default)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
            raise NotToldError(f"{self.architecture}.{key} is {'missing' if value is None else 'no number'}")
        return value

    def has(self, key: str) -> bool:
        """Whether the header has the key."""
        return f"{self.architecture}.{key}" in self.header.values

    def by_layer(self, key: str, default: tuple[int, ...] | None = None) -> tuple[int, ...]:
        """A number for each layer: an array of that many, or one number for all.

        Raises:
            NotToldError: it is missing without a default, or its length is another.
        """
        value = self.header.values.get(f"{self.architecture}.{key}")
        if value is None and default is not None:
            return default
        if not isinstance(value, tuple):
            return (self.number(key),) * self.all_layers
        numbers = tuple(int(item) for item in value if isinstance(item, (bool, int)) and 0 <= item < 2**31)
        if len(numbers) != len(value) or len(numbers) < self.all_layers:
            raise NotToldError(f"{self.architecture}.{key} has {len(numbers)} numbers for {self.all_layers} layers")
        return numbers[: self.all_layers]


def hparams(header: GgufHeader) -> Hparams:
    """What layers follow from.

    Raises:
        NotToldError: the header names no architecture or no number of layers.
    """
    architecture = header.architecture
    if architecture is None:
        raise NotToldError("the header names no architecture")
    known_count = Hparams(architecture, header, 0, 0)
    layers = known_count.number("block_count")
    predicting = known_count.number("nextn_predict_layers", 0)
    if not 0 < layers <= MOST_LAYERS or predicting > layers:
        raise NotToldError(f"{layers} layers, {predicting} of them to predict ahead, are not possible")
    return Hparams(architecture, header, layers, layers - predicting)


def layers_of(given: Hparams) -> tuple[Layer, ...]:
    """All layers of the model in order.

    Raises:
        NotToldError: the architecture is not known, or a key that it needs is missing.
    """
    architecture = given.architecture
    if architecture not in known.KNOWN:
        raise NotToldError(f"what the layers of {architecture!r} keep is not known here")
    if architecture in known.NO_CACHE:
        return (Layer("none"),) * given.all_layers
    recurrent = _recurrent(given)
    history, state = _state(given) if any(recurrent) else (0, 0)
    keeping = _with_state(given, recurrent)
    window, windowed = _windows(given)
    attending = _attending(given, recurrent)
    heads = given.by_layer("attention.head_count", (0,) * given.all_layers)
    kv_heads = given.by_layer("attention.head_count_kv", heads)
    sizes = _head_sizes(given, heads[0])
    mla = architecture in known.MLA and _is_mla(given)
    indexer = given.number("attention.indexer.key_length") if architecture in known.INDEXER else 0
    layers: list[Layer] = []
    for il in range(given.all_layers):
        key, value = sizes[windowed[il]]
        keys = key * kv_heads[il] if attending[il] else 0
        values = value * kv_heads[il] if attending[il] and not mla else 0
        kept = (history + state, history) if keeping[il] else (0, 0)
        if not keys and not values:
            layers.append(Layer("recurrent" if keeping[il] else "none", state_values=kept[0], history_values=kept[1]))
        else:
            kind: LayerKind = "mla" if mla else "sliding_window" if windowed[il] else "attention"
            indexed = indexer if il < given.trunk_layers else 0
            layers.append(Layer(kind, keys + indexed, values, kept[0], window if windowed[il] else None, kept[1]))
    return tuple(layers)


def _recurrent(given: Hparams) -> tuple[bool, ...]:
    """`is_recr` of each layer."""
    architecture, everything = given.architecture, range(given.all_layers)
    if architecture in known.RECURRENT | known.BOTH:
        return (True,) * given.all_layers
    if architecture in known.INTERVAL:
        if given.has("attention.recurrent_layers"):
            return tuple(map(bool, given.by_layer("attention.recurrent_layers")))
        step = given.number("full_attention_interval", known.INTERVAL[architecture]) or 1
        return tuple(il < given.trunk_layers and (il + 1) % step != 0 for il in everything)
    if architecture in known.WITHOUT_HEADS | known.WITH_FEED_FORWARD_LAYERS:
        kv_heads = given.by_layer("attention.head_count_kv")
        inner = (0,) * given.all_layers
        if architecture in known.WITH_FEED_FORWARD_LAYERS:
            inner = given.by_layer("feed_forward_length", inner)
        return tuple(il < given.trunk_layers and kv_heads[il] == 0 == inner[il] for il in everything)
    return (False,) * given.all_layers


def _with_state(given: Hparams, recurrent: tuple[bool, ...]) -> tuple[bool, ...]:
    return tuple(is_recurrent and il < given.trunk_layers for il, is_recurrent in enumerate(recurrent))


def _attending(given: Hparams, recurrent: tuple[bool, ...]) -> tuple[bool, ...]:
    """Whether each layer keeps keys and values: the filters of `create_memory`, and layers that share another's."""
    architecture, everything = given.architecture, range(given.all_layers)
    if architecture in known.RECURRENT:
        return (False,) * given.all_layers
    if architecture in known.BOTH:
        return (True,) * given.all_layers
    if architecture in known.WITH_FEED_FORWARD_LAYERS:
        inner = given.by_layer("feed_forward_length", (0,) * given.all_layers)
        return tuple(not recurrent[il] and inner[il] == 0 for il in everything)
    if architecture in known.WITHOUT_HEADS:
        return tuple(not is_recurrent for is_recurrent in recurrent)
    own = given.all_layers
    if architecture == "gemma4":
        own -= given.number("attention.shared_kv_layers", 0)
    own = known.KV_LAYERS_FROM_START.get(architecture, own)
    trunk = given.trunk_layers or given.all_layers
    return tuple(il < min(own, trunk) and not recurrent[il] for il in everything)


def _windows(given: Hparams) -> tuple[int | None, tuple[bool, ...]]:
    """The window in tokens, and whether each layer has it."""
    none = (None, (False,) * given.all_layers)
    key = "attention.sliding_window"
    if given.architecture == "lfm2":
        window = given.number(key, 0)
        return (window, tuple(not r for r in _recurrent(given))) if window else none
    sliding = known.SLIDING.get(given.architecture)
    if given.architecture == "exaone4" and given.trunk_layers == 64:
        sliding = known.EXAONE4_SLIDING
    if sliding is None:
        return none
    window = _window(given, sliding, key)
    return (window, _pattern(given, sliding)) if window else none


def _window(given: Hparams, sliding: Sliding, key: str) -> int:
    """0 where the model has no windows."""
    if sliding.fixed:
        found = given.number(key, 0 if sliding.optional else None) if given.has(key) or sliding.optional else 1
        return sliding.window_tokens or 0 if found else 0
    return given.number(key, 0 if sliding.optional else sliding.window_tokens)


def _pattern(given: Hparams, sliding: Sliding) -> tuple[bool, ...]:
    key = "attention.sliding_window_pattern"
    if isinstance(given.header.values.get(f"{given.architecture}.{key}"), tuple):
        return tuple(map(bool, given.by_layer(key)))
    if sliding.period is None:
        raise NotToldError(f"{given.architecture}.{key} is missing")
    period, first = given.number(key, sliding.period), 0 if sliding.dense_first else None
    return tuple(
        il < given.trunk_layers
        and (period == 0 or (il % period != 0 if first == 0 else il % period < period - 1))
        for il in range(given.all_layers)
    )  # fmt: skip


def _head_sizes(given: Hparams, heads: int) -> dict[bool, tuple[int, int]]:
    """Numbers of a key and of a value of one head, without and with a window."""
    if heads == 0:
        full = (0, 0)
    else:
        even = given.number("embedding_length") // heads
        full = given.number("attention.key_length", even), given.number("attention.value_length", even)
    windowed = given.number("attention.key_length_swa", full[0]), given.number("attention.value_length_swa", full[1])
    return {False: full, True: windowed}


def _is_mla(given: Hparams) -> bool:
    lengths = [given.number(f"attention.{what}_length_mla", 0) for what in ("key", "value")]
    return all(lengths)


def _state(given: Hparams) -> tuple[int, int]:
    """Numbers that a recurrent layer keeps for each sequence: history of inputs (`n_embd_r`), state (`n_embd_s`)."""
    if given.has("wkv.head_size"):
        width = given.number("embedding_length")
        return given.number("token_shift_count", 2) * width, width * given.number("wkv.head_size")
    kernel, inner = given.number("ssm.conv_kernel", 0), given.number("ssm.inner_size", 0)
    state, groups = given.number("ssm.state_size", 0), given.number("ssm.group_count", 0)
    history = max(kernel - 1, 0) * (inner + 2 * groups * state)
    if given.has("shortconv.l_cache"):
        return given.number("embedding_length") * (given.number("shortconv.l_cache") - 1), state * inner
    if given.has("kda.head_dim"):
        head, heads = given.number("kda.head_dim"), given.by_layer("attention.head_count")[0]
        return 3 * (kernel - 1 if kernel else 3) * heads * head, head * head * heads
    if given.architecture == "minimax-01":
        heads = given.by_layer("attention.head_count")[0]
        head = _head_sizes(given, heads)[False][0]
        return history, head * head * heads
    if not state or not inner:
        raise NotToldError(f"{given.architecture}.ssm.state_size is missing")
    return history, state * inner
