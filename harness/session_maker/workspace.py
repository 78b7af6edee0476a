"""An invented Python project that a generated session works on: its files, its faults, what the tools answer.

A `Workspace` draws from one `random.Random`, by `randrange`, `choice` and `shuffle` alone: a seed gives the
same text on every Python. It keeps its files: what was read is edited and shown in a diff.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import msgspec

from backends.base import JsonObject
from harness.session_maker import code
from harness.session_maker.text import AGENTS, ENVIRONMENT, PERSONAS, PURPOSE, RULES, SENTENCES, USERS, WORKFLOW

Words = dict[str, str]

_RULES_SHOWN = 14
_MODULES = 9
_CONTEXT_LINES = 3


class Task(msgspec.Struct, frozen=True):
    """One thing to repair: a function with a wrong line, its file, its test; `words` fill the sentences."""

    words: Words
    name: str
    path: str
    other_path: str
    test: str
    wrong: str
    right: str


class Call(msgspec.Struct, frozen=True):
    """A tool call of the assistant: the sentence before it, the function and its arguments."""

    sentence: str
    tool: str
    arguments: JsonObject


class Workspace:
    """A project with a package of modules, its user and its agent. Files are invented as they are read."""

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        project, nouns = rng.choice(code.PROJECTS)
        self._nouns = nouns.split()
        names = [f"{noun}_{module}" for noun in self._nouns for module in code.MODULES]
        rng.shuffle(names)
        self._modules = sorted(names[:_MODULES])
        self._other_modules = names[_MODULES:]
        self._files: dict[str, str] = {}
        self._constant = {"project": project, "package": project, "agent": rng.choice(AGENTS)}
        self._constant["user"] = rng.choice(USERS)

    def words(self) -> Words:
        """A fresh draw of every word and number that a template may name."""
        rng = self._rng
        noun, adjective, field = rng.choice(self._nouns), rng.choice(code.ADJECTIVES), rng.choice(code.FIELDS)
        return {
            **self._constant,
            "noun": noun,
            "Noun": noun.capitalize(),
            "adjective": adjective,
            "Adjective": adjective.capitalize(),
            "field": field,
            "field2": rng.choice([other for other in code.FIELDS if other != field]),
            "verb": rng.choice(code.VERBS),
            "module": rng.choice(self._modules),
            "n": str(2 + rng.randrange(48)),
            "m": str(3 + rng.randrange(90)),
            "k": str(100 + rng.randrange(400)),
            "few": str(2 + rng.randrange(9)),
            "number": str(24 + rng.randrange(900)),
            "cores": str(4 * (1 + rng.randrange(8))),
        }

    def system_prompt(self, persona: str = PERSONAS[0], second_line: str | None = None) -> str:
        """Persona, purpose, rules, way of working and environment: about 3,500 characters."""
        rules = list(RULES)
        self._rng.shuffle(rules)
        parts = (
            f"{persona}\n{second_line}" if second_line else persona,
            PURPOSE,
            "# Rules\n" + "\n".join(f"{n}. {rule}" for n, rule in enumerate(rules[:_RULES_SHOWN], 1)),
            f"# Way of working\n{WORKFLOW}",
            "# Environment\n" + "\n".join(f"- {name}: {fact}" for name, fact in ENVIRONMENT),
        )
        return "\n\n".join(parts).format(**self.words(), modules=", ".join(self._modules))

    def task(self) -> Task:
        """A new fault in one of the modules."""
        words = self.words()
        package, module = words["package"], words["module"]
        wrong, right = self._rng.choice(code.FAULTS)
        words["name"] = "{verb}_{adjective}_{noun}".format(**words)
        words["path"] = f"{package}/{module}.py"
        words["test"] = f"tests/test_{module}.py"
        others = [other for other in self._modules if other != module]
        return Task(
            words=words,
            name=words["name"],
            path=words["path"],
            other_path=f"{package}/{self._rng.choice(others)}.py",
            test=words["test"],
            wrong=wrong.format(**words),
            right=right.format(**words),
        )

    def call(self, task: Task, step: str) -> Call:
        """The call by which the agent makes a step: one of the keys of the table below."""
        case = task.test.replace(".py", f"_{task.words['adjective']}.py")
        content = self._rng.choice(code.TESTS).format(**task.words) + "\n"
        calls: dict[str, tuple[str, JsonObject]] = {
            "list": ("list", {"path": task.words["package"]}),
            "grep": ("grep", {"pattern": task.name, "path": "."}),
            "read": ("read", {"path": task.path}),
            "read_other": ("read", {"path": task.other_path}),
            "test_failing": ("test", {"path": task.test}),
            "edit": ("edit", {"path": task.path, "old": task.wrong, "new": task.right}),
            "test_passing": ("test", {"path": task.test}),
            "bash": ("bash", {"command": f"git diff --stat -p {task.path}"}),
            "write": ("write", {"path": case, "content": content}),
            "test_all": ("test", {"path": "tests", "verbose": True}),
        }
        tool, arguments = calls[step]
        words = {**task.words, "path": arguments.get("path", task.path)}
        return Call(self._rng.choice(SENTENCES[tool]).format(**words), tool, arguments)

    def result(self, task: Task, step: str, size_chars: int) -> str:
        """What the tool answers to a step; listings, files, matches and test runs have about `size_chars`."""
        if step == "list":
            return self._listing(size_chars)
        if step == "grep":
            return self._matches(task, size_chars)
        if step in ("read", "read_other"):
            path = task.path if step == "read" else task.other_path
            return self._read(task, path, size_chars)
        if step == "edit":
            return self._edit(task)
        if step == "bash":
            return self._diff(task)
        if step == "write":
            return f"Wrote a file of {4 + self._rng.randrange(6)} lines; {task.test} is unchanged."
        return self._test_run(task, size_chars, failing=step == "test_failing")

    def _fill(self, line: Callable[[], str], size_chars: int) -> list[str]:
        """Lines until they are about `size_chars` long together, at least one, none twice."""
        lines: dict[str, None] = {}
        for _ in range(10_000):
            if lines and sum(map(len, lines)) + len(lines) >= size_chars:
                break
            lines[line()] = None
        return list(lines)

    def _module_name(self) -> str:
        return self._rng.choice(self._modules + self._other_modules)

    def _listing(self, size_chars: int) -> str:
        package = self._constant["package"]
        known = [f"{package}/{name}.py" for name in self._modules]
        count = max(0, size_chars // 38 - _MODULES)
        folders = (f"{package}/", "tests/test_", f"{package}/old/", "docs/", "scripts/")
        more = self._fill(lambda: f"{self._rng.choice(folders)}{self._module_name()}.py", count * 32)
        paths = sorted({*known, *more[:count]})
        return "\n".join(f"{800 + self._rng.randrange(9000):>6}  {path}" for path in paths)

    def _matches(self, task: Task, size_chars: int) -> str:
        def line() -> str:
            place = f"{task.words['package']}/{self._module_name()}.py:{1 + self._rng.randrange(300)}"
            return f"{place}:{self._rng.choice(code.CALLERS)}".format(**{**self.words(), "name": task.name})

        number = 30 + self._rng.randrange(60)
        own = f"{task.path}:{number}:def {task.name}(base: int, item: {task.words['Noun']}) -> int:"
        return "\n".join([own, *sorted(self._fill(line, size_chars - len(own)))])

    def _read(self, task: Task, path: str, size_chars: int) -> str:
        if path not in self._files:
            words = {**self.words(), "module": path.rpartition("/")[2].removesuffix(".py")}
            body = self._fill(lambda: self._rng.choice(code.FUNCTIONS).format(**self.words()), size_chars - 500)
            self._files[path] = "\n\n\n".join([code.MODULE_HEAD.format(**words), *body]) + "\n"
        if path == task.path and task.name not in self._files[path]:
            faulty = code.FAULTY_FUNCTION.format(**task.words, wrong=task.wrong)
            self._files[path] += f"\n\n{faulty}\n"
        return self._files[path]

    def _edit(self, task: Task) -> str:
        before = self._read(task, task.path, 0)
        self._files[task.path] = before.replace(task.wrong, task.right, 1)
        number = self._line_number(task)
        lines = self._files[task.path].splitlines()[number - 1 - _CONTEXT_LINES : number]
        return f"Replaced 1 occurrence in {task.path}, line {number}:\n" + "\n".join(lines)

    def _diff(self, task: Task) -> str:
        number = self._line_number(task)
        above = self._files[task.path].splitlines()[number - 1 - _CONTEXT_LINES : number - 1]
        hunk = f"@@ -{number - _CONTEXT_LINES},4 +{number - _CONTEXT_LINES},4 @@"
        return "\n".join(
            [
                f" {task.path} | 2 +-",
                " 1 file changed, 1 insertion(+), 1 deletion(-)",
                "",
                f"diff --git a/{task.path} b/{task.path}",
                f"index {self._hash()}..{self._hash()} 100644",
                f"--- a/{task.path}",
                f"+++ b/{task.path}",
                hunk,
                *(f" {line}" for line in above),
                f"-{task.wrong}",
                f"+{task.right}",
            ]
        )

    def _test_run(self, task: Task, size_chars: int, *, failing: bool) -> str:
        def name() -> str:
            return "test_{verb}_{adjective}_{noun}_{field}".format(**self.words())

        line, value = 20 + self._rng.randrange(80), self._rng.randrange(99)
        failure = code.FAILURE.format(**task.words, line=line, wrong_value=value)
        tests = self._fill(name, (size_chars - len(failure) * failing) // 2)
        rows = [f"{task.test}::{test} PASSED [{100 * n // (len(tests) + 1):>3}%]" for n, test in enumerate(tests, 1)]
        verdict = "FAILED" if failing else "PASSED"
        own = f"{task.test}::test_{task.name}_{task.words['adjective']} {verdict} [100%]"
        seconds = f"{self._rng.randrange(4)}.{10 + self._rng.randrange(90)}s"
        passed = len(tests) + (not failing)
        total = f"1 failed, {passed} passed" if failing else f"{passed} passed"
        middle = [failure] if failing else []
        return "\n".join([f"collected {len(tests) + 1} items", "", *rows, own, "", *middle, f"{total} in {seconds}"])

    def _line_number(self, task: Task) -> int:
        """Line of the repaired statement, from 1."""
        before, _, _ = self._files[task.path].partition(task.right)
        return before.count("\n") + 1

    def _hash(self) -> str:
        return "".join(self._rng.choice("0123456789abcdef") for _ in range(7))
