"""Whatever is typed, read or answered, nothing that steers a terminal reaches stdout or stderr."""

from __future__ import annotations

import io
import json
import logging
import sys
import unicodedata
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from runtime.cli import cli
from runtime.cli.terminal import harmless, harmless_output
from runtime.cli.views.progress import Display
from tests.harness.command_line import Home, new_home

BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
NASTY = f"\x1b[2J\x1b]0;owned\x07\r\x00\x08\x7f\x9b31m\x85{BIDI}\ud800é漢"
TEXTS = st.text(st.one_of(st.characters(), st.sampled_from(NASTY)))


def is_harmful(char: str) -> bool:
    kind = unicodedata.category(char)
    return (kind == "Cc" and char not in "\n\t") or kind in ("Cs", "Zl", "Zp") or char in BIDI


def assert_harmless(*texts: str) -> None:
    for text in texts:
        assert not [char for char in text if is_harmful(char)]


@given(TEXTS)
def test_no_text_keeps_what_steers_a_terminal_and_all_else_stays(text: str) -> None:
    shown = harmless(text)
    assert_harmless(shown)
    shown.encode()
    if not any(map(is_harmful, text)):
        assert set(text) - set(shown) <= set("\u206a\u206b\u206c\u206d\u206e\u206f")


@given(TEXTS)
def test_json_means_the_same_afterwards(text: str) -> None:
    assert json.loads(harmless(json.dumps({text: text}, ensure_ascii=False))) == {text: text}


@given(TEXTS)
def test_all_ways_to_the_terminal_are_harmless(text: str) -> None:
    streams = [io.TextIOWrapper(io.BytesIO(), "utf-8", newline="") for _ in range(2)]
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = streams
    try:
        with harmless_output(), Display() as display:
            click.echo(text)
            click.echo(text, err=True)
            sys.stdout.write(text)
            display.say(text)
            logging.getLogger("creditgate").warning("%s", text)
            assert logging.lastResort is not None
            logging.lastResort.emit(logging.makeLogRecord({"msg": text}))
    finally:
        sys.stdout, sys.stderr = before
    for stream in streams:
        stream.flush()
        assert isinstance(stream.buffer, io.BytesIO)
        written = stream.buffer.getvalue().decode()
        assert written
        assert_harmless(written)


def test_a_stream_that_can_not_write_a_letter_shows_its_number() -> None:
    stream = io.TextIOWrapper(io.BytesIO(), "ascii", newline="")
    before, sys.stdout = sys.stdout, stream
    try:
        with harmless_output():
            click.echo("né\x9b")
    finally:
        sys.stdout = before
    stream.flush()
    assert stream.buffer.getvalue() == b"n\\xe9\\u009b\n"


def test_the_streams_are_as_before_afterwards() -> None:
    before = sys.stdout, sys.stderr
    with harmless_output():
        assert sys.stdout is not before[0]
    assert (sys.stdout, sys.stderr) == before


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return new_home(tmp_path, "redis://127.0.0.1:1", "http://127.0.0.1:1")


SHOWN = "\x1b[2J\x9b\u202e"
TYPED = [
    (SHOWN,),
    (f"--{SHOWN}",),
    ("run", f"--{SHOWN}"),
    ("balance", "--account", SHOWN),
    ("balance", "--account", SHOWN, "--json"),
    ("balance", "--config", f"{SHOWN}.yaml", "--account", "acme"),
    ("preview", "--account", "acme", "--action", SHOWN),
    ("run", "--account", "acme", "--action", "route_message", "--people", f"{SHOWN}.csv"),
    ("run", "--account", "acme", "--action", "route_message", "--people", "columns.csv"),
    ("estimate", "--action", "route_message", "--people", "columns.csv"),
    ("check-config", "--config", "keys.yaml"),
    ("check-config", "--config", "keys.yaml", "--json"),
    ("--debug", "balance", "--account", SHOWN),
    ("rates", "suggest", SHOWN, "--markup", "1.3"),
]


@pytest.mark.parametrize("arguments", TYPED)
def test_messages_about_what_was_typed_and_read_are_harmless(
    home: Home, arguments: tuple[str, ...]
) -> None:
    home.write("columns.csv", f"person_id,{SHOWN}\np1,hello\n")
    keys = json.dumps(
        {"version": 1, "plans": {}, f"a{SHOWN}": 1, "models": {SHOWN: {SHOWN: SHOWN}}}
    )
    home.write("keys.yaml", keys)

    ended = home.invoke(*arguments)

    assert ended.status in (2, 70) or arguments[0] == "--debug"
    assert_harmless(ended.stdout, ended.stderr)
    assert ended.stderr or "--json" in arguments
    if "--json" in arguments:
        assert isinstance(ended.json, dict)


def test_an_escape_is_seen_where_there_is_no_terminal_too(home: Home) -> None:
    home.write("keys.yaml", json.dumps({"version": 1, "pl\x1b[31mans": {}}))
    ended = home.invoke("check-config", "--config", "keys.yaml")
    assert "pl\\u001b[31mans: is not a known key" in ended.stdout + ended.stderr


def test_debug_shows_the_trace_and_keeps_the_exit_status(home: Home) -> None:
    ended = home.invoke("--debug", "balance", "--account", "acme")
    assert ended.status == 2
    assert "Traceback" in ended.stderr


def test_help_can_be_shown() -> None:
    assert CliRunner().invoke(cli, ["--help"]).exit_code == 0
