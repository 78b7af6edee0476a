"""Read a model without loading it: GGUF files, split ones, and MLX folders.

`read_model` takes whatever a user names; `base` holds the values, `gguf` and `mlx` read, `llama_layers` and
`mlx_layers` know what the layers of each architecture keep.
"""

from __future__ import annotations

from pathlib import Path

from backends.base import ModelFileError
from backends.gguf_header import part_of
from profiler.model_file.base import ModelFile
from profiler.model_file.gguf import read_gguf
from profiler.model_file.mlx import read_mlx

__all__ = ["read_model"]

_HINT = "name a .gguf file, or a folder with config.json and *.safetensors"


def read_model(path: str | Path) -> ModelFile:
    """Read the headers of a GGUF file (or of all parts of a split one, by any of them), or of an MLX folder.

    A folder that holds one GGUF model alone stands for it. Weights are not read.

    Raises:
        ModelFileError: there is no model, more than one, a part is missing, or a file is damaged or cut short.
    """
    place = Path(path)
    if not _is_folder(place):
        if place.suffix.lower() == ".safetensors":
            raise ModelFileError(f"{place} is one file of a model folder", hint=f"name the folder {place.parent}")
        return read_gguf(place)
    ggufs = sorted(place.glob("*.gguf"))
    if (place / "config.json").is_file() and (not ggufs or any(place.glob("*.safetensors"))):
        return read_mlx(place)
    models = [file for file in ggufs if (part_of(file.name) or ("", 1, 1))[1] == 1]
    models = models or ggufs[:1]
    if len(models) != 1:
        found = f"{len(models)} models ({', '.join(file.name for file in models[:5])})" if models else "no model"
        raise ModelFileError(f"folder {place} holds {found}", hint="name one of them" if models else _HINT)
    return read_gguf(models[0])


def _is_folder(place: Path) -> bool:
    try:
        return place.is_dir()
    except (OSError, ValueError) as error:
        raise ModelFileError(f"{place} cannot be read: {error}", hint="check the path and its rights") from error
