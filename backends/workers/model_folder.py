"""What a model folder (Hugging Face, MLX) says of itself, read from its JSON files without an engine.

It does not judge whether an engine can run the model, and reads no weights.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, cast

import msgspec

from backends.base import JsonObject, ModelFileError, TargetError

HINT = "name a folder with an MLX model, as mlx_lm.convert or huggingface_hub leave it"
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "tiktoken.model", "vocab.json")


class ModelFolder(msgspec.Struct, frozen=True):
    """A folder that holds a model. `template` is its chat template, `None` where it has none in a file."""

    path: Path
    architecture: str
    quant: str | None
    context_tokens: int | None
    template: str | None

    def template_sha256(self, override: str = "") -> str | None:
        """The digest of the template in force; `override` is the text of another one."""
        text = override or self.template
        return hashlib.sha256(text.encode()).hexdigest() if text else None


def read_folder(path: str) -> ModelFolder:
    """Read a model folder.

    Raises:
        ModelFileError: it is not there, or lacks what a model folder has; names what is missing.
    """
    folder = Path(path)
    if folder.is_file():
        raise ModelFileError(f"{path} is a file, not the folder of an MLX model", hint=HINT)
    if not folder.is_dir():
        raise ModelFileError(f"model folder {path} does not exist", hint=HINT)
    config = _json(folder / "config.json")
    architecture = config.get("model_type")
    if not isinstance(architecture, str):
        raise ModelFileError(f"{path}/config.json has no model_type", hint=HINT)
    if not any(folder.glob("model*.safetensors")):
        raise ModelFileError(f"{path} has no weights (model*.safetensors)", hint=HINT)
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        raise ModelFileError(f"{path} has no tokenizer (tokenizer.json)", hint=HINT)
    text_config = _object(config.get("text_config"))
    context = config.get("max_position_embeddings", text_config.get("max_position_embeddings"))
    return ModelFolder(
        path=folder,
        architecture=architecture,
        quant=_quant(config),
        context_tokens=context if isinstance(context, int) else None,
        template=_template(folder),
    )


def read_template(path: str) -> str:
    """The text of the template that an option names; empty if it names none.

    Raises:
        TargetError: the file cannot be read.
    """
    try:
        return Path(path).read_text("utf-8") if path else ""
    except (OSError, ValueError) as error:
        raise TargetError(f"the template {path} cannot be read: {error}", hint="name a jinja file in UTF-8") from error


def _json(file: Path) -> JsonObject:
    if not file.is_file():
        raise ModelFileError(f"{file.parent} has no {file.name}", hint=HINT)
    try:
        return _object(json.loads(file.read_text("utf-8")))
    except (OSError, ValueError) as error:
        raise ModelFileError(f"{file} cannot be read: {error}", hint=HINT) from error


def _object(value: Any) -> JsonObject:
    return cast("JsonObject", value) if isinstance(value, dict) else {}


def _quant(config: JsonObject) -> str | None:
    """`4-bit affine g64`, or the type of the weights of a model that is not quantised."""
    quantization = _object(config.get("quantization") or config.get("quantization_config"))
    if bits := quantization.get("bits"):
        return f"{bits}-bit {quantization.get('mode', 'affine')} g{quantization.get('group_size', '?')}"
    stored = config.get("torch_dtype") or config.get("dtype")
    return stored if isinstance(stored, str) else None


def _template(folder: Path) -> str | None:
    """The template's text, from the file that transformers prefers; several named ones as they stand, in JSON."""
    file = folder / "chat_template.jinja"
    if file.is_file():
        try:
            return file.read_text("utf-8")
        except (OSError, ValueError) as error:
            raise ModelFileError(f"{file} cannot be read: {error}", hint=HINT) from error
    for name in ("chat_template.json", "tokenizer_config.json"):
        if (folder / name).is_file() and (found := _json(folder / name).get("chat_template")):
            return found if isinstance(found, str) else json.dumps(found)
    return None
