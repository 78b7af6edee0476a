"""The worker that plans with llama-cpp-python (`python -m backends.workers.llama_cpp_planning`): loads that allocate
nothing, and quantisations that write nothing. One process for many questions; it keeps no model.

A plan's log says 0.00 MiB of the weights, so their bytes in each memory are asked of `llama_get_memory_breakdown`, with
which llama.cpp itself fits a model to a machine (`common/fit.cpp`), and added as lines of that name. It returns a C++
map, which is read as libstdc++ lays it out; libc++'s (macOS) is read by its own layout and was not verified.
"""

from __future__ import annotations

import ctypes
import importlib
import math
import os
import re
import sys
from collections.abc import Iterator
from typing import Any, Final

import llama_cpp

from backends.base import EngineFault, LaunchError
from backends.workers.frames import Answer, Order
from backends.workers.planning_messages import AskTypeSizes, Plan, Planned, PlanSettings, TypeSizes
from backends.workers.serving import serve_orders

_BREAKDOWN: Final = "_Z26llama_get_memory_breakdownPK13llama_context"
_MOST_MEMORIES: Final = 256
_FLASH_ATTENTION: Final = {"auto": -1, "off": 0, "on": 1}
_FILE_TYPE: Final = re.compile(r"LLAMA_FTYPE_(?:MOSTLY|ALL)_(\w+)")
_TENSOR: Final = re.compile(
    r"^\[ *\d+/ *\d+\] .+ - \[ *(?P<shape>[\d, ]+)\], type = +(?P<type>\w+),"
    r" size = +[\d.]+ MiB(?: -> +[\d.]+ MiB \((?P<new>\w+)\))?$",
    re.MULTILINE,
)


class Planning:
    """The library, with its log in our hands."""

    def __init__(self) -> None:
        self._log: list[str] = []

        def keep(_level: int, text: bytes, _data: object) -> None:
            self._log.append(text.decode("utf-8", "replace"))

        # Held as long as the library may call it.
        self._keep = llama_cpp.llama_log_callback(keep)
        llama_cpp.llama_log_set(self._keep, ctypes.c_void_p(0))
        llama_cpp.llama_backend_init()
        self._natives = _Natives()

    def answer(self, order: Order) -> Answer:
        """Carry out one order.

        Raises:
            LaunchError: the library cannot load this model with these settings, or not quantise it.
            EngineFault: an order that no planner has.
        """
        self._log.clear()
        if isinstance(order, Plan):
            return Planned(self._plan(order))
        if isinstance(order, AskTypeSizes):
            return TypeSizes(self._type_sizes(order.model))
        raise EngineFault(f"a planner has no order {type(order).__name__}")

    def _plan(self, order: Plan) -> str:
        self._log.append(f"system_info: {llama_cpp.llama_print_system_info().decode()}\n")
        model = llama_cpp.llama_model_load_from_file(os.fsencode(order.model), _model_parameters(order.settings))
        if not model:
            raise LaunchError(f"llama-cpp could not plan {order.model}", hint=self._trouble())
        try:
            context = llama_cpp.llama_init_from_model(model, _context_parameters(order.settings))
            if not context:
                raise LaunchError(f"llama-cpp could not plan a context for {order.model}", hint=self._trouble())
            if order.breakdown:
                self._log.extend(self._natives.breakdown(context))
            log = "".join(self._log)
            llama_cpp.llama_free(context)
            return log
        finally:
            llama_cpp.llama_model_free(model)

    def _type_sizes(self, model: str) -> dict[str, int]:
        found: dict[str, int] = {}
        for label, number in _file_types().items():
            self._log.clear()
            parameters: Any = llama_cpp.llama_model_quantize_default_params()
            parameters.ftype = number
            parameters.nthread = 1
            parameters.dry_run = True
            parameters.allow_requantize = True
            reference: Any = ctypes.byref(parameters)
            refused = llama_cpp.llama_model_quantize(os.fsencode(model), os.fsencode(os.devnull), reference)
            sizes = [] if refused else [self._natives.tensor_bytes(*row) for row in _tensors("".join(self._log))]
            if sizes:
                found[label] = sum(sizes)
        if not found:
            raise LaunchError(f"llama-cpp cannot quantise {model}", hint=self._trouble())
        return found

    def _trouble(self) -> str | None:
        lines = [line.strip() for line in "".join(self._log).splitlines()]
        return " | ".join([line for line in lines if "error" in line.lower() or "fail" in line.lower()][-2:]) or None


class _Natives:
    """Functions of the native libraries that llama-cpp-python does not declare."""

    def __init__(self) -> None:
        bindings: Any = importlib.import_module("llama_cpp.llama_cpp")
        # It finds the functions of the libraries that it is linked with, too.
        self._library: Any = bindings._lib
        self._library.ggml_row_size.restype = ctypes.c_size_t
        self._library.ggml_row_size.argtypes = [ctypes.c_int, ctypes.c_int64]
        self._library.ggml_type_name.restype = ctypes.c_char_p
        self._library.ggml_backend_buft_name.restype = ctypes.c_char_p
        self._library.ggml_backend_buft_name.argtypes = [ctypes.c_void_p]
        names = ((self._library.ggml_type_name(n), n) for n in range(int(bindings.GGML_TYPE_COUNT)))
        self._types = {name.decode(): number for name, number in names if name}

    def tensor_bytes(self, shape: tuple[int, ...], type_name: str) -> int:
        """Bytes of a tensor of this shape, rows last, in a type."""
        return math.prod(shape[1:]) * int(self._library.ggml_row_size(self._types[type_name], shape[0]))

    def breakdown(self, context: Any) -> Iterator[str]:
        """What a load would take in each memory, as lines; none where this library does not tell."""
        function: Any = getattr(self._library, _BREAKDOWN, None)
        if function is None:
            return
        # Both libraries' maps are returned in memory of the caller: 48 bytes in libstdc++, 24 in libc++.
        function.restype, function.argtypes = _Map, [ctypes.c_void_p]
        for memory, sizes in _entries(tuple(function(context).words)):
            name = self._library.ggml_backend_buft_name(memory).decode()
            model, cache, compute = sizes
            yield f"llama_get_memory_breakdown: {name} model = {model} context = {cache} compute = {compute} bytes\n"


class _Map(ctypes.Structure):
    _fields_ = (("words", ctypes.c_uint64 * 6),)


def _entries(returned: tuple[int, ...]) -> Iterator[tuple[int, tuple[int, int, int]]]:
    """Memory and its three sizes, from a `std::map<buffer type, breakdown>` (`llama-ext.h`).

    libstdc++ (`stl_tree.h`): comparison, header node (colour, parent, left, right), count. libc++ (`__tree`): first
    node, root, count. Nodes hold colour and links in 32 bytes, then key and value.
    """
    libcxx = sys.platform == "darwin"
    root, count = (returned[1], returned[2]) if libcxx else (returned[2], returned[5])
    left, right = (0, 8) if libcxx else (16, 24)
    waiting = [root] if 0 < count <= _MOST_MEMORIES else []
    while waiting:
        node = waiting.pop()
        if node:
            waiting += [_word(node + right), _word(node + left)]
            yield _word(node + 32), (_word(node + 40), _word(node + 48), _word(node + 56))


def _word(address: int) -> int:
    return ctypes.c_uint64.from_address(address).value


def _file_types() -> dict[str, int]:
    """Every file type that the library has a constant for, by its label (`Q4_K_M`)."""
    found = ((_FILE_TYPE.fullmatch(name), getattr(llama_cpp, name)) for name in dir(llama_cpp))
    return {match[1]: int(number) for match, number in found if match}


def _tensors(log: str) -> Iterator[tuple[tuple[int, ...], str]]:
    """Shape and new type of each tensor of a quantisation."""
    for row in _TENSOR.finditer(log):
        yield tuple(int(length) for length in row["shape"].split(",")), row["new"] or row["type"]


def _model_parameters(settings: PlanSettings) -> Any:
    parameters = llama_cpp.llama_model_default_params()
    parameters.no_alloc = True
    parameters.load_mode = llama_cpp.LLAMA_LOAD_MODE_NONE
    parameters.n_gpu_layers = settings.gpu_layers
    return parameters


def _context_parameters(settings: PlanSettings) -> Any:
    kv_type = getattr(llama_cpp, f"GGML_TYPE_{settings.kv.upper()}")
    parameters = llama_cpp.llama_context_default_params()
    parameters.n_ctx = settings.context_tokens
    parameters.n_seq_max = settings.sequences
    parameters.n_batch = settings.batch
    parameters.n_ubatch = settings.ubatch
    parameters.n_outputs_max = settings.most_outputs or (0 if llama_cpp.llama_supports_gpu_offload() else 1)
    parameters.type_k = parameters.type_v = kv_type
    parameters.flash_attn_type = _FLASH_ATTENTION[settings.flash_attn]
    parameters.swa_full = settings.swa_full
    parameters.kv_unified = settings.kv_unified
    return parameters


if __name__ == "__main__":
    serve_orders(Planning().answer)
