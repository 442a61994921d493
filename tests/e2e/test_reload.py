"""SIGHUP in a real run: the config is read again, or a lost terminal ends the run."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.harness.command_line import PATIENCE_S, PROCESS_ENV, Home, wait_until

pytestmark = pytest.mark.long


@contextmanager
def running(home: Home, stdin: int) -> Iterator[subprocess.Popen[bytes]]:
    """Start a run that takes a while, in a session of its own: without a controlling terminal."""
    home.open_account("acme", amount_mc=1_000_000_000)
    out, errors = home.folder / "results.jsonl", home.folder / "errors.txt"
    with errors.open("wb") as stderr:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "runtime.cli", "run", "--action", "route_message"),
                *("--account", "acme", "--people", home.people(20_000), "--out", out.name, "--yes"),
                *("--concurrency", "4"),
            ],
            cwd=home.folder,
            env={**os.environ, **PROCESS_ENV},
            stdin=stdin,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        )
    try:
        wait_until(lambda: out.exists() and out.stat().st_size > 0)
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE_S)


def said(home: Home) -> str:
    return (home.folder / "errors.txt").read_text("utf-8")


def written(home: Home) -> int:
    return (home.folder / "results.jsonl").read_text("utf-8").count("\n")


def test_without_a_terminal_the_config_is_read_again_and_the_new_card_counts(home: Home) -> None:
    config = home.folder / "config.yaml"
    good = config.read_text("utf-8").replace("version: 2026-01", "version: edited")
    with running(home, subprocess.DEVNULL) as process:
        config.write_text(good.replace("output: 300000", "output: expensive"), "utf-8")
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: "the configuration in force stays" in said(home))
        [line] = [line for line in said(home).splitlines() if "stays" in line]
        wrong = next(
            number
            for number, text in enumerate(config.read_text("utf-8").splitlines(), 1)
            if "expensive" in text
        )
        assert f"config.yaml:{wrong}:" in line
        assert "rate_cards[0].rates.writer.output" in line

        config.write_text(good, "utf-8")
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: "config.yaml was read again" in said(home))
        before = written(home)
        wait_until(lambda: written(home) > before + 20)
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 130
    cards = [result["rate_card_version"] for result in home.results().values()]
    assert cards[0] == "2026-01"
    assert cards[-1] == "edited"
    versions = {result["action_version"] for result in home.results().values()}
    assert len(versions) == 1
    balance = home.balance("acme")
    assert balance.open_reservations == 0
    assert balance.conserved


def test_with_a_terminal_a_hangup_ends_the_run(home: Home) -> None:
    ours, theirs = pty.openpty()
    try:
        with running(home, theirs) as process:
            process.send_signal(signal.SIGHUP)
            assert process.wait(PATIENCE_S) == 130
    finally:
        os.close(ours)
        os.close(theirs)
    assert "Stopping" in said(home)
    assert home.balance("acme").open_reservations == 0
