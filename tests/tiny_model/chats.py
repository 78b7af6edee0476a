"""Synthetic chats of an everyday assistant: facts, sums, weather, calendar, messages.

Every generator takes a `random.Random` and returns a `Session`; the same seed gives the same session. Some
questions are held out of training, by a hash of their text (`held_out`), and only evaluation asks them. To
teach the model something else, write another generator and list it in `corpus.GENERATORS`.
"""

import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

Message = dict[str, Any]
Tool = dict[str, Any]


def words(text: str) -> tuple[str, ...]:
    """The words of a text; keeps long lists readable."""
    return tuple(text.split())


THINK = "Think first."
SYSTEMS = (
    "You are a helpful assistant.",
    "You are a careful assistant. Answer in one sentence.",
    "You help with small tasks.",
    "Answer briefly.",
)
CITIES = words(
    "Paris London Tokyo Berlin Madrid Rome Oslo Vienna Prague Lisbon Dublin Athens Cairo Delhi Seoul Lima "
    "Quito Havana Boston Denver Austin Miami Dallas Chicago Toronto Sydney Perth Geneva Zurich Munich"
)
NAMES = words(
    "Ada Alan Grace Edsger Donald Barbara Ken Dennis Linus Guido Bjarne James Brian Margaret Radia Tim "
    "Vint Leslie John Frances Niklaus Tony Robin Butler Alonzo Kurt Emmy Carl Leonhard Isaac Marie Niels "
    "Max Erwin Paul Albert Galileo Johannes"
)
DAYS = words("today tomorrow monday tuesday wednesday thursday friday saturday sunday")
SKIES = words("sun rain snow fog wind clouds")
TEXTS = ("I am late", "call me back", "the build is green", "lunch is ready", "see you soon", "please review")
CODES = {name: f"{zlib.crc32(name.encode()) % 10_000:04d}" for name in NAMES}
LARGEST_SUMMAND = 19

WEATHER_QUESTIONS = (
    "What is the weather in {city} {day}?",
    "Weather for {day} in {city} please",
    "Will it rain in {city} {day}?",
    "How is {city} {day}?",
)
EVENT_QUESTIONS = (
    "Set a meeting with {who} at {time}",
    "Book {who} for {time}",
    "Plan a call with {who} at {time}.",
)
FACT_QUESTIONS = (
    "What is the code of {name}?",
    "Tell me the code of {name}.",
    "Which code does {name} have?",
    "code of {name}?",
)
SUM_QUESTIONS = ("What is {a} plus {b}?", "How much is {a} + {b}?", "Add {a} and {b}.")


@dataclass
class Session:
    """A chat in the message format of the chat-completions interface, with the tools it offers."""

    messages: list[Message] = field(default_factory=list)
    tools: list[Tool] = field(default_factory=list)

    def call(self, name: str, arguments: dict[str, Any], result: str, *, thought: str = "", content: str = "") -> None:
        """Append an assistant turn that calls one tool, and the tool's reply."""
        call = {"type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        self.say(content, thought=thought)
        self.messages[-1]["tool_calls"] = [call]
        self.messages.append({"role": "tool", "content": result})

    def say(self, content: str, *, thought: str = "") -> None:
        """Append an assistant turn."""
        message: Message = {"role": "assistant", "content": content}
        if thought:
            message["reasoning_content"] = thought
        self.messages.append(message)

    def ask(self, content: str) -> None:
        """Append a user turn."""
        self.messages.append({"role": "user", "content": content})


def tool(name: str, description: str, **parameters: str) -> Tool:
    """Describe a function whose arguments are all required; each parameter is `name="type"`."""
    properties = {key: {"type": kind} for key, kind in parameters.items()}
    schema = {"type": "object", "properties": properties, "required": list(parameters)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}


EVERYDAY_TOOLS = (
    tool("get_weather", "Weather of a city on a day.", city="string", day="string"),
    tool("add_event", "Add an event to the calendar.", who="string", time="string"),
    tool("send_message", "Send a short message.", to="string", text="string"),
)


def held_out(question: str) -> bool:
    """Whether this question is kept for evaluation: one in eight, by a hash that no seed changes."""
    return zlib.crc32(question.encode()) % 8 == 0


def question(random: Random, draw: Callable[[Random], tuple[str, Any]], *, held: bool) -> tuple[str, Any]:
    """Draw until the question is one for training (or a held-out one). Returns it with what `draw` adds.

    Only wordings are held out: training has the same names and summands in other words, as it must for facts.
    """
    while True:
        text, answer = draw(random)
        if held_out(text) == held:
            return text, answer


def weather(random: Random) -> tuple[str, dict[str, str]]:
    """A question about the weather, and the arguments of the call it needs."""
    arguments = {"city": random.choice(CITIES), "day": random.choice(DAYS)}
    return random.choice(WEATHER_QUESTIONS).format(**arguments), arguments


def event(random: Random) -> tuple[str, dict[str, str]]:
    """A wish for a meeting, and the arguments of the call it needs."""
    arguments = {
        "who": random.choice(NAMES),
        "time": f"{random.randrange(24):02d}:{random.choice((0, 15, 30, 45)):02d}",
    }
    return random.choice(EVENT_QUESTIONS).format(**arguments), arguments


def message(random: Random) -> tuple[str, dict[str, str]]:
    """A wish to tell somebody something, and the arguments of the call it needs."""
    arguments = {"to": random.choice(NAMES), "text": random.choice(TEXTS)}
    return random.choice(("Tell {to}: {text}", "Write to {to}: {text}")).format(**arguments), arguments


def fact(random: Random) -> tuple[str, str]:
    """A question about a code that only memory knows, and the right sentence."""
    name = random.choice(NAMES)
    return random.choice(FACT_QUESTIONS).format(name=name), f"The code of {name} is {CODES[name]}."


def addition(random: Random) -> tuple[str, str]:
    """A sum and the right sentence."""
    a, b = random.randint(0, LARGEST_SUMMAND), random.randint(0, LARGEST_SUMMAND)
    return random.choice(SUM_QUESTIONS).format(a=a, b=b), f"{a} plus {b} is {a + b}."


def everyday(random: Random, exchanges: int | None = None, *, held: bool = False) -> Session:
    """A chat of 1 to 12 exchanges; it has questions that need tools when tools are offered."""
    session = Session(tools=list(EVERYDAY_TOOLS) if random.random() < 0.7 else [])
    thinks = random.random() < 0.25
    if thinks or random.random() < 0.6:
        session.messages.append({"role": "system", "content": system(random, thinks=thinks)})
    for _ in range(exchanges or random.choice((1, 2, 4, 6, 8, 12))):
        exchange(session, random, thinks=thinks, held=held)
    return session


def quiz(random: Random, exchanges: int | None = None) -> Session:
    """A chat of 8 to 24 short exchanges without tools: mostly sums, and facts."""
    session = Session(messages=[{"role": "system", "content": system(random, thinks=False)}])
    for _ in range(exchanges or random.randint(8, 24)):
        text, answer = question(random, addition if random.random() < 0.75 else fact, held=False)
        session.ask(text)
        session.say(answer)
    return session


def system(random: Random, *, thinks: bool) -> str:
    """A system prompt. The model thinks exactly when it is told to, so that a test can choose."""
    text = random.choice(SYSTEMS)
    return f"{text} {THINK}" if thinks else text


def exchange(session: Session, random: Random, *, thinks: bool, held: bool = False) -> None:
    """Append one question and everything up to its answer."""
    kind = random.choice((weather, event, message, fact, addition) if session.tools else (fact, addition))
    text, answer = question(random, kind, held=held)
    session.ask(text)
    if kind in (fact, addition):
        thought = "I know this." if kind is fact else "I add the numbers."
        session.say(answer, thought=thought if thinks else "")
        return
    name, result, reply = _tool_reply(kind.__name__, answer, random)
    session.call(name, answer, result, thought=f"I need {name}." if thinks else "")
    session.say(reply, thought="I have the result." if thinks else "")


def _tool_reply(kind: str, arguments: dict[str, str], random: Random) -> tuple[str, str, str]:
    if kind == "weather":
        sky, high = random.choice(SKIES), random.randint(0, 35)
        reply = f"{arguments['city']} {arguments['day']}: {sky}, up to {high} degrees."
        return "get_weather", json.dumps({**arguments, "sky": sky, "high": high}), reply
    if kind == "event":
        number = random.randrange(100, 1000)
        return "add_event", json.dumps({"event": number}), f"Event {number} with {arguments['who']} is set."
    return "send_message", json.dumps({"sent": True}), f"I told {arguments['to']}: {arguments['text']}."
