"""The settings that a simulation compares: from flags and an engine's defaults to the options of its cache policy.

It knows no option by name beyond the few that say what the model is (`FACTS`) and how large its context and batches
are (`SIZES`): the fields of each policy's `Options` are the specification.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, Final

import msgspec

from backends.base import TargetError
from backends.options import convert_options
from profiler.policies import load, policy_names

__all__ = [
    "AUTOMATIC",
    "FACTS",
    "LIMIT",
    "SIZES",
    "Setting",
    "chosen_engines",
    "differing",
    "options_of",
    "read_values",
    "settings_of",
    "split_facts",
]

Values = tuple[str, ...]

LIMIT: Final = "infinite"
"""The policy that forgets nothing: what the others are compared with, no engine."""
AUTOMATIC: Final = ("auto", "default")
"""Values that leave an option to the engine."""
FACTS: Final = (
    "cache_kind",
    "window",
    "model_ctx",
    "kv_bytes_per_token",
    "window_bytes_per_token",
    "state_bytes",
    "user_head_tokens",
    "think_tail_tokens",
    "sequential",
)
"""Options of policies that say what the model and its requests are, not how the engine is set."""
SIZES: Final = ("ctx", "batch", "ubatch")
"""Settings that a run keeps while others are compared, its engine's defaults too."""
DEFAULT_GRIDS: Final[dict[str, dict[str, Values]]] = {
    "llama-server": {
        "slots": (AUTOMATIC[0], "1", "2", "4"),
        "slot_prompt_similarity": ("0", "0.1", "0.5", "0.98"),
        "cache_ram": ("0", "8192"),
    },
    "mlx-server": {"prompt_cache_size": ("2", "5", "10", "20")},
}
"""What is compared where no setting is asked for."""
MOST_SETTINGS: Final = 2000


class Setting(msgspec.Struct, frozen=True):
    """An engine with options as typed, on top of what a run keeps. `is_default`: none; `is_own`: a run's own."""

    engine: str
    options: dict[str, str]
    is_default: bool = False
    is_own: bool = False


def chosen_engines(names: Sequence[str]) -> tuple[str, ...]:
    """The engines of a command line; `all` are those that have a policy.

    Raises:
        UnknownEngine: one has none; names the nearest.
        TargetError: one is no engine, but what all are compared with.
    """
    every = tuple(name for name in policy_names() if name != LIMIT)
    chosen = [engine for name in names for engine in (every if name == "all" else (name,))]
    for name in chosen:
        load(name)
    if LIMIT in chosen:
        raise TargetError(f"{LIMIT} is no engine", hint="what a cache that forgets nothing would do is always shown")
    return tuple(dict.fromkeys(chosen))


def read_values(pairs: Sequence[str], flags: Mapping[str, str | None]) -> dict[str, Values]:
    """Options with the values to compare, from `--set key=value,value` and from flags of their own.

    Raises:
        TargetError: no key, no values, an empty value, or one option twice.
    """
    given = [(key, text) for key, text in flags.items() if text is not None]
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals or not key.strip():
            raise TargetError(f"setting {pair!r} has no value", hint="write --set key=value or --set key=value,value")
        given.append((key.strip().replace("-", "_"), text))
    values: dict[str, Values] = {}
    for key, text in given:
        if key in values:
            raise TargetError(f"the option {key!r} is given twice", hint="write its values in one list: 1,2,4")
        listed = tuple(dict.fromkeys(value.strip() for value in text.split(",")))
        if not all(listed):
            raise TargetError(f"the option {key!r} has an empty value: {text!r}", hint="write values as 1,2,4")
        values[key] = listed
    return values


def split_facts(engines: Sequence[str], asked: Mapping[str, Values]) -> tuple[dict[str, Any], dict[str, Values]]:
    """What was given of the model, converted, and the settings that are left to compare.

    Raises:
        TargetError: a fact has several values, or one that does not fit; an option that none of the engines has.
    """
    _check(engines, asked)
    facts: dict[str, Any] = {}
    for key, values in asked.items():
        if key not in FACTS:
            continue
        first, *others = values
        if others:
            raise TargetError(f"{key} says what the model is, so it has one value", hint=f"write --set {key}={first}")
        engine = next(engine for engine in engines if key in _fields(engine))
        facts[key] = getattr(options_of(engine, {key: first}), key)
    return facts, {key: values for key, values in asked.items() if key not in FACTS}


def settings_of(
    engines: Sequence[str], asked: Mapping[str, Values], own: Sequence[tuple[str, Mapping[str, str]]]
) -> tuple[Setting, ...]:
    """The settings to compare: of each engine the defaults, the own ones of runs, then every combination asked for.

    An option that only some of the engines have is set for those.

    Raises:
        TargetError: none of the engines has an option (names the nearest), a value does not fit, or there are too many
            combinations.
    """
    _check(engines, asked)
    settings: list[Setting] = []
    for engine in engines:
        fields = _fields(engine)
        mine = {key: values for key, values in asked.items() if key in fields}
        varied = mine if asked else DEFAULT_GRIDS.get(engine, {})
        settings.append(Setting(engine, {}, is_default=True))
        settings += [Setting(name, dict(options), is_own=True) for name, options in own if name == engine]
        combinations = product(*varied.values()) if varied else ()
        settings += [Setting(engine, dict(zip(varied, values, strict=True))) for values in combinations]
    if len(settings) > MOST_SETTINGS:
        raise TargetError(f"{len(settings)} settings are too many to compare", hint="give fewer values")
    return tuple(settings)


def options_of(
    engine: str,
    options: Mapping[str, str],
    facts: Mapping[str, Any] | None = None,
    kept: Mapping[str, str] | None = None,
) -> msgspec.Struct:
    """A policy's `Options`: the engine's defaults, then what a run keeps, the model's facts and the given options.

    Args:
        engine: name of the policy.
        options: as typed in a target; `auto` leaves an option to the engine, over what is kept.
        facts: values for `FACTS`; those that this policy does not have are left out.
        kept: likewise, of a run's settings.

    Raises:
        UnknownEngine: no policy models that engine.
        TargetError: an option that it does not have (names the nearest), or a value that does not fit.
    """
    fields = _fields(engine)
    typed = {key: value for key, value in (kept or {}).items() if key in fields}
    typed |= {key.replace("-", "_"): value for key, value in options.items()}
    given = {key: value for key, value in typed.items() if value.lower() not in AUTOMATIC}
    converted = convert_options(given, load(engine).Options, engine)
    known = {key: value for key, value in (facts or {}).items() if key in fields and key not in given}
    filled: msgspec.Struct = msgspec.structs.replace(converted, **known)
    return filled


def differing(engine: str, options: msgspec.Struct, shown: Sequence[str] = ()) -> dict[str, str]:
    """The options that are not the engine's defaults, as typed; facts and sizes only where they are in `shown`."""
    hidden = {*FACTS, *SIZES} - set(shown)
    defaults = msgspec.structs.asdict(load(engine).Options())
    values = msgspec.structs.asdict(options)
    return {k: _typed(v) for k, v in values.items() if k not in hidden and v != defaults[k]}


def _typed(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return AUTOMATIC[0] if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _fields(engine: str) -> set[str]:
    return {field.name for field in msgspec.structs.fields(load(engine).Options)}


def _check(engines: Sequence[str], asked: Mapping[str, Values]) -> None:
    for key, values in asked.items():
        having = [engine for engine in engines if key in _fields(engine)]
        if not having:
            every = sorted({name for engine in engines for name in _fields(engine)})
            near = difflib.get_close_matches(key, every, 1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"options: {', '.join(every) or 'none'}"
            who = f"the cache of {engines[0]} has" if len(engines) == 1 else "none of these engines' caches has"
            raise TargetError(f"{who} no option {key!r}", hint=hint)
        for engine in having:
            for value in values:
                options_of(engine, {key: value})
