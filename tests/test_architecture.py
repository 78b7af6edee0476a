"""The rules of the tree that no linter knows: who imports whom, who writes, prints and reads clocks, sizes.

Each rule is a table at the top, read from the source with `ast`; a test names file and line of every breach.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

from backends import engine_names

ROOT = Path(__file__).parents[1]
PRODUCT = ("backends", "profiler", "harness")
FOLDERS = (*PRODUCT, "profiles", "tests", "benchmarks")

MAY_IMPORT = {
    "backends": ("backends", "backends.*"),
    "profiler": (
        "profiler", "profiler.*",
        "backends.abilities", "backends.base", "backends.gguf_header", "backends.safetensors_header", "backends.wire",
    ),
    "harness": (
        "harness", "harness.*", "profiler", "profiler.*",
        "backends", "backends.abilities", "backends.base", "backends.discovery", "backends.discovery.*",
        "backends.gguf_header", "backends.options", "backends.wire",
    ),
}  # fmt: skip
"""Of our own modules, what those of a folder may import. Adapters are opened with `backends.open_engine`."""

MAY_PRINT = ("harness/cli/*", "profiler/report/*", "backends/workers/*")
"""Workers are processes of their own; what they print is read by the adapter."""

MAY_WRITE_IN_PROFILER = (
    "profiler/store.py",
    "profiler/dispatch_store.py",
    "profiler/run_files.py",
    "profiler/quality/reference_file.py",
)

MAY_READ_CLOCKS = {
    "profiler/measure.py": "stamps the requests",
    "profiler/guards.py": "samples the machine at an interval",
    "profiler/residency/sampler.py": "samples memory at an interval",
    "profiler/residency/linux.py": "measures what its own reading costs",
    "profiler/store.py": "dates the end of a run",
    "harness/cli/cache_run.py": "dates a run",
    "harness/sending.py": "dates each request",
    "harness/replay.py": "dates each request",
    "harness/sandbox/execution.py": "waits for a command, with a deadline",
    "harness/dispatch.py": "times the agent's work",
    "harness/task_checks.py": "dates the run that it throws away",
    "harness/cli/*": "dates a run, shows progress",
    "backends/workers/*": "waits for a process, with a deadline",
}

LONGEST_FILE_LINES = 300
LONGER: dict[str, str] = {}
"""Files that may be longer, each with the reason."""

FORBIDDEN_NAMES = {"util", "utils", "helper", "helpers", "manager", "managers", "common", "misc"}

INVENTED = ("profiles/sessions/*.jsonl",)
"""Recorded sessions, whose agents work in the home folder of somebody who does not exist."""

LARGEST_FILE_BYTES = 16 * 2**20

_CLOCKS = {"time", "monotonic", "perf_counter", "process_time", "thread_time", "clock_gettime"}
_MACHINE = "|".join(  # split, so that this file does not hold what it looks for
    (r"/ro" r"ot/", r"/ho" r"me/\w", r"/Us" r"ers/\w", r"/wo" r"rk/", r"/opt/wh" r"eels", r"/tmp/\w",
     r"\bpypi\.o" r"rg/simple", r"pythonho" r"sted", r"registry\.np" r"mjs", r"extra-index-u" r"rl")
)  # fmt: skip
_TEXT = {".py", ".md", ".toml", ".txt", ".jinja", ".json", ".jsonl", ""}


def product() -> tuple[Path, ...]:
    return tuple(sorted(file for folder in PRODUCT for file in (ROOT / folder).rglob("*.py")))


def name(file: Path) -> str:
    return file.relative_to(ROOT).as_posix()


def among(file: Path, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch(name(file), pattern) for pattern in patterns)


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), filename=str(file))


def is_module(dotted: str) -> bool:
    place = ROOT.joinpath(*dotted.split("."))
    return place.with_suffix(".py").is_file() or place.is_dir()


def imports(module: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and full name of every import, in functions too; `from a import b` is `a.b` if that is one."""
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: import by the full name"
            base = node.module or ""
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                ours = base.partition(".")[0] in FOLDERS
                yield node.lineno, inner if ours and is_module(inner) else base


def for_types_alone(module: ast.Module) -> set[int]:
    """Lines below `if TYPE_CHECKING:`, which are never run."""
    guarded = (
        node for node in ast.walk(module) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    return {line for node in guarded for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}


def calls(module: ast.Module) -> Iterator[tuple[ast.Call, str]]:
    """Every call with the last part of the name that is called."""
    for node in ast.walk(module):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Attribute):
                yield node, node.func.attr
            elif isinstance(node.func, ast.Name):
                yield node, node.func.id


def writes(call: ast.Call, called: str) -> bool:
    """Whether a call opens a file for writing, or makes, moves or removes one; `os.open` always counts."""
    if called in {"write_text", "write_bytes", "mkdir", "touch", "unlink", "rename", "symlink_to", "rmtree"}:
        return True
    arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
    modes = [arg.value for arg in arguments if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    to_write = any(re.fullmatch(r"[rbt]*[wax+][rbt+]*", mode) for mode in modes)
    return called == "open" and (to_write or "os.O_" in ast.unparse(call))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("open(file, 'wb')", True),
        ("file.open(mode='a')", True),
        ("file.open('r+')", True),
        ("os.open(file, os.O_APPEND)", True),
        ("file.write_text('')", True),
        ("open(file)", False),
        ("file.open('rb', buffering=1)", False),
        ("open('wax.txt')", False),
    ],
)
def test_what_counts_as_writing(source: str, expected: bool) -> None:
    assert [writes(call, called) for call, called in calls(ast.parse(source))] == [expected]


def test_what_counts_as_an_import() -> None:
    source = "import os.path\nfrom backends import wire, load\nif x:\n    from profiler.records import Guard\n"
    found = [(1, "os.path"), (2, "backends.wire"), (2, "backends"), (4, "profiler.records")]
    assert sorted(imports(ast.parse(source))) == sorted(found)


def test_the_tables_name_real_files() -> None:
    for pattern in (*MAY_WRITE_IN_PROFILER, *MAY_READ_CLOCKS, *LONGER):
        assert any(fnmatch(name(file), pattern) for file in product()), f"no file is {pattern}: correct the table"


@pytest.mark.parametrize("folder", PRODUCT)
def test_a_folder_imports_only_what_the_table_allows(folder: str) -> None:
    breaches = [
        f"{name(file)}:{line} imports {imported}"
        for file in product()
        if file.is_relative_to(ROOT / folder)
        for line, imported in imports(tree(file))
        if imported.partition(".")[0] in FOLDERS
        and not any(fnmatch(imported, pattern) for pattern in MAY_IMPORT[folder])
    ]
    assert not breaches


def test_nobody_imports_a_concrete_engine() -> None:
    engines = {f"backends.{engine.replace('-', '_')}" for engine in engine_names()}
    breaches = [
        f"{name(file)}:{line} imports {imported}: open it with backends.open_engine"
        for file in product()
        if not among(file, ("backends/workers/*",))
        for line, imported in imports(tree(file))
        if imported in engines
    ]
    assert not breaches


@pytest.mark.parametrize("engine", engine_names())
def test_what_is_listed_as_an_engine_is_an_adapter(engine: str) -> None:
    module = tree(ROOT / "backends" / f"{engine.replace('-', '_')}.py")
    defined = {node.name for node in module.body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
    imported = {
        alias.asname or alias.name for node in module.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert "open_engine" in defined, "not an adapter: name it in backends._NOT_ENGINES"
    assert "Options" in defined | imported, "an adapter says its launch settings in `Options`"


def test_backends_start_without_numpy_and_the_terminal() -> None:
    slow = {"numpy", "scipy", "typer", "rich"}
    breaches = [
        f"{name(file)}:{line} imports {imported}"
        for file in product()
        if file.is_relative_to(ROOT / "backends")
        for line, imported in imports(tree(file))
        if imported.partition(".")[0] in slow and line not in for_types_alone(tree(file))
    ]
    assert not breaches


def test_only_the_command_line_and_the_report_draw_on_the_terminal() -> None:
    breaches = [
        f"{name(file)}:{line} imports {imported}"
        for file in product()
        if not among(file, ("harness/cli/*", "profiler/report/*"))
        for line, imported in imports(tree(file))
        if imported.partition(".")[0] in {"typer", "rich"}
    ]
    assert not breaches


def test_only_the_command_line_and_the_report_print() -> None:
    breaches = [
        f"{name(file)}:{call.lineno} prints"
        for file in product()
        if not among(file, MAY_PRINT)
        for call, called in calls(tree(file))
        if called == "print" and isinstance(call.func, ast.Name)
    ]
    assert not breaches


def test_only_the_store_writes_files_in_the_profiler() -> None:
    breaches = [
        f"{name(file)}:{call.lineno} writes a file"
        for file in product()
        if file.is_relative_to(ROOT / "profiler") and not among(file, MAY_WRITE_IN_PROFILER)
        for call, called in calls(tree(file))
        if writes(call, called)
    ]
    assert not breaches


def test_only_the_listed_files_read_clocks() -> None:
    """A clock that is not measured with is passed in, so that tests can bring their own."""
    breaches = [
        f"{name(file)}:{node.lineno} reads {ast.unparse(node)}"
        for file in product()
        if not among(file, tuple(MAY_READ_CLOCKS))
        for node in ast.walk(tree(file))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "time"
        and node.attr.removesuffix("_ns") in _CLOCKS
    ]
    breaches += [
        f"{name(file)}:{line} imports names of time: import the module"
        for file in product()
        for node in ast.walk(tree(file))
        for line in ([node.lineno] if isinstance(node, ast.ImportFrom) and node.module == "time" else [])
    ]
    assert not breaches


def test_profiles_hold_data_only() -> None:
    assert not [name(file) for file in (ROOT / "profiles").rglob("*.py*") if file.suffix in {".py", ".pyc"}]


def test_no_file_is_longer_than_a_reader_can_hold() -> None:
    lengths = {name(file): len(file.read_text(encoding="utf-8").splitlines()) for file in product()}
    assert not {file: n for file, n in lengths.items() if n > LONGEST_FILE_LINES and file not in LONGER}
    assert not {file for file in LONGER if lengths[file] <= LONGEST_FILE_LINES}, "an exception that is not needed"


def test_no_file_or_class_has_a_name_that_says_nothing() -> None:
    breaches = [name(file) for file in product() if FORBIDDEN_NAMES & set(file.stem.lower().split("_"))]
    breaches += [
        f"{name(file)}: class {node.name}"
        for file in product()
        for node in ast.walk(tree(file))
        if isinstance(node, ast.ClassDef)
        and FORBIDDEN_NAMES & {word.lower() for word in re.findall(r"[A-Z][a-z0-9]*", node.name)}
    ]
    assert not breaches


def shipped() -> Iterator[Path]:
    """The project's own files: those at the root, of CI, of docs and of the six folders."""
    yield from (file for file in ROOT.iterdir() if file.is_file())
    for folder in (*FOLDERS, "docs", ".ci"):
        for file in (ROOT / folder).rglob("*"):
            if file.is_file() and "__pycache__" not in file.parts:
                yield file


def test_no_file_holds_a_path_or_a_host_of_one_machine() -> None:
    breaches = [
        f"{name(file)}:{number}: {found.group()}"
        for file in shipped()
        if file.suffix in _TEXT and not among(file, INVENTED)
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1)
        if (found := re.search(_MACHINE, line))
    ]
    assert not breaches


def test_no_file_is_too_large_for_a_clone() -> None:
    assert not [name(file) for file in shipped() if file.stat().st_size > LARGEST_FILE_BYTES]
