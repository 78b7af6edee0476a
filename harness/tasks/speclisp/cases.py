"""The 58 behaviours that a dialect's tests pin down, each as a program and what it prints or how it fails.

What is expected is worked out here, from the rules of the dialect and without an interpreter. Called again with another
generator, the same behaviours come with other values and names: those are the hidden cases.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import msgspec

from harness.tasks.speclisp.dialect import Dialect

__all__ = ["TABLES", "Case", "cases"]

TABLES = ("values", "forms", "functions")
"""The tables of a suite, each a file of tests."""

_NAMES = tuple(
    "apple birch cedar delta ember fjord grove heron inlet joker kiosk lemon mango noble olive pearl".split()
)
_TEXTS = tuple("harbour window saddle copper meadow lantern thunder orchard blanket compass gravel marble".split())
_DEEP = 6000


class Case(msgspec.Struct, frozen=True):
    """A program; what it prints, or the kind of its error."""

    name: str
    source: str
    prints: str | None = None
    error: str | None = None

    @property
    def expected(self) -> dict[str, str | None]:
        """What the verifier's child has to answer."""
        return {"prints": self.prints} if self.error is None else {"error": self.error}


class _Maker:
    """Values and names of one table, and its cases in the dialect's words."""

    def __init__(self, dialect: Dialect, rng: Random) -> None:
        self.dialect = dialect
        self.rng = rng

    def names(self, count: int) -> list[str]:
        return self.rng.sample(_NAMES, count)

    def numbers(self, count: int, low: int = 2, high: int = 99) -> list[int]:
        return self.rng.sample(range(low, high), count)

    def texts(self, count: int) -> list[str]:
        return self.rng.sample(_TEXTS, count)

    def let(self, bindings: list[tuple[str, str]], body: str) -> str:
        if self.dialect.let_flat:
            return f"(let ({' '.join(f'{name} {value}' for name, value in bindings)}) {body})"
        return f"(let ({' '.join(f'({name} {value})' for name, value in bindings)}) {body})"

    def prints(self, name: str, source: str, value: int | bool | str) -> Case:
        """A case that prints a value; a text is what is printed, in our words."""
        text = ("true" if value else "false") if isinstance(value, bool) else str(value)
        return Case(name, self.dialect.translated(source), prints=self.dialect.translated(text))

    def fails(self, name: str, source: str, kind: str) -> Case:
        return Case(name, self.dialect.translated(source), error=self.dialect.errors[kind])

    def no_branch(self, name: str, source: str) -> Case:
        if self.dialect.no_else == "syntax":
            return self.fails(name, source, "syntax")
        values: dict[str, int | bool | str] = {"empty": "()", "false": False, "zero": 0}
        return self.prints(name, source, values[self.dialect.no_else])


def cases(dialect: Dialect, rng: Random) -> dict[str, tuple[Case, ...]]:
    """The cases of each of the `TABLES`, in order, with the generator's values and names."""
    make = _Maker(dialect, rng)
    parts = {
        "values": (_literals, _arithmetic, _comparison, _texts),
        "forms": (_choices, _bindings, _lists),
        "functions": (_functions, _errors),
    }
    return {table: tuple(case for part in parts[table] for case in part(make)) for table in TABLES}


def _literals(m: _Maker) -> Iterator[Case]:
    a, b, c = m.numbers(3)
    word, other = m.texts(2)
    yield m.prints("integer", f"{a}", a)
    yield m.prints("text", f'"{word} {a}"', f'"{word} {a}"')
    yield m.prints("text-escapes", rf'"{word}\n\"{other}\""', rf'"{word}\n\"{other}\""')
    yield m.prints("booleans", f"(list true {c} false)", f"(true {c} false)")
    yield m.prints("comment", f"{b} comment {word} (\n{c} comment {other}", c)


def _arithmetic(m: _Maker) -> Iterator[Case]:
    d = m.dialect
    a, b, c, e = m.numbers(4)
    yield m.prints("add", f"(+ {a} {b} {c})", a + b + c)
    yield m.prints("nested", f"(* {a} (+ {b} (- {c} {e})))", a * (b + c - e))
    yield m.prints(
        "big-integers", f"(* {a}{b}{c}{e}{a}{b} {c}{e}{a}{b}{c})", int(f"{a}{b}{c}{e}{a}{b}") * int(f"{c}{e}{a}{b}{c}")
    )
    minus = f"(- {e})"
    yield m.prints("minus-of-one", minus, -e) if d.unary_minus else m.fails("minus-of-one", minus, "arity")
    low, step = m.rng.choice((3, 5, 7, 9)), m.rng.randrange(3, 9)
    over = low * step + m.rng.randrange(1, low)
    yield m.prints("divide", f"(div {over} {low})", d.divided(over, low))
    yield m.prints("divide-negative", f"(div -{over} {low})", d.divided(-over, low))
    yield m.prints("divide-by-negative", f"(div {over} -{low})", d.divided(over, -low))
    yield m.prints("remainder", f"(mod -{over} {low})", -over - low * d.divided(-over, low))


def _comparison(m: _Maker) -> Iterator[Case]:
    a, b, c = sorted(m.numbers(3))
    yield m.prints("less", f"(< {b} {a})", False)
    chain = f"(< {a} {b} {c})"
    yield m.prints("chain", chain, True) if m.dialect.chains else m.fails("chain", chain, "arity")
    yield m.prints("equal-lists", f"(equal? (list {a} (list {b})) (list {a} (list {b})))", True)
    yield m.prints("equal-of-two-kinds", f'(equal? {a} "{a}")', False)


def _choices(m: _Maker) -> Iterator[Case]:
    d = m.dialect
    a, b, c = m.numbers(3)
    (name,) = m.names(1)
    yield m.prints("if", f"(if (> {a} {b}) {a} {b})", max(a, b))
    for what, source in (("zero", f"(- {a} {a})"), ("empty_list", "(list)"), ("empty_string", '""')):
        taken = b if what in d.falsy else a
        yield m.prints(f"if-{what.replace('_', '-')}", f"(if {source} {a} {b})", taken)
    yield m.no_branch("if-without-else", f"(if (< {max(a, b)} {min(a, b)}) {c})")
    yield m.prints("and", f"(and {a} {b})", b if d.logic_gives_value else True)
    yield m.prints("or", f"(or false {c} {a})", c if d.logic_gives_value else True)
    yield m.prints("short-circuit", f"(and (= {a} {a + 1}) ({name} {b}))", False)
    yield m.prints("not", f"(not (= {a} {b}))", True)
    yield m.prints("cond", f"(cond ((= {a} {b}) {b}) ((< 0 {c}) {c}) (else {a}))", c)


def _texts(m: _Maker) -> Iterator[Case]:
    d = m.dialect
    a, b, c = m.texts(3)
    first, count = m.rng.randrange(1, 3), m.rng.randrange(2, 4)
    start = first + d.index_base
    last = count if d.counted else start + count
    yield m.prints("text-length", f'(str-len "{a} {b}")', len(a) + 1 + len(b))
    yield m.prints("text-join", f'(concat "{a}" "-" "({c})")', f'"{a}-({c})"')
    yield m.prints("text-part", f'(substr "{b}" {start} {last})', f'"{b[first : first + count]}"')


def _lists(m: _Maker) -> Iterator[Case]:
    a, b, c = m.numbers(3)
    (text,) = m.texts(1)
    one, two = m.names(2)
    yield m.prints("list", f'(list {a} "{text}" true (list))', f'({a} "{text}" true ())')
    yield m.prints("car", f"(car (list {b} {c}))", b)
    yield m.prints("cdr", f"(cdr (list {a} {b} {c}))", f"({b} {c})")
    yield m.prints("cons", f"(cons {a} (cons (list {b}) (list)))", f"({a} ({b}))")
    yield m.prints("null", f"(null? (cdr (list {c})))", True)
    yield m.prints("quote", f"(quote ({one} {a} ({two})))", f"({one} {a} ({two}))")
    yield m.prints("quote-mark", f"(car '({two} {b}))", two)
    empty = f"(car (cdr (list {c})))"
    yield (
        m.prints("car-of-empty", empty, "()")
        if m.dialect.car_of_empty == "empty"
        else m.fails("car-of-empty", empty, "empty")
    )


def _bindings(m: _Maker) -> Iterator[Case]:
    d = m.dialect
    a, b, c = m.numbers(3)
    x, y = m.names(2)
    gives: dict[str, int | str] = {"value": a, "name": x, "empty": "()"}
    yield m.prints("define", f"(def {x} {a}) (def {y} (+ {x} {b})) (* {y} {c})", (a + b) * c)
    yield m.prints("define-gives", f"(def {x} {a})", gives[d.define_gives])
    yield m.prints("let", m.let([(x, f"{a}"), (y, f"{b}")], f"(- {x} {y})"), a - b)
    seen = a + b if d.let_sequential else c + b
    inner = m.let([(x, f"{a}"), (y, f"(+ {x} {b})")], y)
    yield m.prints("let-order", f"(def {x} {c}) {inner}", seen)
    yield m.prints("let-is-local", f"(def {x} {a}) {m.let([(x, f'{b}')], f'(* {x} {c})')} {x}", a)
    yield m.prints("assign", f"(def {x} {a}) (do (set! {x} (+ {x} {b})) (* {x} 2))", (a + b) * 2)


def _functions(m: _Maker) -> Iterator[Case]:
    a, b, c = m.numbers(3, 2, 12)
    f, g, x, y = m.names(4)
    yield m.prints("call", f"((fn ({x} {y}) (- {x} {y})) {a} {b})", a - b)
    yield m.prints("closure", f"(def {f} (fn ({x}) (fn ({y}) (+ {x} {y})))) (({f} {a}) {b})", a + b)
    counter = f"(def {f} {m.let([(x, f'{a}')], f'(fn () (do (set! {x} (+ {x} {b})) {x}))')})"
    yield m.prints("counter", f"{counter} ({f}) ({f}) ({f})", a + 3 * b)
    factorial = f"(def {f} (fn ({x}) (if (< {x} 2) 1 (* {x} ({f} (- {x} 1))))))"
    yield m.prints("recursion", f"{factorial} ({f} {c})", _factorial(c))
    scope = f"(def {x} {a}) (def {f} (fn () {x})) (def {g} (fn ({x}) ({f}))) ({g} {b})"
    yield m.prints("lexical-scope", scope, a)
    rest = f"((fn ({x} &rest {y}) (cons (+ {x} {a}) {y})) {a} {b} {c})"
    yield m.prints("rest-parameter", rest, f"({2 * a} {b} {c})")
    deep = _DEEP + a
    loop = f"(def {f} (fn ({x} {y}) (if (= {x} 0) {y} ({f} (- {x} 1) (+ {y} {b}))))) ({f} {deep} 0)"
    yield m.prints("deep-tail-call", loop, deep * b)
    mapped = f"(def {f} (fn ({g} {x}) (cond ((null? {x}) (list)) (else (cons ({g} (car {x})) ({f} {g} (cdr {x})))))))"
    yield m.prints("map", f"{mapped} ({f} (fn ({y}) (* {y} {y})) (list {a} {b} {c}))", f"({a * a} {b * b} {c * c})")


def _errors(m: _Maker) -> Iterator[Case]:
    a, b = m.numbers(2)
    (x,) = m.names(1)
    yield m.fails("error-unbound", f"(+ {a} {x})", "unbound")
    yield m.fails("error-arity", f"((fn ({x}) {x}) {a} {b})", "arity")
    yield m.fails("error-type", f"(+ {b} true)", "type")
    yield m.fails("error-zero", f"(div {a} (- {b} {b}))", "zero")
    yield m.fails("error-call", f"({a} {b})", "call")
    yield m.fails("error-not-closed", f"(+ {a} (* {b} 2)", "syntax")


def _factorial(n: int) -> int:
    return 1 if n < 2 else n * _factorial(n - 1)
