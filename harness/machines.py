"""Machines as data: a file for each, with its memories, their bandwidth, and the rates it was measured to reach.

    description = "Apple M4 Max with a 40-core GPU, 128 GB"
    provenance = "published"           # by the maker or others; "measured" by dyno, on `date`
    cores = 16
    unified = true                     # processor and GPU share the memory: there is no [device]

    [memory]
    bytes = 137438953472
    source = "…"
    usable_bytes = 115448720916        # what a model may take, where that is known
    usable_source = "…"
    bandwidth_gb_per_s = 546.0         # 1e9 bytes a second
    bandwidth_source = "…"

    [device]                           # a GPU with a memory of its own: the same keys, and a name

    [[rates]]                          # calibrated rates (profiler.speed.rates.TypeRate), one for each quant type

A machine's name is its file's without `.toml`. Files are looked for in `./machines`, in the user's folder
(`$XDG_CONFIG_HOME/dyno/machines`, or `~/.config/dyno/machines`) and among the bundled ones (`profiles/machines`).
Measures nothing: `harness.machine_saving` makes the profile of this machine.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import msgspec
import tomlkit

from backends.base import TargetError
from harness.named_files import file_named, toml_files
from profiler.fit.base import Allowance
from profiler.speed.rates import TypeRate

__all__ = [
    "BUNDLED",
    "FoundMachine",
    "MachineMemory",
    "MachineProfile",
    "allowance",
    "as_toml",
    "find_machines",
    "machine_named",
    "own_folder",
    "places",
    "read_machine",
]

BUNDLED: Final = Path(__file__).parent.parent / "profiles" / "machines"
_FORM: Final = "the form is shown in docs/machines.md"
_NEAR: Final = 3
_DIGITS: Final = 5


class MachineMemory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A memory, each figure with the line that says where it is from. `None` is what is not known.

    `usable_bytes` is what a model may take of it; `bandwidth_gb_per_s` how fast it is read, in 1e9 bytes a second.
    """

    bytes: int
    source: str
    name: str | None = None
    usable_bytes: int | None = None
    usable_source: str | None = None
    bandwidth_gb_per_s: float | None = None
    bandwidth_source: str | None = None


class MachineProfile(msgspec.Struct, frozen=True):
    """A machine that one need not have. `memory` is `None` for a GPU alone, whose machine is not told.

    `device` is a GPU's own memory; a `unified` machine has none. `cores` are physical ones. `date` is the day of a
    measured profile.
    """

    name: str
    description: str
    provenance: Literal["measured", "published"]
    memory: MachineMemory | None = None
    device: MachineMemory | None = None
    unified: bool = False
    cores: int | None = None
    date: str | None = None
    rates: tuple[TypeRate, ...] = ()

    @property
    def label(self) -> str:
        """How its figures are to be called wherever they are shown."""
        return (
            f"measured by dyno on {self.date}" if self.provenance == "measured" else "published, not measured by dyno"
        )

    @property
    def weights_memory(self) -> MachineMemory | None:
        """The memory that holds the weights of a model that fits: the GPU's own, else the main memory."""
        return self.device or self.memory


class FoundMachine(msgspec.Struct, frozen=True):
    """A machine's file: its profile, or, without one, what is wrong with it."""

    name: str
    path: Path
    profile: MachineProfile | None = None
    fault: str | None = None


class _File(msgspec.Struct, forbid_unknown_fields=True):
    description: str
    provenance: Literal["measured", "published"]
    memory: MachineMemory | None = None
    device: MachineMemory | None = None
    unified: bool = False
    cores: int | None = None
    date: str | None = None
    rates: tuple[TypeRate, ...] = ()


def own_folder() -> Path:
    """The user's folder, where `dyno doctor --save` writes; it need not exist."""
    return Path(os.environ.get("XDG_CONFIG_HOME") or "~/.config").expanduser() / "dyno" / "machines"


def places() -> tuple[Path, ...]:
    """The folders that hold machines, those of the working directory first; they need not exist."""
    return (Path("machines"), own_folder(), BUNDLED)


def find_machines() -> tuple[FoundMachine, ...]:
    """Every machine's file, by name."""
    return tuple(_found(path) for path in sorted(toml_files(places()), key=lambda path: path.stem))


def machine_named(name: str) -> MachineProfile:
    """The machine that a name or the path of a `.toml` file means.

    Raises:
        TargetError: no machine has that name (the nearest are named, else all), two have it, or its file is wrong.
    """
    if name.endswith(".toml"):
        return read_machine(Path(name).expanduser())
    files = toml_files(places())
    known = sorted({path.stem for path in files})
    if name not in known:
        near = difflib.get_close_matches(name, known, _NEAR, 0.5) or [one for one in known if name.lower() in one]
        hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
        raise TargetError(f"no machine is named {name!r}", hint=f"{hint} (dyno doctor --save writes yours)")
    return read_machine(file_named(name, "machine", files, lambda said, hint: TargetError(said, hint=hint), _FORM))


def read_machine(path: Path) -> MachineProfile:
    """The profile in a file.

    Raises:
        TargetError: it cannot be read, is no TOML (with the line), has an unknown key or a value of the wrong type,
        holds neither memory, or a unified machine with a memory of the GPU's own.
    """
    try:
        held = tomllib.loads(path.read_text(encoding="utf-8"))
        file = msgspec.convert(held, _File)
    except OSError as error:
        raise TargetError(f"machine {path}: {error.strerror}", hint="dyno doctor --save writes yours") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TargetError(f"machine {path}: {error}", hint=_FORM) from error
    except msgspec.ValidationError as error:
        words = str(error).replace("Object missing required field", "it has no").replace("Object contains", "it has an")
        raise TargetError(f"machine {path}: {words.replace('`', '').replace('$.', '')}", hint=_FORM) from error
    if file.memory is None and file.device is None:
        raise TargetError(f"machine {path} has no memory", hint=f"give [memory], [device] or both; {_FORM}")
    if file.unified and (file.memory is None or file.device is not None):
        raise TargetError(f"machine {path} is unified, so it has [memory] and no [device]", hint=_FORM)
    if file.provenance == "measured" and file.date is None:
        raise TargetError(f"machine {path} is measured, and has no date", hint=_FORM)
    return MachineProfile(name=path.stem, **msgspec.structs.asdict(file))


def as_toml(profile: MachineProfile) -> str:
    """The text of a profile's file, which `read_machine` reads back; what is not known is left out."""
    held = _written(msgspec.to_builtins(profile))
    del held["name"]
    note = "# Written by `dyno doctor --save`, which replaces it when it is run again.\n"
    return note + tomlkit.dumps(held)


_Builtin: TypeAlias = "str | int | float | bool | dict[str, _Builtin] | tuple[_Builtin, ...] | None"


def _written(value: _Builtin) -> Any:
    """Without what is not known, for which TOML has no word; figures with the digits that they have."""
    if isinstance(value, dict):
        return {key: _written(one) for key, one in value.items() if one is not None and one != ()}
    if isinstance(value, tuple):
        return [_written(one) for one in value]
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value


def allowance(profile: MachineProfile) -> Allowance:
    """What the machine can give a model, bytes.

    A memory whose usable part is not known counts whole, which is more than it can give; a GPU alone is taken to stand
    in a machine with as much main memory as it has. `source` says both.
    """
    said = [f"{profile.name}: {profile.label}"]
    host, device = profile.memory, profile.device
    if device is not None:
        said += [_said("the GPU's memory", device)]
    if host is None:
        assert device is not None
        said += ["main memory not told, so taken to be as large as the GPU's"]
        return Allowance(device.bytes, _usable(device), "; ".join(said))
    said += [_said("memory", host)]
    of_device = _usable(host) if profile.unified else None if device is None else _usable(device)
    return Allowance(_usable(host), of_device, "; ".join(said), unified=profile.unified)


def _usable(memory: MachineMemory) -> int:
    return memory.bytes if memory.usable_bytes is None else memory.usable_bytes


def _said(what: str, memory: MachineMemory) -> str:
    if memory.usable_bytes is None:
        return f"{what}: all of it, as what the system keeps of it is not known ({memory.source})"
    return f"{what}: {memory.usable_source or memory.source}"


def _found(path: Path) -> FoundMachine:
    try:
        return FoundMachine(path.stem, path, read_machine(path))
    except TargetError as error:
        return FoundMachine(path.stem, path, fault=f"{error} ({error.hint})" if error.hint else str(error))
