"""Doctor's tables: what they say of a made report, that they fit a terminal, and that what is copied stays whole."""

from __future__ import annotations

import io
import shlex
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from backends import engine_names, parse_target
from backends.discovery.model_files import FoundModel, Search, Searched
from backends.discovery.observed import OBSERVED
from backends.discovery.recognition import ServedModel
from backends.discovery.servers import FoundServer
from harness.cli.doctor_tables import cached_words, memory_words, print_report
from harness.doctor import DoctorReport
from profiler.bandwidth import withheld
from profiler.hardware import GpuState, Swap, UnifiedMemory
from tests.harness.test_doctor import made_report

GIB = 1 << 30
LONG = "/" + "/".join(["a-rather-long-folder"] * 8) + "/Some Model-Q4_K_M.gguf"

SERVERS = (
    FoundServer(
        "http://127.0.0.1:8080",
        "serving",
        "llama-server",
        "llama-server",
        "/props",
        "b9000",
        (ServedModel("m.gguf", 8192, loaded=True),),
        4,
        ("llama-server:http://127.0.0.1:8080",),
    ),
    FoundServer(
        "http://127.0.0.1:11434",
        "serving",
        "Ollama",
        "ollama",
        "/",
        "0.33.3",
        tuple(ServedModel(f"model-{number}", loaded=False) for number in range(5)),
        targets=("ollama:http://127.0.0.1:11434#model-0",),
    ),
    FoundServer("http://127.0.0.1:1337", "needs a key", "Jan", "openai", targets=("openai:URL?key_env=NAME",)),
    FoundServer("http://127.0.0.1:8000", "silent"),
    FoundServer("http://127.0.0.1:5000", "not recognised"),
    FoundServer("http://127.0.0.1:9", "nothing there"),
    FoundServer("http://127.0.0.1:8081", "loading", "llama-server", "llama-server"),
)
MODELS = (
    FoundModel("Some Model", "GGUF", "LM Studio", LONG, 5 * GIB, 1, "qwen3", "Q4_K_M", 40960, f"llama-server:{LONG}"),
    FoundModel("broken.gguf", "GGUF", "Hugging Face", "/place/broken.gguf", 12, fault="the file is empty"),
)


@pytest.fixture
def report(tmp_path: Path) -> DoctorReport:
    return msgspec.structs.replace(
        made_report(tmp_path),
        swap=Swap(8 * GIB, GIB),
        unified_memory=UnifiedMemory(64 * GIB, 48 * GIB, "sysctl iogpu.wired_limit_mb"),
        gpus=(GpuState("NVIDIA GB10", None, None, "580.95"), GpuState("AMD MI300X", 192 * GIB, GIB, verified=False)),
        servers=SERVERS,
        models=Search(MODELS, (Searched("LM Studio", "/place", 1),), ("not looked at: /secret (Permission denied)",)),
        observed=OBSERVED,
    )


def printed(report: DoctorReport, width: int = 80) -> str:
    text = io.StringIO()
    print_report(report, Console(file=text, width=width, highlight=False))
    return text.getvalue()


def flat(text: str) -> str:
    return " ".join(text.split())


def test_everything_is_said(report: DoctorReport) -> None:
    shown = flat(printed(report, 120))
    for expected in (
        "READY",
        "60.0 GB/s read by 2 threads, 40.0 GB/s by one (measured)",
        "at most 15.0 tok/s",
        "1.0 GiB used of 8.0 GiB",
        "the GPU may keep 48.0 GiB of it wired (sysctl iogpu.wired_limit_mb; not verified)",
        "NVIDIA GB10, memory shared with the system, driver 580.95",
        "AMD MI300X, 1.0 GiB used of 192.0 GiB, not verified",
        "http://127.0.0.1:8080 llama-server b9000 m.gguf, context 8,192, 4 slots",
        "and 2 more models",
        "http://127.0.0.1:1337 Jan wants a key",
        "http://127.0.0.1:8000 does not answer: busy",
        "http://127.0.0.1:5000 answers, but not as a server of language models",
        "http://127.0.0.1:9 nothing listens there",
        "http://127.0.0.1:8081 llama-server loads its model",
        "GGUF qwen3 Q4_K_M, 5.0 GiB, context 40,960, LM Studio",
        "the file is empty /place/broken.gguf",
        "1 model in /place (LM Studio)",
        "not looked at: /secret (Permission denied)",
        "the bundled models are missing",
        "next: dyno cache llama-server:http://127.0.0.1:8080",
        *engine_names(),
    ):
        assert expected in shown, expected


@pytest.mark.parametrize("width", [80, 120])
def test_it_fits_a_terminal(report: DoctorReport, width: int) -> None:
    """But for what is to be copied, which a break would spoil."""
    wide = [line for line in printed(report, width).splitlines() if len(line.rstrip()) > width]
    assert all("a-rather-long-folder" in line for line in wide)
    assert "\x1b" not in printed(report, width)


def test_what_is_copied_can_be_typed(report: DoctorReport) -> None:
    (line,) = (line for line in printed(report).splitlines() if "a-rather-long-folder" in line)
    (word,) = shlex.split(line)
    assert parse_target(word).model == LONG
    commands = [
        shlex.split(line) for line in printed(report).splitlines() if "dyno cache" in line and "next" not in line
    ]
    assert [words[2] for words in commands] == [target for server in SERVERS for target in server.targets]


def test_a_busy_machine_is_said_first(tmp_path: Path) -> None:
    shown = printed(made_report(tmp_path, 0.9))
    assert shown.startswith("TOO BUSY")
    assert "other processes used 90% of all cores" in shown
    assert "\n           busy" in shown
    # A figure that is too low is no upper bound.
    assert "at most" not in shown
    assert printed(made_report(tmp_path, None)).startswith("CANNOT TELL")


def test_what_was_not_measured_says_why(report: DoctorReport) -> None:
    shown = printed(msgspec.structs.replace(report, bandwidth=withheld("not enough free memory")))
    assert "not measured: not enough free memory" in shown


def test_nothing_found_says_where_to_look(tmp_path: Path) -> None:
    shown = flat(printed(msgspec.structs.replace(made_report(tmp_path), swap=None, gpus=())))
    assert "--url ADDRESS looks elsewhere" in shown
    assert "none found (NVIDIA's are asked by NVML, AMD's by amdsmi)" in shown
    assert "no running servers" in shown


def documented_rows() -> list[str]:
    """The table of what dyno can see, as docs/doctor.md has it."""
    return [
        f"| `{row.engine}` | {row.way} | {cached_words(row)} | {row.prompt} | {row.timings} "
        f"| {'yes' if row.forced else 'no'} | {memory_words(row)} | {'yes' if row.verified else 'no'} |"
        for row in OBSERVED
    ]


def test_the_table_in_the_documents_is_the_one_that_is_shown() -> None:
    page = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text()
    assert "\n".join(["| --- | --- | --- | --- | --- | --- | --- | --- |", *documented_rows(), ""]) in page


def test_a_long_list_of_models_is_cut(report: DoctorReport) -> None:
    many = tuple(msgspec.structs.replace(MODELS[1], name=f"m{number}") for number in range(25))
    shown = printed(msgspec.structs.replace(report, models=Search(many, ())))
    assert "and 5 more: dyno doctor --json lists them all" in shown
