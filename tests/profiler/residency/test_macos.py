"""The layout of `rusage_info_v4`, from the C header; no Mac has run this."""

from __future__ import annotations

import os
import struct

from profiler.residency.linux import Memory
from profiler.residency.macos import children, footprint_memory, read_process

INFO = bytes(16) + struct.pack("8Q", 1, 2, 3, 4, 5, 6, 700, 800) + bytes(56 * 8)
"""uuid, then user_time, system_time, pkg_idle_wkups, interrupt_wkups, pageins, wired_size, resident_size, footprint."""


def test_the_footprint_is_must_have_and_mapped_files_are_not_known() -> None:
    assert footprint_memory(INFO) == Memory("phys_footprint", 800, None, 700, None)
    assert read_process(7, rusage=lambda pid: INFO if pid == 7 else None) == footprint_memory(INFO)


def test_a_process_that_is_gone_has_none() -> None:
    assert read_process(8, rusage=lambda _: None) is None
    assert children(2**30) == ()
    assert os.getpid() not in children(os.getpid())
