"""Synthetic sessions of a coding agent: look around, read, edit, test, answer, and the next task.

The workspace is invented anew for each session (paths, function names, one wrong operator per task), so the
model has to copy what it saw instead of remembering it. A long session is many tasks in one workspace: a
single conversation that stays coherent up to any number of tokens, as an agent's does.
"""

import json
from random import Random

from tests.tiny_model.chats import THINK, Session, tool, words

CODING_SYSTEMS = (
    "You are a coding agent. Use the tools, then answer.",
    "You fix bugs in a Python project.",
    "You are a careful engineer. Read before you edit.",
)
CODING_TOOLS = (
    tool("list_files", "List the files of a folder.", path="string"),
    tool("read_file", "Read a file.", path="string"),
    tool("grep", "Search files for a text.", pattern="string", path="string"),
    tool("edit", "Replace a text in a file.", path="string", old="string", new="string"),
    tool("run_tests", "Run the tests of a path.", path="string"),
)
FOLDERS = words("src lib app core tools web data api")
WORDS = words(
    "parse load store merge split count read write cache token queue graph table index range score color "
    "shape price track event model frame block chunk state value field point user page node edge list "
    "tree hash time date"
)
OPERATORS = (("+", "-"), ("*", "+"), ("<", ">"), ("<=", "<"), ("==", "!="), ("and", "or"))


def coding(random: Random, tasks: int | None = None) -> Session:
    """A session of `tasks` tasks (1 to 4 when not given), each of about 300 to 600 tokens."""
    thinks = random.random() < 0.5
    session = Session(tools=list(CODING_TOOLS))
    prompt = random.choice(CODING_SYSTEMS)
    session.messages.append({"role": "system", "content": f"{prompt} {THINK}" if thinks else prompt})
    for _ in range(tasks or random.choice((1, 2, 2, 3, 4))):
        _fix_bug(session, random, thinks=thinks)
    return session


def _fix_bug(session: Session, random: Random, *, thinks: bool) -> None:
    folder, (first, second) = random.choice(FOLDERS), random.sample(WORDS, 2)
    path, function = f"{folder}/{first}.py", f"{second}_{random.choice(WORDS)}"
    right, wrong = random.choice(OPERATORS)
    left, other = random.sample("abcdeknmxyz", 2)
    old, new = f"return {left} {wrong} {other}", f"return {left} {right} {other}"
    lines = _file(random, function, f"def {function}({left}, {other}):\n    {old}")
    thought = (lambda text: text) if thinks else (lambda text: "")
    if random.random() < 0.5:
        session.ask(f"Fix the bug in {path}: {function} should use {right}.")
    else:
        session.ask(f"{function} should use {right}. Find it in {folder} and fix it.")
        if random.random() < 0.4:
            names = sorted({f"{first}.py", *(f"{word}.py" for word in random.sample(WORDS, 3))})
            session.call("list_files", {"path": folder}, "\n".join(names), thought=thought("I list the files."))
        number = lines[: lines.index(f"def {function}")].count("\n") + 1
        session.call(
            "grep",
            {"pattern": function, "path": folder},
            f"{path}:{number}:def {function}({left}, {other}):",
            thought=thought(f"I search for {function}."),
        )
    session.call("read_file", {"path": path}, lines, thought=thought(f"I read {path}."))
    session.call(
        "edit",
        {"path": path, "old": old, "new": new},
        "ok",
        thought=thought(f"I replace {wrong} with {right}."),
    )
    passed = random.randint(1, 40)
    session.call("run_tests", {"path": folder}, f"{passed} passed", thought=thought("I run the tests."))
    session.say(f"Fixed {function} in {path}: {passed} tests pass.", thought=thought("The tests pass."))


def _file(random: Random, function: str, bug: str) -> str:
    parts = [_definition(random, function) for _ in range(random.randint(0, 3))]
    parts.insert(random.randint(0, len(parts)), bug)
    return "\n\n".join(parts)


def _definition(random: Random, other_than: str) -> str:
    """A definition that is not the one to repair."""
    name = other_than
    while name == other_than:
        name = f"{random.choice(WORDS)}_{random.choice(WORDS)}"
    argument = random.choice("abcdeknmxyz")
    body = random.choice(
        ("return len({0})", "return {0}.strip()", "return sorted({0})", "return {0} + 1", "return None")
    )
    return f"def {name}({argument}):\n    {body.format(argument)}"


def arguments_of(message: dict[str, object]) -> dict[str, str]:
    """The arguments of a message's first tool call, parsed. Raises `KeyError` when it has none."""
    calls = message["tool_calls"]
    assert isinstance(calls, list)
    parsed = json.loads(calls[0]["function"]["arguments"])
    assert isinstance(parsed, dict)
    return parsed
