"""The same JSON values in another form, also inside the text of a reply."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from profiler.causes.same_values import objects_in, same_values, tool_name, tool_names_in

VALUES = st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=9) | st.booleans(), max_size=4)


@given(VALUES)
def test_spaces_order_and_escapes_do_not_matter(value: dict[str, object]) -> None:
    old = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    new = json.dumps(dict(reversed(value.items())), ensure_ascii=True)
    assert same_values(f"I call it. {old}</tool_call>", f"I call it. {new}</tool_call><|im_end|>")


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ('read{"a":1}', '{"name": "read", "arguments": {"a": 1}}', True),
        ('{"name": "read", "arguments": "{\\"a\\": 1}"}', '{"a": 1}', True),
        ('{"a": 1}', '{"a": 2}', False),
        ('{"a": 1}{"b": 2}', '{"a":1} {"b":2}', True),
        ('{"a": 1}{"b": 2}', '{"a":1}', False),
        ("{broken", "{ broken", True),
        ("{broken", "{other", False),
        ("", "", False),
        ("{" * 2000, "[" * 2000, False),
    ],
)
def test_values_are_compared_as_far_as_they_reach(old: str, new: str, same: bool) -> None:
    assert same_values(old, new) is same


def test_broken_objects_are_left_out() -> None:
    assert objects_in('{x} {"b": 1, "a": 2} {') == ['{"a":2,"b":1}']


@pytest.mark.parametrize(
    ("tool", "name"), [({"function": {"name": "a"}}, "a"), ({"name": "a"}, "a"), ({"function": 7}, ""), (None, "")]
)
def test_names_of_tools(tool: object, name: str) -> None:
    assert tool_name(tool) == name
    assert tool_names_in(json.dumps([tool])) == ([name] if name else [])
    assert tool_names_in("no JSON") == []
