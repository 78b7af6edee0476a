"""Keys from the environment, and which model is meant."""

from __future__ import annotations

import msgspec
import pytest

from backends.base import EngineFault, RequestRejected, Target, TargetError
from backends.http_chat.access import address_of, key_of, model_entry
from backends.http_chat.connection import Connection
from tests.backends.recorded_http import Playing, serving

NAME = "OPENAI_API_KEY"


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(NAME, raising=False)
    monkeypatch.delenv("OTHER_KEY", raising=False)


def test_an_address_loses_its_v1_and_must_be_there() -> None:
    assert address_of(Target("openai", url="https://a.example/api/v1/"), "") == "https://a.example/api"
    with pytest.raises(TargetError) as caught:
        address_of(Target("openai", model="m"), "http://127.0.0.1:8000")
    assert caught.value.hint == "openai:http://127.0.0.1:8000"


@pytest.mark.parametrize(
    ("url", "named", "expected"),
    [
        ("http://127.0.0.1:8000", None, "default"),
        ("https://a.example", None, "default"),
        ("http://192.0.2.7:8000", None, None),
        ("http://192.0.2.7:8000", "OTHER_KEY", "other"),
        ("https://a.example", "OTHER_KEY", "other"),
        ("https://a.example", "none", None),
    ],
)
def test_which_key_goes_where(
    url: str, named: str | None, expected: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default key is not shown to a machine elsewhere over plain http."""
    monkeypatch.setenv(NAME, "default")
    monkeypatch.setenv("OTHER_KEY", "other")
    assert key_of(url, named, NAME) == expected


def test_a_key_is_needed_elsewhere_and_where_it_is_named() -> None:
    assert key_of("http://localhost:1", None, NAME) is None
    for url, named in (("https://a.example", None), ("http://localhost:1", "OTHER_KEY")):
        with pytest.raises(TargetError, match=named or NAME):
            key_of(url, named, NAME)


def listed(*names: str) -> dict[str, bytes]:
    return {"/v1/models": msgspec.json.encode({"data": [{"id": name, "n": 1} for name in names]})}


def entry(answers: dict[str, bytes], wanted: str | None) -> dict[str, object]:
    with serving(Playing(answers)) as server:
        connection = Connection(server.url, "openai", 5.0)
        try:
            return model_entry(connection, wanted, "openai")
        finally:
            connection.close()


def test_the_only_model_needs_no_name() -> None:
    assert entry(listed("a"), None) == {"id": "a", "n": 1}
    assert entry(listed("a", "b"), "b") == {"id": "b", "n": 1}
    assert entry(listed("a"), "hidden") == {"id": "hidden"}
    assert entry({}, "hidden") == {"id": "hidden"}


def test_several_models_are_listed() -> None:
    with pytest.raises(TargetError, match="serves 2 models: a, b") as caught:
        entry(listed("a", "b"), None)
    assert str(caught.value.hint).endswith("#a")
    with pytest.raises(TargetError, match="no models"):
        entry(listed(), None)


def test_a_server_that_is_none_is_said() -> None:
    with pytest.raises(RequestRejected):
        entry({}, None)
    with pytest.raises(EngineFault, match="lists no models"):
        entry({"/v1/models": b'{"data": [3]}'}, None)
