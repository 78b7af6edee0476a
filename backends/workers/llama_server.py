"""A llama-server in a process that ends when its parent does: `python -m backends.workers.llama_server MODE …`.

* `library JSON`: serve with the `xllamacpp` wheel (llama-server itself, linked in); JSON maps `CommonParams` names to
  values. Prints `listening URL` on standard output.
* `binary ARGV…`: run a llama-server program and wait for it.

The parent holds the other end of standard input and writes nothing; end of file means that it is gone, however it died.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any


def on_parent_death(act: Callable[[], None]) -> None:
    """Call `act` once the parent has closed our standard input, which its death does too."""

    def wait() -> None:
        while sys.stdin.buffer.read(4096):
            pass
        act()

    threading.Thread(target=wait, daemon=True).start()


def serve_library(settings: dict[str, Any]) -> None:
    """Serve until the parent is gone. Dotted keys reach into nested parameters (`model.path`)."""
    # Only this mode needs the wheel, which has no type information.
    xllamacpp: Any = importlib.import_module("xllamacpp")
    params = xllamacpp.CommonParams()
    for key, value in settings.items():
        *path, name = key.split(".")
        place: Any = params
        for part in path:
            place = getattr(place, part)
        setattr(place, name, _enum_value(xllamacpp, name, value))
    # Held until the process ends: its destructor would stop the server.
    server = xllamacpp.Server(params)
    print("listening", server.listening_address, flush=True)
    # os._exit: the engine's own shutdown can wait on a running request, and nothing here needs saving.
    on_parent_death(lambda: os._exit(0))
    threading.Event().wait()


def _enum_value(library: Any, name: str, value: Any) -> Any:
    """Names of cache types and flash-attention modes become the library's enumerations."""
    if name in ("cache_type_k", "cache_type_v"):
        return getattr(library.ggml_type, f"GGML_TYPE_{value.upper()}")
    if name == "flash_attn_type":
        return getattr(library.llama_flash_attn_type, f"LLAMA_FLASH_ATTN_TYPE_{value}")
    return value


def run_binary(argv: list[str]) -> int:
    """Run the program until it or the parent ends; returns its exit status."""
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=sys.stderr.fileno()) as child:
        on_parent_death(child.kill)
        return child.wait()


def main() -> int:
    """Entry point of the worker."""
    # The parent decides what Ctrl-C means; it also reaches the children of a terminal.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    mode, *rest = sys.argv[1:]
    if mode == "library":
        serve_library(json.loads(rest[0]))
        return 0
    return run_binary(rest)


if __name__ == "__main__":
    sys.exit(main())
