"""Launch options as typed become a struct, or one clear line about what is wrong."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.base import TargetError
from backends.options import convert_options


class Options(msgspec.Struct, frozen=True):
    ctx: Annotated[int, msgspec.Meta(ge=1)] | None = None
    gpu_layers: int = -1
    kv: Literal["f16", "q8_0"] = "f16"
    rate: float = 1.0
    swa_full: bool | None = None
    mmap: bool = True
    template: str = ""


class Needy(msgspec.Struct, frozen=True):
    alias: str


def test_defaults_stand_where_nothing_is_typed() -> None:
    assert convert_options({}, Options, "e") == Options()


def test_every_type_is_read_from_text() -> None:
    typed = {"ctx": "8192", "gpu-layers": "0", "kv": "q8_0", "rate": "2.5", "swa_full": "off", "mmap": "NO"}
    read = convert_options(typed | {"template": "on"}, Options, "e")
    assert read == Options(8192, 0, "q8_0", 2.5, False, False, "on")


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"ctxx": "1"}, "no option 'ctxx'", "did you mean ctx?"),
        ({"zzzzzzzz": "1"}, "engine e has no option", "options: ctx, gpu_layers, kv"),
        ({"ctx": "many"}, "ctx=many is not a whole number", None),
        ({"ctx": "0"}, "ctx=0 is not a whole number", ">= 1"),
        ({"kv": "q9"}, "one of f16, q8_0", None),
        ({"swa_full": "perhaps"}, "swa_full=perhaps is not on or off", None),
        ({"rate": "fast"}, "rate=fast is not a number", None),
        ({"gpu-layers": "1", "gpu_layers": "2"}, "given twice", "once"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, str], message: str, hint: str | None) -> None:
    with pytest.raises(TargetError) as caught:
        convert_options(options, Options, "e")
    assert message in str(caught.value)
    assert (hint is None) == (caught.value.hint is None)
    assert hint is None or hint in (caught.value.hint or "")


def test_a_required_option_is_asked_for() -> None:
    with pytest.raises(TargetError, match="needs the option 'alias'"):
        convert_options({}, Needy, "e")


@given(st.dictionaries(st.sampled_from(["ctx", "kv", "rate", "mmap", "swa_full", "x"]), st.text(max_size=12)))
def test_any_text_gives_options_or_a_target_error(options: dict[str, str]) -> None:
    with suppress(TargetError):
        assert isinstance(convert_options(options, Options, "e"), Options)
