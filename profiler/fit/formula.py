"""What a model would take, by formula. Chooses the engine's arithmetic by the kind of file; starts no engine."""

from __future__ import annotations

from profiler.fit.base import MemoryPrediction
from profiler.fit.llama import predict_llama
from profiler.fit.mlx import predict_mlx
from profiler.fit.settings import LlamaSettings, MlxSettings
from profiler.model_file.base import ModelFile

__all__ = ["LlamaSettings", "MlxSettings", "predict", "predict_llama", "predict_mlx"]


def predict(model: ModelFile, settings: LlamaSettings | MlxSettings) -> MemoryPrediction:
    """All parts of what the model would take under `settings`, each with its arithmetic, and what is missing.

    Raises:
        ValueError: the settings are of another engine than the file is for.
    """
    if isinstance(settings, LlamaSettings) and model.container == "gguf":
        return predict_llama(model, settings)
    if isinstance(settings, MlxSettings) and model.container == "mlx":
        return predict_mlx(model, settings)
    raise ValueError(f"{type(settings).__name__} do not fit a model in {model.container}")
