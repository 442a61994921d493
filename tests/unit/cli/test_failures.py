"""What goes wrong outside creditgate ends with advice and exit status 2, not as its own bug."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import creditgate
import pricing.price_map
import pricing.tokens
from pricing.price_map import load_price_map
from pricing.tokens import load_encoding
from runtime.cli.failures import report
from tests.harness.command_line import Home, new_home

ERRORS = [
    error
    for error in (getattr(creditgate, name) for name in creditgate.__all__)
    if inspect.isclass(error) and issubclass(error, creditgate.CreditgateError)
]
NOBODY = "redis://127.0.0.1:1"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return new_home(tmp_path, NOBODY, "http://127.0.0.1:1")


@pytest.fixture
def without_litellm(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    caches = (load_price_map.cache_clear, load_encoding.cache_clear)
    for module in (pricing.price_map, pricing.tokens):
        monkeypatch.setattr(module, "find_spec", lambda name: None)
    for clear in caches:
        clear()
    yield
    for clear in caches:
        clear()


def test_a_short_installation_key_is_a_file_to_be_restored(home: Home) -> None:
    folder = home.folder / "creditgate-data"
    folder.mkdir()
    (folder / "installation.key").write_bytes(b"short")

    ended = home.invoke("balance", "--account", "acme")

    assert ended.status == 2
    assert "the installation key has 5 bytes and needs at least 16. Restore" in ended.stderr
    assert "itself failed" not in ended.stderr


@pytest.mark.usefixtures("without_litellm")
def test_a_missing_price_map_says_to_reinstall_litellm(home: Home) -> None:
    ended = home.invoke("models", "--json")

    assert ended.status == 2
    assert ended.stderr == "Error: the installed litellm has no price map: reinstall litellm\n"
    assert json.loads(ended.stdout)["error"]["kind"] == "PriceMapMissing"


@pytest.mark.usefixtures("without_litellm")
def test_a_missing_vocabulary_says_to_reinstall_litellm(home: Home) -> None:
    ended = home.invoke("models", "--action", "route_message")

    assert ended.status == 2
    assert "the installed litellm has no vocabulary o200k_base: reinstall litellm" in ended.stderr
    assert "itself failed" not in ended.stderr


@pytest.mark.parametrize("kind", ERRORS)
def test_no_error_of_ours_is_told_as_a_bug(
    kind: type[creditgate.CreditgateError], capsys: pytest.CaptureFixture[str]
) -> None:
    error = kind.__new__(kind, "the card is on the table")
    # What some of them carry beside their message.
    vars(error).update(
        account_id="acme",
        field="person_id",
        mistakes=[],
        reason=creditgate.FallbackReason.ACCOUNT_CLOSED,
        reference="the card is on the table",
        stored="p1",
    )

    status = report(click.Context(click.Command("run")), error)

    assert status == 2
    told = capsys.readouterr().err
    assert told.startswith("Error: ")
    assert "itself failed" not in told
