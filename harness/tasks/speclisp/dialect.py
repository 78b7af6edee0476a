"""The Lisps that the pack asks for: what words, error names and rules each has. Holds no tests and no interpreter.

No two instances of one seed are alike, and each rule differs between some of them, so that what a model remembers of
Scheme or Clojure solves none: it has to be read off the tests.
"""

from __future__ import annotations

import re
from random import Random
from typing import Any

import msgspec

__all__ = ["Dialect", "dialect_of"]

_WORDS = {
    "def": ("def", "define", "bind", "name"),
    "fn": ("lambda", "fn", "func", "proc"),
    "let": ("let", "with", "where", "given"),
    "do": ("do", "begin", "seq", "progn"),
    "quote": ("quote", "literal", "as-is", "data"),
    "if": ("if", "when", "test", "?"),
    "cond": ("cond", "case", "choose", "branch"),
    "else": ("else", "otherwise", "default", "any"),
    "set!": ("set!", "assign!", "update", "<-"),
    "car": ("car", "head", "first", "fst"),
    "cdr": ("cdr", "tail", "rest", "snd"),
    "cons": ("cons", "push", "prepend", "pair"),
    "list": ("list", "tuple", "vec", "items"),
    "null?": ("null?", "empty?", "nil?", "none?"),
    "equal?": ("equal?", "same?", "is?", "eq"),
    "str-len": ("str-len", "string-length", "size", "chars"),
    "concat": ("str-append", "concat", "join", "++"),
    "substr": ("substr", "slice", "cut", "mid"),
    "div": ("/", "div", "quot", "over"),
    "mod": ("mod", "rem", "%", "modulo"),
    "true": ("#t", "true", "yes", "T"),
    "false": ("#f", "false", "no", "F"),
    "&rest": (".", "&", "&rest", "..."),
    "comment": (";", "--", "~", ";;"),
}
_TOGETHER = {"false": "true", "cdr": "car"}
"""Words that come in pairs: the choice for the one is that for the other."""
_ERRORS = {
    "unbound": ("unbound", "no-such-name", "undefined", "unknown-name"),
    "arity": ("arity", "wrong-count", "argument-count", "bad-call"),
    "type": ("type", "wrong-type", "bad-type", "mismatch"),
    "zero": ("zero-division", "div-by-zero", "division", "infinite"),
    "call": ("not-callable", "cannot-call", "not-a-function", "uncallable"),
    "syntax": ("syntax", "parse", "malformed", "unreadable"),
    "empty": ("empty", "empty-list", "no-head", "exhausted"),
}
_RULES: dict[str, tuple[Any, ...]] = {
    "division": ("floor", "truncate", "ceiling", "euclid"),
    "falsy": ((), ("zero",), ("empty_list",), ("zero", "empty_list", "empty_string")),
    "let_flat": (True, False, False, True),
    "let_sequential": (False, True, False, True),
    "logic_gives_value": (True, False, True, False),
    "no_else": ("empty", "false", "syntax", "zero"),
    "define_gives": ("value", "name", "empty", "name"),
    "car_of_empty": ("error", "empty", "error", "error"),
    "unary_minus": (True, True, False, True),
    "chains": (True, False, True, False),
    "index_base": (0, 1, 0, 1),
    "counted": (False, True, True, False),
}
_DIVISION_CODE = {
    "floor": ("return a // b",),
    "truncate": ("quotient = abs(a) // abs(b)", "return quotient if (a < 0) == (b < 0) else -quotient"),
    "ceiling": ("return -(-a // b)",),
    "euclid": ("quotient = a // b", "return quotient + 1 if a - quotient * b < 0 else quotient"),
}


class Dialect(msgspec.Struct, frozen=True):
    """One Lisp. `words` and `errors` are by their names here; a test's source is written with ours and `translated`.

    `falsy` is what counts as false beside false itself. `let_flat`: `(let (x 1 y 2) …)` in place of
    `(let ((x 1) (y 2)) …)`; `let_sequential`: a value sees the names before it. `no_else` is what a conditional without
    a chosen branch gives; `index_base` and `counted` say how a part of a text is named: by its first place and either
    the number of characters or the place after the last.
    """

    words: dict[str, str]
    errors: dict[str, str]
    division: str
    falsy: tuple[str, ...]
    let_flat: bool
    let_sequential: bool
    logic_gives_value: bool
    no_else: str
    define_gives: str
    car_of_empty: str
    unary_minus: bool
    chains: bool
    index_base: int
    counted: bool

    def translated(self, source: str) -> str:
        """A program in our words, in those of the dialect; texts in quotes stay."""
        parts = re.split(r'("(?:\\.|[^"\\])*")', source)
        return "".join(
            part if part.startswith('"') else re.sub(r"[^\s()']+", lambda m: self.words.get(m[0], m[0]), part)
            for part in parts
        )

    def divided(self, a: int, b: int) -> int:
        """The integer quotient by the dialect's rule; the remainder is `a - b * divided(a, b)`."""
        exact = a / b
        if self.division == "truncate":
            return int(exact)
        low = a // b
        if self.division == "floor" or low * b == a:
            return low
        return low + 1 if self.division == "ceiling" or a - low * b < 0 else low

    def header(self) -> str:
        """The constants that the pack's interpreter opens with."""
        lines = [f"{name} = {self.words[word]!r}" for name, word in _CONSTANTS.items()]
        lines += [f"{name.upper()} = {kind!r}" for name, kind in self.errors.items() if name != "empty"]
        empty = None if self.car_of_empty == "empty" else self.errors["empty"]
        no_else: dict[str, Any] = {"empty": [], "false": False, "syntax": None, "zero": 0}
        lines += [
            f"EMPTY = {empty!r}",
            *(f"{what.upper()}_IS_FALSE = {what in self.falsy}" for what in ("zero", "empty_list", "empty_string")),
            f"LET_FLAT = {self.let_flat}",
            f"LET_SEQUENTIAL = {self.let_sequential}",
            f"LOGIC_GIVES_VALUE = {self.logic_gives_value}",
            f"NO_ELSE = {no_else[self.no_else]!r}",
            f"DEFINE_GIVES = {self.define_gives!r}",
            f"UNARY_MINUS = {self.unary_minus}",
            f"CHAINS = {self.chains}",
            f"INDEX_BASE = {self.index_base}",
            f"COUNTED = {self.counted}",
        ]
        return "\n".join(lines) + "\n"

    def division_code(self) -> str:
        """The body of the interpreter's division."""
        return "".join(f"    {line}\n" for line in _DIVISION_CODE[self.division])


_CONSTANTS = {
    "DEFINE": "def", "LAMBDA": "fn", "LET": "let", "DO": "do", "QUOTE": "quote", "IF": "if", "COND": "cond",
    "ELSE": "else", "ASSIGN": "set!", "CAR": "car", "CDR": "cdr", "CONS": "cons", "LIST": "list", "NULL": "null?",
    "EQUAL": "equal?", "LENGTH": "str-len", "CONCAT": "concat", "SUBSTRING": "substr", "DIVIDE": "div",
    "MODULO": "mod", "TRUE": "true", "FALSE": "false", "REST": "&rest", "COMMENT": "comment",
}  # fmt: skip


def dialect_of(number: int, seed: int) -> Dialect:
    """The dialect of an instance, counted from 1. Of four instances in a row no two agree in a rule of four kinds."""

    def chosen(table: dict[str, tuple[Any, ...]]) -> dict[str, Any]:
        taken: dict[str, Any] = {}
        for key, options in table.items():
            order = list(range(len(options)))
            Random(f"{seed}:{_TOGETHER.get(key, key)}:{(number - 1) // len(order)}").shuffle(order)
            taken[key] = options[order[(number - 1) % len(order)]]
        return taken

    return Dialect(words=chosen(_WORDS), errors=chosen(_ERRORS), **chosen(_RULES))
