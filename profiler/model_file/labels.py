"""Whether the label of a quant is true of the tensors. Knows names and shares, opens no file.

A label names a mix (llama.cpp's `llama_ftype`), of which one type or two should hold most of the weights of the
layers. `Q4_K_M` whose rows did not divide by 256 is mostly `Q5_0`, and `MXFP4_MOE` of a dense model is `Q8_0`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from profiler.model_file.shares import LEAST_SHARE

_MAIN: Final = {
    "IQ3_XS": ("IQ3_S", "IQ3_XXS"), "IQ3_M": ("IQ3_S",), "IQ2_M": ("IQ2_S",), "IQ2_S": ("IQ2_XS", "IQ2_S"),
    "Q2_K_S": ("Q2_K", "IQ2_XXS"), "MXFP4_MOE": ("MXFP4",), "F16": ("F16",), "BF16": ("BF16",), "F32": ("F32",),
}  # fmt: skip
_LABEL: Final = re.compile(
    r"(?<![A-Za-z0-9])(?:UD-)?(I?Q\d_(?:K_(?:XXS|XS|S|M|L|XL)|K|XXS|XS|NL|S|M|0|1)|TQ[12]_0|BF16|F16|F32|MXFP4)(?![A-Za-z0-9])",
    re.IGNORECASE,
)


def label_in_name(file_name: str) -> str | None:
    """The quant that a file's name claims (`Model-Q4_K_M.gguf`), `None` if it claims none or several."""
    found = {label.upper() for label in _LABEL.findall(file_name)}
    return found.pop() if len(found) == 1 else None


def doubts(label: str | None, file_name: str, parameters: Mapping[str, int]) -> tuple[str, ...]:
    """What is said of the quant and not so, in words; `parameters` are those of the layers' matrices, by type."""
    named = label_in_name(file_name)
    notes = (_doubt("the header's label", label, parameters), _doubt("the file's name", named, parameters))
    return tuple(note for note in notes if note)


def _doubt(who: str, label: str | None, parameters: Mapping[str, int]) -> str | None:
    total = sum(parameters.values())
    if label is None or not total:
        return None
    main = _MAIN.get(label) or (re.sub(r"_(XS|S|M|L|XL)$", "", label) if "_K_" in label else label,)
    held = sum(parameters.get(name, 0) for name in main)
    if held >= LEAST_SHARE * total:
        return None
    most = max(parameters, key=lambda name: parameters[name])
    return (
        f"{who} says {label}, but {most} holds {100 * parameters[most] / total:.0f} % of the layers' weights"
        f" and {' or '.join(main)} {100 * held / total:.0f} %"
    )
