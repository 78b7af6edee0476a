"""The services that the pack asks for: what their paths, fields, status codes and parameters are. Serves nothing.

Rules go round with the instance's number, so that neighbours differ in most, and a service written from memory fails.
"""

from __future__ import annotations

from random import Random
from typing import Any, Literal

import msgspec

__all__ = ["Api", "api_of"]

_RULES: dict[str, tuple[Any, ...]] = {
    "things": (("notes", "note"), ("memos", "memo"), ("recipes", "recipe"), ("cards", "card")),
    "fields": (("title", "body"), ("subject", "text"), ("name", "content"), ("heading", "details")),
    "prefix": ("", "/api", "/v1", "/store"),
    "create_status": (201, 200, 201, 200),
    "delete_status": (204, 200, 204, 200),
    "invalid_status": (400, 422, 400, 422),
    "update_method": ("PUT", "PATCH", "PATCH", "PUT"),
    "error_key": ("error", "message", "detail", "problem"),
    "list_keys": (("items", "total"), ("results", "count"), ("data", "size"), ("rows", "all")),
    "paging": ("page", "offset", "after", "offset"),
    "newest_first": (False, True, True, False),
    "search": ("/search", "q", "/find", "search"),
    "word_prefix": ("star", "parameter", "star", "tilde"),
    "longest_title": (60, 80, 100, 120),
    "page_size": (10, 20, 25, 50),
}


class Api(msgspec.Struct, frozen=True):
    """One service.

    `things` are the resource's plural and singular, `fields` the name of the required short field and of the optional
    long one, `list_keys` where a list's entries and their number stand. `search` is a path below the prefix, or a
    parameter of the list; `word_prefix` is how a query asks for beginnings of words.
    """

    things: tuple[str, str]
    fields: tuple[str, str]
    prefix: str
    create_status: int
    delete_status: int
    invalid_status: int
    update_method: Literal["PUT", "PATCH"]
    error_key: str
    list_keys: tuple[str, str]
    paging: Literal["page", "offset", "after"]
    newest_first: bool
    search: str
    word_prefix: Literal["star", "parameter", "tilde"]
    longest_title: int
    page_size: int

    @property
    def path(self) -> str:
        """Where the list is."""
        return f"{self.prefix}/{self.things[0]}"

    @property
    def search_url(self) -> str:
        """A search, up to its query."""
        return f"{self.prefix}{self.search}?q=" if self.search.startswith("/") else f"{self.path}?{self.search}="

    def paging_text(self) -> str:
        """The paging rules in words."""
        size = f"by default {self.page_size}"
        if self.paging == "page":
            return f"`page` (from 1, by default 1) and `per_page` ({size})"
        if self.paging == "offset":
            return f"`offset` (how many are left out, by default 0) and `limit` ({size})"
        return f"`after` (an `id`: the list goes on behind it; without it, from the start) and `limit` ({size})"

    def prefix_text(self) -> str:
        """How beginnings of words are asked for, in words."""
        if self.word_prefix == "parameter":
            return "With the parameter `prefix=1` each word of the query stands for all words that begin with it"
        mark = "*" if self.word_prefix == "star" else "~"
        return f"A word of the query that ends with `{mark}` stands for all words that begin with it"

    def header(self) -> str:
        """The constants that the pack's own service opens with."""
        values = {
            "PATH": self.path,
            "SEARCH_PATH": self.prefix + self.search if self.search.startswith("/") else None,
            "SEARCH_PARAMETER": "q" if self.search.startswith("/") else self.search,
            "TITLE": self.fields[0],
            "BODY": self.fields[1],
            "LONGEST_TITLE": self.longest_title,
            "CREATED": self.create_status,
            "DELETED": self.delete_status,
            "INVALID": self.invalid_status,
            "UPDATE": self.update_method,
            "ERROR": self.error_key,
            "ENTRIES": self.list_keys[0],
            "TOTAL": self.list_keys[1],
            "PAGING": self.paging,
            "PAGE_SIZE": self.page_size,
            "NEWEST_FIRST": self.newest_first,
            "PREFIX_MARK": {"star": "*", "tilde": "~", "parameter": None}[self.word_prefix],
        }
        return "".join(f"{name} = {value!r}\n" for name, value in values.items())


def api_of(number: int, seed: int) -> Api:
    """The service of an instance, counted from 1."""
    chosen: dict[str, Any] = {}
    for key, options in _RULES.items():
        order = list(range(len(options)))
        Random(f"{seed}:{key}:{(number - 1) // len(order)}").shuffle(order)
        chosen[key] = options[order[(number - 1) % len(order)]]
    return Api(**chosen)
