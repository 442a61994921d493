"""`creditgate run` while nobody can get an answer: what it waits for, says, and does at the end."""

from __future__ import annotations

import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.harness.command_line import Home, end, new_home, wait_until
from tests.harness.mock_process import mock_provider
from tests.harness.servers import OLDEST, Server, free_ports, program

RUN = ("run", "--action", "route_message", "--account", "acme", "--people")


def away(tmp_path: Path, redis_url: str) -> Home:
    [port] = free_ports(1)
    return new_home(tmp_path, redis_url, f"http://127.0.0.1:{port}")


def test_a_run_without_a_provider_waits_and_then_stops_with_status_3(
    tmp_path: Path, redis_url: str
) -> None:
    home = away(tmp_path, redis_url)
    home.open_account("acme", amount_mc=100_000_000)
    people = home.people(200)
    asked = (*RUN, people, "--patience", "1s", "--out", "results.jsonl")

    ended = home.invoke(*asked)
    assert ended.status == 3
    assert "Waiting for" in ended.stderr
    assert "endpoint mock" in ended.stderr
    assert "then the run stops" in ended.stderr
    assert "200 people without a result; nothing was charged for them" in ended.stdout
    command = " ".join(["creditgate", *asked, "--retry-fallbacks"])
    assert command in ended.stdout
    assert home.results() == {}
    balance = home.balance("acme")
    assert (balance.charged_mc, balance.reserved_mc) == (0, 0)

    told = home.invoke(*asked, "--then", "fallback", "--json")
    assert told.status == 0
    assert (told.json["fallback"], told.json["missed"], told.json["remaining"]) == (200, 200, 0)
    assert told.json["gave_up"]["then"] == "fallback"
    assert told.json["gave_up"]["endpoint"] == "mock"
    assert told.json["run_again"].endswith("--json --retry-fallbacks")
    assert len(home.results()) == 200


@pytest.mark.long
def test_a_wrong_key_holds_the_run_and_its_status_and_endpoint_are_told(
    tmp_path: Path, redis_url: str
) -> None:
    with mock_provider(0, "--api-key", "right") as url:
        home = new_home(tmp_path, redis_url, url)
        home.open_account("acme", amount_mc=100_000_000)
        people = home.people(200)
        ended = home.invoke(*RUN, people, "--patience", "1s", "--json")
    assert ended.status == 3
    assert ended.json["people"] == 0
    assert ended.json["gave_up"]["status"] == 401
    assert ended.json["gave_up"]["endpoint"] == "mock"
    assert "401" in ended.stderr


@pytest.mark.long
def test_nobody_of_800_misses_while_the_provider_is_away(tmp_path: Path, redis_url: str) -> None:
    [port] = free_ports(1)
    with mock_provider(port) as url:
        home = new_home(tmp_path, redis_url, url)
        home.open_account("acme", amount_mc=1_000_000_000)
        people = home.people(800)
        out = home.folder / "results.jsonl"
        running = home.start(*RUN, people, "--out", "results.jsonl", "--json")
        wait_until(lambda: out.exists() and out.stat().st_size > 0)
    time.sleep(1.5)
    with mock_provider(port):
        ended = end(running)
    assert ended.status == 0, ended.stderr
    assert (ended.json["model"], ended.json["fallback"]) == (800, 0)
    assert len(home.results()) == 800
    assert "Waiting for" in ended.stderr
    assert "The wait is over" in ended.stderr


@pytest.mark.long
@pytest.mark.parametrize("how", ["frozen", "stopped"])
def test_nobody_of_800_misses_while_redis_is_away_for_3_s(
    tmp_path: Path, mock_url: str, how: str
) -> None:
    server = Server(program(OLDEST), tmp_path / "redis", port=free_ports(1)[0])
    server.start()
    try:
        home = new_home(tmp_path, server.url, mock_url)
        home.open_account("acme", amount_mc=1_000_000_000)
        people = home.people(800)
        out = home.folder / "results.jsonl"
        running = home.start(*RUN, people, "--out", "results.jsonl", "--json")
        wait_until(lambda: out.exists() and out.stat().st_size > 0)
        if how == "frozen":
            server.pause()
            time.sleep(3)
            server.resume()
        else:
            server.stop(signal.SIGKILL)
            time.sleep(3)
            server.start()
        ended = end(running)
        assert ended.status == 0, ended.stderr
        assert (ended.json["model"], ended.json["fallback"]) == (800, 0)
        assert ended.json["balance"]["conserved"]
        balance = home.balance("acme")
        assert balance.charged_mc == sum(r["charged_mc"] for r in home.results().values())
    finally:
        with suppress(OSError):
            server.stop()


@pytest.mark.long
def test_a_run_whose_redis_stays_away_says_what_is_not_known(tmp_path: Path, mock_url: str) -> None:
    server = Server(program(OLDEST), tmp_path / "redis", port=free_ports(1)[0])
    server.start()
    try:
        home = new_home(tmp_path, server.url, mock_url)
        home.open_account("acme", amount_mc=1_000_000_000)
        people = home.people(400)
        out = home.folder / "results.jsonl"
        asked = (*RUN, people, "--out", "results.jsonl", "--patience", "2s")
        running = home.start(*asked)
        wait_until(lambda: out.exists() and out.stat().st_size > 0)
        server.stop(signal.SIGKILL)
        ended = end(running)
        assert ended.status == 3, ended.stderr
        assert "the credit ledger could not be reached" in ended.stdout
        assert "The balance is not known" in ended.stdout
        server.start()
        again = home.run(*asked, "--json")
        assert (again.status, again.json["model"]) == (0, 400)
        assert again.json["balance"]["conserved"]
    finally:
        server.stop()


@pytest.mark.long
def test_ctrl_c_during_a_hold_ends_at_once(tmp_path: Path, redis_url: str) -> None:
    home = away(tmp_path, redis_url)
    home.open_account("acme", amount_mc=100_000_000)
    running = home.start(*RUN, home.people(100))
    assert running.stderr is not None
    said = ""
    while "Waiting for" not in said:
        said = running.stderr.readline()
        assert said, "it ended without a word"
    since_s = time.monotonic()
    running.send_signal(signal.SIGINT)
    ended = end(running)
    assert ended.status == 130
    assert time.monotonic() - since_s < 10
    assert "Traceback" not in ended.stderr
    assert "100 people without a result" in ended.stdout
    assert home.balance("acme").reserved_mc == 0


@pytest.mark.parametrize("patience", ["ten", "-1s", "10", "1d", "9999h", ""])
def test_a_patience_that_is_no_duration_is_refused(home: Home, patience: str) -> None:
    refused = home.invoke(*RUN, home.people(1), "--patience", patience)
    assert refused.status == 2
    assert "--patience" in refused.stderr
