"""From files and folders to candidates: which models they hold, whether these can be compared, and as what.

Headers are read, weights are not. Files of one model differ in their quant alone: another architecture, another number
of parameters or another vocabulary is another model, and no comparison of quants can rank it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final

import msgspec

from backends.base import Target
from backends.discovery.model_files import FoundModel, find_models
from backends.discovery.places import Place
from backends.gguf_header import part_of
from harness.experiment.plan import PlanError
from harness.quant.base import Candidate, Wanted
from harness.quant.engines import engine_of, options_of
from harness.quant.figures import KV_BITS
from profiler.model_file import read_model
from profiler.model_file.base import ModelFile

__all__ = ["Choice", "candidates_of", "check_enough", "models_of", "reference_of"]

SAME_MODEL: Final = 0.02
"""Parameters may differ by this share: one file may hold an output matrix that another shares with its embedding, and
tables of a few thousand values are stored by some converters only."""

Reads = Callable[[Path], ModelFile]


class Choice(msgspec.Struct, frozen=True):
    """What is compared, and against what. `reference` is one of `candidates` unless another file was named for it."""

    candidates: tuple[Candidate, ...]
    reference: Candidate

    @property
    def all(self) -> tuple[Candidate, ...]:
        """The candidates, and the reference after them where it is none of them."""
        return self.candidates if self.reference in self.candidates else (*self.candidates, self.reference)

    def named(self, name: str) -> Candidate:
        """The one of that name."""
        return next(one for one in self.all if one.name == name)


def models_of(paths: Sequence[Path], *, read: Reads = read_model) -> tuple[ModelFile, ...]:
    """The models that files and folders hold, in the order given; those of a folder by size, the largest first.

    Of a split model one part is enough. Encoders of images, adapters and importance matrices in a folder are left out.

    Raises:
        PlanError: nothing there, a folder without a model or with a part of one, the same file twice, not one model.
        ModelFileError: a file is none, cut short, or its parts do not belong together.
    """
    found: list[ModelFile] = []
    for path in paths:
        for file, named in _files_of(path):
            model = read(file)
            twin = next((one for one in found if _same_file(one, model)), None)
            if twin is None:
                found.append(model)
            elif named:
                raise PlanError(f"{model.path} is given twice", hint="name each file once; --repeats repeats them")
    _check_one_model(found)
    return tuple(found)


def candidates_of(
    models: Sequence[ModelFile],
    kv: Sequence[str],
    wanted: Wanted,
    *,
    engine: str | None = None,
    options: dict[str, str] | None = None,
    reference: ModelFile | None = None,
    installed: bool = True,
) -> Choice:
    """Every model with every type of KV cache, and the reference: the most bits, unless a model is named for it.

    Args:
        models: of one architecture, size and vocabulary (`models_of`).
        kv: types of KV cache, the first one that of a reference that is named.
        wanted: context and slots, which the engines are launched with.
        engine: measures all of them; `None` is what suits the file and is installed.
        options: further launch settings, as typed.
        reference: measured for quality alone unless it is one of `models`.
        installed: whether the engine must be there; a prediction needs none.

    Raises:
        PlanError: a type of KV cache that there is not, or that is named twice; the reference is another model.
        MissingExtra: no engine for these files is installed.
    """
    for one in kv:
        if one not in KV_BITS:
            raise PlanError(f"{one!r} is no type of KV cache", hint=f"types: {', '.join(KV_BITS)}")
    twice = next((one for one in kv if list(kv).count(one) > 1), None)
    if twice is not None or not kv:
        raise PlanError(f"--kv names {twice or 'nothing'}" + (" twice" if twice else ""), hint="--kv f16,q8_0")
    names = _names(models)

    def made(name: str, model: ModelFile, one: str) -> Candidate:
        chosen = engine or engine_of(model, installed=installed)
        target = Target(chosen, str(model.path), options=options_of(chosen, model, one, wanted, options or {}))
        return Candidate(name if one == "f16" else f"{name} kv={one}", model, one, target)

    candidates = tuple(made(name, model, one) for name, model in zip(names, models, strict=True) for one in kv)
    if reference is None:
        return Choice(candidates, reference_of(candidates))
    _check_one_model([*models, reference])
    best = sorted(kv, key=lambda one: -KV_BITS[one])[0]
    own = next((one for one in candidates if _same_file(one.model, reference) and one.kv == best), None)
    return Choice(candidates, own or made(_other_name(reference, names), reference, best))


def reference_of(candidates: Sequence[Candidate]) -> Candidate:
    """The candidate with the most bits per weight, then with the most bits of KV cache; the first one of equals."""
    return max(candidates, key=lambda one: (one.model.bits_per_weight, KV_BITS[one.kv]))


def check_enough(choice: Choice) -> None:
    """Whether there is something to compare.

    Raises:
        PlanError: one candidate, and no other reference.
    """
    if len(choice.all) > 1:
        return
    name = choice.candidates[0].name
    raise PlanError(
        f"{name} alone is no comparison",
        hint="name a second quant of the model, add --kv f16,q8_0 or --reference FILE, or ask what it would take with "
        "--predict-only",
    )


def _files_of(path: Path) -> list[tuple[Path, bool]]:
    """The files and folders of models that a path means, with whether they were named one by one."""
    path = path.expanduser()
    if not path.exists():
        raise PlanError(f"{path} does not exist", hint="name a .gguf file, an MLX folder, or a folder with either")
    if path.is_file():
        if path.suffix.lower() == ".safetensors":
            raise PlanError(f"{path} is one file of a model's folder", hint=f"name the folder: {path.parent}")
        return [(path, True)]
    if (path / "config.json").is_file() and any(path.glob("*.safetensors")):
        return [(path, True)]
    return [(Path(one.path), False) for one in _found_in(path)]


def _found_in(folder: Path) -> list[FoundModel]:
    # Headers are read later, all of them: here only names and sizes are wanted, so that no clock is.
    search = find_models((Place("given", folder),), clock=lambda: 0)
    for one in search.models:
        if one.fault is not None and "parts are here" in one.fault:
            raise PlanError(
                f"{one.name} in {folder} is not complete: {one.fault}",
                hint=f"download the missing part, or leave it out: name the other files of {folder}",
            )
    usable = [one for one in search.models if one.target is not None or _is_broken(one)]
    if not usable:
        others = ", ".join(one.fault or one.name for one in search.models)
        seen = f" (only {others})" if others else ""
        raise PlanError(f"no model in {folder}{seen}", hint="name a .gguf file, an MLX folder, or a folder with either")
    return usable


def _is_broken(one: FoundModel) -> bool:
    """A file that is a model's and cannot be read: to be told, not left out. What is no model says so in its fault."""
    return one.fault is not None and "not a model" not in one.fault


def _same_file(one: ModelFile, other: ModelFile) -> bool:
    # One part names the whole of a split model, so the first file of each decides.
    mine, theirs = (model.files[0] if model.files else model.path for model in (one, other))
    try:
        return mine.samefile(theirs)
    except OSError:
        return mine == theirs


def _check_one_model(models: Sequence[ModelFile]) -> None:
    if not models:
        raise PlanError("no model was named", hint="name .gguf files, MLX folders, or a folder with either")
    first = models[0]
    for other in models[1:]:
        hint = "compare quants of one model; leave one of the two out"
        if _architecture(first) != _architecture(other):
            both = f"{first.path} is {first.architecture or 'unknown'}, {other.path} is {other.architecture}"
            raise PlanError(f"two architectures: {both}", hint=hint)
        if abs(first.parameters - other.parameters) > SAME_MODEL * max(first.parameters, other.parameters):
            both = f"{first.path} has {first.parameters:,} parameters, {other.path} has {other.parameters:,}"
            raise PlanError(f"not the same model: {both}", hint=hint)
        known = (first.vocabulary_tokens, other.vocabulary_tokens)
        if None not in known and known[0] != known[1]:
            both = f"{first.path} has {known[0]:,} tokens, {other.path} has {known[1]:,}"
            raise PlanError(f"not the same vocabulary: {both}", hint=hint)


def _architecture(model: ModelFile) -> str:
    """GGUF and MLX write one architecture in two ways: `qwen3moe`, `qwen3_moe`."""
    return (model.architecture or "").replace("_", "").replace("-", "").removesuffix("text")


def _names(models: Sequence[ModelFile]) -> list[str]:
    """What tells each from the others: its quant, else its file's or folder's name, else its path."""
    namings: tuple[Callable[[ModelFile], str], ...] = (_quant, _stem, _path)
    for naming in namings:
        names = [naming(model) for model in models]
        if len(set(names)) == len(names):
            return names
    return [f"{model.path} ({number})" for number, model in enumerate(models, 1)]


def _quant(model: ModelFile) -> str:
    return model.label or _stem(model)


def _stem(model: ModelFile) -> str:
    split = part_of(model.path.name)
    return split[0] if split else model.path.name.removesuffix(".gguf")


def _path(model: ModelFile) -> str:
    return str(model.path)


def _other_name(model: ModelFile, taken: Iterable[str]) -> str:
    names = set(taken)
    return next(name for name in (_quant(model), _stem(model), f"reference {model.path}") if name not in names)
