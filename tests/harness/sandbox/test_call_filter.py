"""The filter of system calls, interpreted as the kernel does."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.sandbox.call_filter import filter_program

ALLOWED, EACCES, ENOSYS = 0x7FFF0000, 0x50000 | 13, 0x50000 | 38
X86_64, AARCH64, I386 = 0xC000003E, 0xC00000B7, 0x40000003


def judge(program: bytes, architecture: int, number: int) -> int:
    """Run a classic BPF program on one call; it has four kinds of instructions."""
    instructions = list(struct.iter_unpack("HBBI", program))
    accumulator, at = 0, 0
    while True:
        code, if_true, if_false, value = instructions[at]
        at += 1
        if code == 0x20:
            accumulator = {0: number, 4: architecture}[value]
        elif code == 0x15:
            at += if_true if accumulator == value else if_false
        elif code == 0x35:
            at += if_true if accumulator >= value else if_false
        else:
            assert code == 0x06
            return int(value)


@pytest.mark.parametrize(
    ("machine", "architecture", "socket", "keyctl"), [("x86_64", X86_64, 41, 250), ("aarch64", AARCH64, 198, 219)]
)
def test_what_is_denied(machine: str, architecture: int, socket: int, keyctl: int) -> None:
    closed, opened = (filter_program(sockets=sockets, machine=machine) for sockets in (False, True))
    assert judge(closed, architecture, socket) == EACCES
    assert judge(opened, architecture, socket) == ALLOWED
    for program in (closed, opened):
        assert judge(program, architecture, keyctl) == EACCES
        assert judge(program, architecture, 425) == EACCES
        assert judge(program, architecture, 0x40000000 + socket) == ENOSYS
        assert judge(program, I386, 1) == ENOSYS


@given(number=st.integers(0, 600), sockets=st.booleans())
def test_only_the_denied_calls_are_denied(number: int, sockets: bool) -> None:
    denied = {425, 250, 248, 249, 321, 298, 323} | (set() if sockets else {41})
    verdict = judge(filter_program(sockets=sockets, machine="x86_64"), X86_64, number)
    assert verdict == (EACCES if number in denied else ALLOWED)


def test_an_unknown_machine_has_no_filter() -> None:
    assert filter_program(sockets=False, machine="riscv64") == b""
