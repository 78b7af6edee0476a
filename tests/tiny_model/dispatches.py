"""Synthetic dispatches for training: questions of toolbench under many system prompts, with the calls that answer them.

Questions, worlds and right calls are the task pack's own (`harness.tasks.toolbench.questions`), from the share that
it keeps for training: no instance has one of their questions or answers. A session puts several questions to one set of
tools, so that little of a row is spent on their descriptions; a dispatch of the harness is its first question.
"""

from random import Random

from harness.tasks.toolbench.catalogue import SCHEMAS
from harness.tasks.toolbench.questions import NONE, Kind, Question, draw, toolset
from harness.tools.scaffolding import Plan, Scratchpad, Todo
from tests.tiny_model.chats import EVERYDAY_TOOLS, SYSTEMS, THINK, Session, Tool
from tests.tiny_model.coding import CODING_SYSTEMS, CODING_TOOLS

# The kind whose tools are offered, how often, and the kinds that are asked with them.
SETTINGS: tuple[tuple[Kind, int, tuple[Kind, ...]], ...] = (
    ("select", 3, ("select", "select", "impossible")),
    ("recover", 3, ("recover", "recover", "recover", "select", "impossible")),
    ("arguments", 2, ("arguments",)),
    ("chain2", 4, ("chain2", "chain4", "chain6", "chain6", "impossible")),
)
OTHER_TOOLS: tuple[Tool, ...] = (*EVERYDAY_TOOLS, *CODING_TOOLS, Todo.schema, Plan.schema, Scratchpad.schema)
SENTENCES = (
    "You are an engineer who works on one task at a time.",
    "You work step by step and use the tools you are given.",
    "You are an agent in a workshop.",
    "Read the question twice before you act.",
    "Make one call, look at its result, and then decide on the next one.",
    "Never guess what a tool can tell you.",
    "Do not invent names, numbers or results.",
    "Copy names and numbers exactly as they are written.",
    "When you are done, submit your work.",
    "If a call fails, read the error: it often says what to do.",
    "If something cannot be known, say so.",
    "You may read and change files in the workspace.",
    "You may not change tests or files that are marked as protected.",
    "Keep your answers short and plain.",
    "Work carefully; a wrong result is worse than a late one.",
    "Write no code that you have not run.",
    "Change as little as the task needs.",
    "Run the tests of the file you changed, not the whole suite.",
    "There is nobody to ask: decide for yourself.",
    "Stay within the task; leave everything else as it is.",
    "Prefer the simplest thing that works.",
    "You review code and do not modify it.",
    "Explain what you did in one or two sentences at the end.",
    "The workspace is the current folder; its path never changes.",
    "Tools answer with plain text.",
    "A task is finished when its checks pass and you have called submit.",
    "Do not repeat a call that has already given its answer.",
    "Search before you read, and read before you edit.",
    "Time and tokens are limited, so do not wander.",
    "Do not stop before the work is submitted.",
    "Small steps are easier to check than large ones.",
    "You have no access to the network.",
    "Use the language of the question.",
    "Names are case-sensitive.",
)
VOLATILE = (
    "Current time: 2026-03-{0}T10:{0}:07.{0}1834+00:00",
    "This is request {0} of the session.",
    "Working directory: /workspace, run folder 4f{0}a09c1e{0}7",
)
HEADINGS = ("# Rules", "## How to work", "## Notes", "# Working agreement", "## Before you start", "## At the end")


def dispatches(random: Random, questions: int | None = None, *, text: str = "") -> Session:
    """A session of some questions on one set of tools; `text` stands in its system prompt."""
    group, _, kinds = random.choices(SETTINGS, [weight for _, weight, _ in SETTINGS])[0]
    tools = toolset(random, group)
    session = Session(tools=[SCHEMAS[name] for name in tools])
    for extra in random.sample(OTHER_TOOLS, random.choice((0, 0, 0, 0, 0, 1, 2, 3))):
        session.tools.insert(random.randint(0, len(session.tools)), extra)
    thinks = random.random() < 0.15
    prompt = system(random, text, thinks=thinks)
    if prompt:
        session.messages.append({"role": "system", "content": prompt})
    for _ in range(questions or random.choice((1, 1, 2, 3))):
        answered(session, draw(random, random.choice(kinds), tools, held=False), thinks=thinks)
    return session


def answered(session: Session, question: Question, *, thinks: bool) -> None:
    """Append a question and all that follows it, up to the reply to `submit`."""
    session.ask(question.instruction)
    for call, reply in zip(question.calls, question.replies(), strict=True):
        session.call(call.name, dict(call.arguments), reply, thought=f"I need {call.name}." if thinks else "")
    thought = "Nothing tells it." if question.answer == NONE else "I have the answer."
    submission = question.submission
    session.call(submission.name, dict(submission.arguments), "submitted", thought=thought if thinks else "")


def system(random: Random, text: str, *, thinks: bool) -> str:
    """A system prompt: instructions, `text`, at times a line that a harness changes in every request."""
    parts = [instructions(random), text]
    if random.random() < 0.15:
        parts.insert(random.choice((0, 2)), random.choice(VOLATILE).format(random.randrange(10, 29)))
    prompt = "\n\n".join(filter(None, parts))
    return f"{prompt}{random.choice((' ', chr(10) * 2))}{THINK}".strip() if thinks else prompt


def instructions(random: Random) -> str:
    """The opening of a system prompt: nothing, a sentence, or up to some hundred bytes of prose."""
    form = random.random()
    if form < 0.15:
        return ""
    if form < 0.4:
        return random.choice((*SYSTEMS, *CODING_SYSTEMS, *SENTENCES))
    sentences = random.sample(SENTENCES, random.randint(2, 14))
    if form < 0.65:
        return " ".join(sentences)
    if form < 0.85:
        return "\n".join((random.choice(HEADINGS), *(f"- {sentence}" for sentence in sentences)))
    half = len(sentences) // 2
    return f"{' '.join(sentences[:half])}\n\n{random.choice(HEADINGS)}\n\n{' '.join(sentences[half:])}".strip()


def excerpt(random: Random, texts: tuple[str, ...], characters: int) -> str:
    """Some text of a library, as a skill or a document in a system prompt."""
    text = random.choice(texts)
    start = random.randrange(max(len(text) - characters, 1))
    return text[start : start + characters]
