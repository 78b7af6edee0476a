"""Launch a server (above all a llama-server), wait until it is ready, keep its log, end it. Knows nothing of requests.

The log goes to a temporary file, read only between requests: no thread of ours works while a reply is timed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import httpx
import msgspec

from backends import missing_extra
from backends.base import LaunchError, TargetError

KvType = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"]


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Launch settings; `None` leaves llama-server's own default.

    `slots` unset is llama-server's automatic mode: 4 slots on one unified KV cache.
    """

    ctx: int | None = None
    slots: int | None = None
    kv: KvType | None = None
    gpu_layers: int | None = None
    threads: int | None = None
    batch: int | None = None
    ubatch: int | None = None
    flash_attn: Literal["auto", "on", "off"] | None = None
    swa_full: bool | None = None
    kv_unified: bool | None = None
    slot_prompt_similarity: float | None = None
    cache_ram: int | None = None
    cache_reuse: int | None = None
    cache_idle_slots: bool | None = None
    ctx_checkpoints: int | None = None
    checkpoint_min_step: int | None = None
    template: str | None = None
    binary: str | None = None
    port: int | None = None
    startup_timeout_s: float = 600.0
    request_timeout_s: float = 3600.0

    def as_settings(self) -> dict[str, str]:
        """The settings that were given, as text; how long we wait for the server is not one of them."""
        given = msgspec.structs.asdict(self)
        return {k: str(v) for k, v in given.items() if v is not None and not k.endswith("_timeout_s")}


_LIBRARY_NAMES = {
    "ctx": ("n_ctx",),
    "slots": ("n_parallel",),
    "kv": ("cache_type_k", "cache_type_v"),
    "gpu_layers": ("n_gpu_layers",),
    "threads": ("cpuparams.n_threads", "cpuparams_batch.n_threads"),
    "batch": ("n_batch",),
    "ubatch": ("n_ubatch",),
    "swa_full": ("swa_full",),
    "kv_unified": ("kv_unified",),
    "slot_prompt_similarity": ("slot_prompt_similarity",),
    "cache_ram": ("cache_ram_mib",),
    "cache_reuse": ("n_cache_reuse",),
    "cache_idle_slots": ("cache_idle_slots",),
    "ctx_checkpoints": ("n_ctx_checkpoints",),
    "checkpoint_min_step": ("checkpoint_min_step",),
}
_FLAGS = {
    "ctx": ("--ctx-size",),
    "slots": ("--parallel",),
    "kv": ("--cache-type-k", "--cache-type-v"),
    "gpu_layers": ("--n-gpu-layers",),
    "threads": ("--threads", "--threads-batch"),
    "batch": ("--batch-size",),
    "ubatch": ("--ubatch-size",),
    "flash_attn": ("--flash-attn",),
    "slot_prompt_similarity": ("--slot-prompt-similarity",),
    "cache_ram": ("--cache-ram",),
    "cache_reuse": ("--cache-reuse",),
    "ctx_checkpoints": ("--ctx-checkpoints",),
    "checkpoint_min_step": ("--checkpoint-min-step",),
    "template": ("--chat-template-file",),
}
_SWITCHES = {
    "swa_full": ("--swa-full", None),
    "kv_unified": ("--kv-unified", "--no-kv-unified"),
    "cache_idle_slots": ("--cache-idle-slots", "--no-cache-idle-slots"),
}


def library_settings(model: str, port: int, options: Options) -> dict[str, Any]:
    """`CommonParams` of xllamacpp for these options, with llama-server's own defaults where the library differs."""
    settings: dict[str, Any] = {
        "model.path": model,
        "port": port,
        "verbosity": 4,
        "endpoint_props": True,
        "endpoint_slots": True,
        "use_jinja": True,
        # A reply to be forced is rendered as a final assistant message: as it stands, not left open to be continued.
        "prefill_assistant": False,
    }
    if options.slots is None:
        settings |= {"n_parallel": 4, "kv_unified": True}
    for name, value in msgspec.structs.asdict(options).items():
        for target in _LIBRARY_NAMES.get(name, ()) if value is not None else ():
            settings[target] = value
    if options.flash_attn is not None:
        mode = {"auto": "AUTO", "on": "ENABLED", "off": "DISABLED"}[options.flash_attn]
        settings["flash_attn_type"] = mode
    if options.template is not None:
        settings["chat_template"] = _read_template(options.template)
    return settings


def command_line(binary: str, model: str, port: int, options: Options) -> list[str]:
    """Arguments of a llama-server program for these options."""
    argv = [binary, "--model", model, "--host", "127.0.0.1", "--port", str(port), "--log-verbosity", "4"]
    argv += ["--jinja", "--no-prefill-assistant"]
    for name, value in msgspec.structs.asdict(options).items():
        if value is None:
            continue
        for flag in _FLAGS.get(name, ()):
            argv += [flag, str(value)]
        if name in _SWITCHES:
            argv += filter(None, [_SWITCHES[name][0 if value else 1]])
    if options.template is not None:
        _read_template(options.template)
    return argv


def _read_template(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TargetError(f"template {path}: {error}", hint="give the path of a Jinja file") from error


class ServerProcess:
    """A llama-server that was started here."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, log: Path, folder: Path, build: str | None) -> None:
        self.url = url
        self.build = build
        self._process = process
        self._log = log
        self._folder = folder
        self._loaded_at = 0

    @classmethod
    def launch(cls, model: str, options: Options) -> ServerProcess:
        """Start a server on loopback and wait until it answers `/health`.

        Raises:
            TargetError: the binary or the template is not there.
            MissingExtra: no binary on PATH and no xllamacpp.
            LaunchError: the port is taken, or the server ended or stayed silent; with its last words.
        """
        port = free_port(options.port)
        binary = _binary(options.binary)
        build = None
        if binary is not None:
            arguments = ["binary", *command_line(binary, model, port, options)]
        else:
            if find_spec("xllamacpp") is None:
                raise missing_extra("xllamacpp", "llama-server")
            build = f"xllamacpp {metadata.version('xllamacpp')}"
            arguments = ["library", json.dumps(library_settings(model, port, options))]
        return cls.start(arguments, port, build, options.startup_timeout_s)

    @classmethod
    def start(
        cls, arguments: list[str], port: int, build: str | None, timeout_s: float, ready: str = "/health"
    ) -> ServerProcess:
        """Start the worker and wait until the server answers at the path `ready`; raises `LaunchError` as `launch`."""
        folder = Path(tempfile.mkdtemp(prefix="dyno-server-"))
        log = folder / "log.txt"
        paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
        with log.open("wb") as sink:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "backends.workers.llama_server", *arguments],
                stdin=subprocess.PIPE,
                stdout=sink,
                stderr=sink,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                start_new_session=True,
            )
        server = cls(process, f"http://127.0.0.1:{port}", log, folder, build)
        try:
            server._wait_until_ready(timeout_s, ready)
            server._loaded_at = server.log_size()
        except BaseException:
            server.close()
            raise
        return server

    def _wait_until_ready(self, timeout_s: float, path: str) -> None:
        deadline = time.monotonic() + timeout_s
        pause_s = 0.02
        with httpx.Client(base_url=self.url, timeout=2.0) as http:
            while time.monotonic() < deadline:
                if not self.alive():
                    raise LaunchError(f"the server did not start: {self.last_words()}")
                with contextlib.suppress(httpx.TransportError):
                    if http.get(path).status_code == 200:
                        return
                time.sleep(pause_s)
                pause_s = min(pause_s * 1.3, 0.5)
        raise LaunchError(
            f"the server was not ready after {timeout_s:g} s: {self.last_words()}",
            hint="a large model loads slowly: raise startup_timeout_s in the target",
        )

    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def pids(self) -> tuple[int, ...]:
        """The process that was started; a binary runs as its child."""
        return (self._process.pid,)

    def log_size(self) -> int:
        """Bytes of log so far."""
        return self._log.stat().st_size

    def log_since(self, start: int, wait_s: float = 0.2) -> str:
        """The log from a byte on; waits for the end of the request, since the server writes it from another thread."""
        deadline = time.monotonic() + wait_s
        while True:
            with self._log.open("rb") as file:
                file.seek(start)
                data = file.read()
            if b"stop processing" in data or time.monotonic() > deadline:
                return data.decode("utf-8", "replace")
            time.sleep(0.001)

    def load_log(self) -> str:
        """The log up to when the server was ready; empty after `close`."""
        if not self._log.exists():
            return ""
        with self._log.open("rb") as file:
            return file.read(self._loaded_at).decode("utf-8", "replace")

    def last_words(self) -> str:
        """The last error lines of the log, or its last lines, in one line."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines() if self._log.exists() else []
        telling = [line for line in lines if " E " in line or "rror" in line] or lines
        return " | ".join(line.strip() for line in telling[-3:])[-500:] or "it left no log"

    def close(self) -> None:
        """End the server and remove its log. May be called twice."""
        if self._process.stdin is not None:
            # The worker ends by itself on end of file; kill is for one that hangs.
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            # The whole group, so that a binary does not outlive the worker that watches it.
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


def free_port(wanted: int | None) -> int:
    """The port that is wanted, or any free one on loopback. Raises `LaunchError` if it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted or 0))
        except OSError as error:
            raise LaunchError(
                f"port {wanted} is taken or not allowed ({error.strerror})", hint="leave port out to use a free one"
            ) from error
        port: int = probe.getsockname()[1]
        return port


def _binary(wanted: str | None) -> str | None:
    if wanted is None:
        return shutil.which("llama-server")
    found = shutil.which(wanted)
    if found is None:
        raise TargetError(f"binary {wanted} is not an executable program", hint="give the path of llama-server")
    return found
