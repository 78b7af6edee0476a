"""Which server it is, from what it answers: never from its port. Pure; asks nothing.

A server is recognised by a field that it alone has. Several imitate others (KoboldCpp answers `/props` as llama-server
does, and Ollama's paths too), so the order of the list matters: imitators come first. Those that dyno has no adapter
of their own for are driven through the OpenAI interface, as are those that nobody here knows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import msgspec

from backends.base import JsonObject

__all__ = ["PATHS", "Answer", "Recognised", "ServedModel", "recognise"]

PATHS: Final[tuple[str, ...]] = (
    "/v1/models",
    "/props",
    "/health",
    "/",
    "/version",
    "/api/version",
    "/api/ps",
    "/api/tags",
    "/api/v0/models",
    "/api/extra/version",
    "/running",
    "/get_server_info",
    "/openapi.json",
    "/v1/internal/model/info",
)
"""Everything that is asked, with GET and without a key: none of these loads a model or changes anything."""

REFUSED: Final = (401, 403)


class Answer(msgspec.Struct, frozen=True):
    """What a path answered; `body` is cut at a megabyte, `server` is the header of that name."""

    status: int
    body: bytes = b""
    server: str = ""

    def object(self) -> JsonObject:
        """The JSON object of a good answer; empty for anything else."""
        if self.status != 200:
            return {}
        try:
            return msgspec.json.decode(self.body, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError):
            return {}

    def text(self) -> str:
        """The text of a good answer."""
        return self.body.decode("utf-8", "replace").strip() if self.status == 200 else ""


Answers = Mapping[str, Answer]


class ServedModel(msgspec.Struct, frozen=True):
    """A model that a server offers. `context_tokens` is what it was loaded with; `loaded` is `None` where not told."""

    name: str
    context_tokens: int | None = None
    loaded: bool | None = None


class Recognised(msgspec.Struct, frozen=True):
    """Which program answers, by which sign, and dyno's adapter for it (`None`: it is no server of language models).

    `slots` is how many requests it serves at once, where it says so; `needs_key`: it refused at least a part without.
    """

    program: str | None
    engine: str | None
    sign: str | None
    version: str | None = None
    models: tuple[ServedModel, ...] = ()
    slots: int | None = None
    needs_key: bool = False
    loading: bool = False


def recognise(answers: Answers) -> Recognised:
    """What is there; `program` is `None` for something that answers and is none of those."""
    for look in _LOOKS:
        if (found := look(answers)) is not None:
            return msgspec.structs.replace(found, needs_key=found.needs_key or _refused(answers))
    return Recognised(None, None, None, needs_key=_refused(answers))


def _koboldcpp(answers: Answers) -> Recognised | None:
    said = _object(answers, "/api/extra/version")
    if said.get("result") != "KoboldCpp":
        return None
    return Recognised("KoboldCpp", "openai", "/api/extra/version: result", _text(said.get("version")), _openai(answers))


def _llama_swap(answers: Answers) -> Recognised | None:
    running = _object(answers, "/running").get("running")
    if not isinstance(running, list) and not _owned(answers, "llama-swap"):
        return None
    loaded = {_text(entry.get("model")) for entry in _entries(running)}
    models = [msgspec.structs.replace(m, loaded=m.name in loaded) for m in _openai(answers)]
    sign = "/running: running" if isinstance(running, list) else "/v1/models: owned_by"
    return Recognised("llama-swap", "llama-swap", sign, models=tuple(models))


def _llama_server(answers: Answers) -> Recognised | None:
    props = _object(answers, "/props")
    if "total_slots" in props and "default_generation_settings" in props:
        settings = _inner(props.get("default_generation_settings"))
        context = _count(settings.get("n_ctx")) or _count(_inner(settings.get("params")).get("n_ctx"))
        names = [model.name for model in _openai(answers)] or [_file_name(props.get("model_path"))]
        models = tuple(ServedModel(_file_name(name), context, loaded=True) for name in names if name)
        build, slots = _text(props.get("build_info")), _count(props.get("total_slots"))
        return Recognised("llama-server", "llama-server", "/props: total_slots", build, models, slots)
    if _owned(answers, "llamacpp") or answers.get("/health", Answer(0)).server == "llama.cpp":
        sign = "/v1/models: owned_by" if _owned(answers, "llamacpp") else "the header Server of /health"
        loading = answers.get("/health", Answer(0)).status == 503
        return Recognised("llama-server", "llama-server", sign, models=_openai(answers), loading=loading)
    return None


def _lmstudio(answers: Answers) -> Recognised | None:
    entries = _entries(_object(answers, "/api/v0/models").get("data"))
    if not entries or not all("state" in entry and "type" in entry for entry in entries):
        return None
    models = tuple(
        ServedModel(name, _count(entry.get("loaded_context_length")), entry.get("state") == "loaded")
        for entry in entries
        if entry.get("type") in ("llm", "vlm") and (name := _text(entry.get("id")))
    )
    return Recognised("LM Studio", "lmstudio", "/api/v0/models: state", models=models)


def _sglang(answers: Answers) -> Recognised | None:
    if not _owned(answers, "sglang"):
        return None
    version = _text(_object(answers, "/get_server_info").get("version"))
    return Recognised("SGLang", "sglang", "/v1/models: owned_by", version, _openai(answers))


def _vllm(answers: Answers) -> Recognised | None:
    if not _owned(answers, "vllm"):
        return None
    version = _text(_object(answers, "/version").get("version"))
    return Recognised("vLLM", "vllm", "/v1/models: owned_by", version, _openai(answers))


def _ollama(answers: Answers) -> Recognised | None:
    version = _text(_object(answers, "/api/version").get("version"))
    root = answers.get("/", Answer(0)).text() == "Ollama is running"
    tags = _object(answers, "/api/tags").get("models")
    if version is None or not (root or isinstance(tags, list)):
        return None
    running = {
        _text(entry.get("name")): _count(entry.get("context_length"))
        for entry in _entries(_object(answers, "/api/ps").get("models"))
    }
    models = tuple(
        ServedModel(name, running.get(name), name in running)
        for entry in _entries(tags)
        if (name := _text(entry.get("name")))
    )
    return Recognised("Ollama", "ollama", "/api/version and " + ("/" if root else "/api/tags"), version, models)


def _llama_cpp_server(answers: Answers) -> Recognised | None:
    about = _inner(_object(answers, "/openapi.json").get("info"))
    if "llama.cpp Python API" not in (_text(about.get("title")) or ""):
        return None
    version = _text(about.get("version"))
    return Recognised("llama_cpp.server", "llama-cpp-server", "/openapi.json: title", version, _openai(answers))


def _text_generation_webui(answers: Answers) -> Recognised | None:
    if "model_name" not in _object(answers, "/v1/internal/model/info"):
        return None
    return Recognised("text-generation-webui", "openai", "/v1/internal/model/info: model_name", None, _openai(answers))


def _jan(answers: Answers) -> Recognised | None:
    title = _text(_inner(_object(answers, "/openapi.json").get("info")).get("title")) or ""
    if not title.startswith("Jan"):
        return None
    return Recognised("Jan", "openai", "/openapi.json: title", None, _openai(answers))


def _mlx_server(answers: Answers) -> Recognised | None:
    """It names itself nowhere: a plain Python server with exactly this health, and models that nobody owns."""
    health = answers.get("/health", Answer(0))
    entries = _entries(_object(answers, "/v1/models").get("data"))
    plain = health.server.startswith("BaseHTTP/") and health.object() == {"status": "ok"}
    if not plain or any("owned_by" in entry for entry in entries):
        return None
    return Recognised("mlx_lm.server", "mlx-server", "/health and the header Server", None, _openai(answers))


def _anything_openai(answers: Answers) -> Recognised | None:
    said = _object(answers, "/v1/models")
    if said.get("object") != "list" and not _openai(answers):
        return None
    owners = {owner for entry in _entries(said.get("data")) if (owner := _text(entry.get("owned_by")))}
    program = f"an OpenAI interface (owned_by {', '.join(sorted(owners))})" if owners else "an OpenAI interface"
    return Recognised(program, "openai", "/v1/models", None, _openai(answers))


def _behind_a_key(answers: Answers) -> Recognised | None:
    """It guards the list of models: a server of models, most likely, but it does not say which."""
    if answers.get("/v1/models", Answer(0)).status not in REFUSED:
        return None
    return Recognised("a server that wants a key", "openai", "/v1/models refused", needs_key=True)


_LOOKS: Final[tuple[Callable[[Answers], Recognised | None], ...]] = (
    _koboldcpp,
    _llama_swap,
    _llama_server,
    _lmstudio,
    _sglang,
    _vllm,
    _ollama,
    _llama_cpp_server,
    _text_generation_webui,
    _jan,
    _mlx_server,
    _anything_openai,
    _behind_a_key,
)


def _refused(answers: Answers) -> bool:
    return any(answers[path].status in REFUSED for path in ("/v1/models", "/props") if path in answers)


def _openai(answers: Answers) -> tuple[ServedModel, ...]:
    entries = _entries(_object(answers, "/v1/models").get("data"))
    return tuple(
        ServedModel(name, _count(entry.get("max_model_len"))) for entry in entries if (name := _text(entry.get("id")))
    )


def _owned(answers: Answers, owner: str) -> bool:
    return any(e.get("owned_by") == owner for e in _entries(_object(answers, "/v1/models").get("data")))


def _object(answers: Answers, path: str) -> JsonObject:
    return answers[path].object() if path in answers else {}


def _entries(value: Any) -> list[JsonObject]:
    items = cast("list[object]", value) if isinstance(value, list) else []
    return [cast("JsonObject", item) for item in items if isinstance(item, dict)]


def _inner(value: Any) -> JsonObject:
    return cast("JsonObject", value) if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _file_name(value: Any) -> str:
    """The last part of a path; a name of a repository keeps its owner."""
    text = _text(value) or ""
    return text.rpartition("/")[2] if text.startswith("/") or text.endswith(".gguf") else text
