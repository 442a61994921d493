"""`creditgate run --processes N`: real processes, one policy, one progress, one summary."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.harness.command_line import Home, end, new_home, wait_until
from tests.harness.lean_home import lean_home
from tests.harness.mock_process import mock_provider
from tests.harness.servers import OLDEST, Server, free_ports, program

RUN = ("run", "--action", "route_message", "--account", "acme", "--people")
TWO = ("--processes", "2")


def children(process: subprocess.Popen[str]) -> list[int]:
    """Return the processes that execute for a run."""
    found = []
    for folder in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            fields = (folder / "stat").read_text("ascii").rpartition(")")[2].split()
            command = (folder / "cmdline").read_text("utf-8")
            if int(fields[1]) == process.pid and "spawn_main" in command:
                found.append(int(folder.name))
    return found


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def people_once(home: Home) -> dict[str, object]:
    """Return the results by person, each of whom is there once."""
    text = (home.folder / "results.jsonl").read_text("utf-8")
    found = [json.loads(line)["person_id"] for line in text.splitlines()]
    assert len(found) == len(set(found)), "somebody is there twice"
    return dict.fromkeys(found)


@pytest.fixture
def home(tmp_path: Path, redis_url: str, mock_url: str) -> Home:
    """A home whose processes start quickly, and what they had reserved is soon free again."""
    return lean_home(tmp_path, redis_url, mock_url)


def test_two_processes_answer_everybody_once_and_one_process_finds_them_answered(
    home: Home,
) -> None:
    home.open_account("acme", amount_mc=100_000_000)
    people = home.people(60)
    calls = home.calls()

    shared = home.run(*RUN, people, *TWO, "--out", "results.jsonl", "--json")
    assert shared.status == 0, shared.stderr
    assert (shared.json["processes"], shared.json["model"]) == (2, 60)
    assert shared.json["balance"]["conserved"]
    assert home.calls() == calls + 60
    balance = home.balance("acme")
    results = home.results()
    assert len(people_once(home)) == 60
    assert balance.charged_mc == sum(result["charged_mc"] for result in results.values())
    assert shared.json["charged_mc"] == balance.charged_mc
    assert shared.stderr.count("Starting, for 60 people") == 1

    alone = home.invoke(*RUN, people, "--processes", "1", "--out", "results.jsonl", "--json")
    assert (alone.json["replayed"], alone.json["charged_mc"]) == (60, 0)
    assert alone.json["charged_earlier_mc"] == balance.charged_mc
    again = home.results()
    assert {p: r["values"] for p, r in again.items()} == {
        p: r["values"] for p, r in results.items()
    }


@pytest.mark.long
def test_a_conflict_ends_the_run_with_the_same_message_as_in_one_process(home: Home) -> None:
    home.open_account("acme", amount_mc=100_000_000)
    people = home.people(20)
    assert home.invoke(*RUN, people, "--processes", "1").status == 0
    elsewhere = home.run(*RUN, people, *TWO, "--workspace", "other", "--json")
    assert elsewhere.status == 2
    assert "another workspace_id" in elsewhere.json["error"]["message"]
    assert "Traceback" not in elsewhere.stderr
    assert "p0000" not in elsewhere.stdout + elsewhere.stderr


@pytest.mark.long
def test_a_config_that_can_not_be_opened_ends_before_anybody_is_asked(home: Home) -> None:
    config = (home.folder / "config.yaml").read_text("utf-8")
    home.open_account("acme", amount_mc=100_000_000)
    home.write("config.yaml", config.replace("key_prefix:", "timeout_ms: 500\n  key_prefix:"))
    people = home.people(20)
    (home.folder / ".creditgate" / "told").mkdir(parents=True, exist_ok=True)
    (home.folder / ".creditgate").chmod(0o777)
    refused = home.run(*RUN, people, *TWO)
    assert refused.status == 2
    assert "Traceback" not in refused.stderr


@pytest.mark.long
def test_credits_that_run_out_are_told_once_and_the_rest_gets_fallback_values(
    tmp_path: Path, redis_url: str, mock_url: str
) -> None:
    home = new_home(tmp_path, redis_url, mock_url)
    home.open_account("acme", amount_mc=1_000_000)
    ended = home.run(*RUN, home.people(60), *TWO, "--out", "results.jsonl")
    assert ended.status == 0
    assert ended.stderr.count("used up") == 1
    assert "do not cover what one answer may cost" in ended.stdout
    assert len(people_once(home)) == 60
    balance = home.balance("acme")
    assert balance.conserved
    assert balance.reserved_mc == 0
    assert balance.charged_mc <= 1_000_000


@pytest.mark.long
@pytest.mark.parametrize("target", ["the run", "its group"])
def test_a_signal_takes_no_more_people_and_leaves_nothing_reserved(home: Home, target: str) -> None:
    home.open_account("acme", amount_mc=1_000_000_000)
    out = home.folder / "results.jsonl"
    people = home.people(6_000)
    running = home.start(*RUN, people, *TWO, "--out", "results.jsonl", "--concurrency", "8")
    wait_until(lambda: lines(out) > 20)
    executing = children(running)
    assert len(executing) == 2
    if target == "its group":  # as a terminal's Ctrl-C, or a service manager that tells all
        for pid in executing:
            os.kill(pid, signal.SIGINT)
            os.kill(pid, signal.SIGTERM)
    running.send_signal(signal.SIGINT)
    ended = end(running)
    assert ended.status == 130, ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stderr.count("Stopping") == 1
    results = home.results()
    assert 0 < len(results) < 6_000
    assert len(people_once(home)) == len(results)
    assert all(result["status"] == "model" for result in results.values()), "they ended in peace"
    balance = home.balance("acme")
    assert balance.reserved_mc == balance.open_reservations == 0
    assert balance.charged_mc == sum(result["charged_mc"] for result in results.values())
    assert children(running) == []


@pytest.mark.long
def test_a_second_ctrl_c_gives_the_credits_of_running_executions_back(
    tmp_path: Path, redis_url: str, mock_url: str
) -> None:
    home = lean_home(tmp_path, redis_url, mock_url, scenario="delay_ms=3500")
    home.open_account("acme", amount_mc=100_000_000)
    calls = home.calls()
    running = home.start(*RUN, home.people(200), *TWO, "--concurrency", "8")
    wait_until(lambda: home.calls() == calls + 8)
    assert home.balance("acme").open_reservations == 8, "what runs at once is shared out"
    running.send_signal(signal.SIGINT)
    assert running.stderr is not None
    while "Stopping" not in running.stderr.readline():
        pass
    running.send_signal(signal.SIGINT)
    ended = end(running)
    assert ended.status == 130, ended.stderr
    assert "0 people" in ended.stdout
    balance = home.balance("acme")
    assert balance.reserved_mc == balance.open_reservations == balance.charged_mc == 0


@pytest.mark.long
def test_a_killed_process_costs_nobody_an_answer_or_a_second_charge(home: Home) -> None:
    home.open_account("acme", amount_mc=10_000_000_000)
    out = home.folder / "results.jsonl"
    people = home.people(1_500)
    running = home.start(*RUN, people, *TWO, "--out", "results.jsonl", "--json")
    wait_until(lambda: lines(out) > 100)
    os.kill(children(running)[0], signal.SIGKILL)
    ended = end(running)
    assert ended.status == 0, ended.stderr
    assert "killed by SIGKILL" in ended.stderr
    assert (ended.json["model"], ended.json["unfinished"], ended.json["remaining"]) == (1_500, 0, 0)
    results = home.results()
    assert len(people_once(home)) == 1_500
    balance = home.balance("acme")
    assert balance.conserved
    assert balance.reserved_mc == 0
    assert balance.charged_mc == sum(result["charged_mc"] for result in results.values())


@pytest.mark.long
def test_a_run_whose_processes_are_all_killed_says_so_and_can_be_run_again(home: Home) -> None:
    home.open_account("acme", amount_mc=10_000_000_000)
    out = home.folder / "results.jsonl"
    people = home.people(1_500)
    running = home.start(*RUN, people, *TWO, "--out", "results.jsonl", "--json")
    wait_until(lambda: lines(out) > 100)
    for pid in children(running):
        os.kill(pid, signal.SIGKILL)
    ended = end(running)
    assert ended.status == 2
    assert "all processes of the run have ended" in ended.json["error"]["message"]
    assert "Traceback" not in ended.stderr
    again = home.run(*RUN, people, *TWO, "--out", "results.jsonl", "--json")
    assert (again.status, again.json["model"]) == (0, 1_500), again.stderr
    balance = home.balance("acme")
    assert balance.conserved
    assert balance.charged_mc == sum(result["charged_mc"] for result in home.results().values())


@pytest.mark.long
def test_processes_whose_run_is_killed_end_by_themselves_and_release_what_they_reserved(
    tmp_path: Path, redis_url: str, mock_url: str
) -> None:
    home = lean_home(tmp_path, redis_url, mock_url, scenario="delay_ms=3500")
    home.open_account("acme", amount_mc=100_000_000)
    calls = home.calls()
    running = home.start(*RUN, home.people(50), *TWO, "--concurrency", "8")
    wait_until(lambda: home.calls() == calls + 8)
    executing = children(running)
    running.kill()
    running.communicate()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in executing))
    balance = home.balance("acme")
    assert balance.reserved_mc == balance.open_reservations == balance.charged_mc == 0


@pytest.mark.long
def test_a_run_without_a_provider_asks_one_person_at_a_time_and_stops_with_status_3(
    tmp_path: Path, redis_url: str
) -> None:
    home = lean_home(tmp_path, redis_url, f"http://127.0.0.1:{free_ports(1)[0]}")
    home.open_account("acme", amount_mc=100_000_000)
    people = home.people(200)
    asked = (*RUN, people, *TWO, "--patience", "2s", "--out", "results.jsonl")
    ended = home.run(*asked)
    assert ended.status == 3, ended.stderr
    assert ended.stderr.count("then the run stops") == 1, "one hold for all processes"
    assert "200 people without a result; nothing was charged for them" in ended.stdout
    assert home.results() == {}

    told = home.run(*asked, "--then", "fallback", "--json")
    assert told.status == 0
    assert (told.json["fallback"], told.json["missed"], told.json["remaining"]) == (200, 200, 0)
    assert len(people_once(home)) == 200


@pytest.mark.long
def test_nobody_of_800_misses_while_the_provider_is_away(tmp_path: Path, redis_url: str) -> None:
    [port] = free_ports(1)
    with mock_provider(port) as url:
        home = lean_home(tmp_path, redis_url, url)
        home.open_account("acme", amount_mc=1_000_000_000)
        people = home.people(800)
        out = home.folder / "results.jsonl"
        running = home.start(*RUN, people, *TWO, "--out", "results.jsonl", "--json")
        wait_until(lambda: lines(out) > 10)
    time.sleep(1.5)
    with mock_provider(port):
        ended = end(running)
    assert ended.status == 0, ended.stderr
    assert (ended.json["model"], ended.json["fallback"]) == (800, 0)
    assert len(people_once(home)) == 800
    assert "Waiting for" in ended.stderr
    assert "The wait is over" in ended.stderr


@pytest.mark.long
def test_nobody_of_800_misses_while_redis_is_away_for_3_s(tmp_path: Path, mock_url: str) -> None:
    server = Server(program(OLDEST), tmp_path / "redis", port=free_ports(1)[0])
    server.start()
    try:
        home = lean_home(tmp_path, server.url, mock_url)
        home.open_account("acme", amount_mc=1_000_000_000)
        people = home.people(800)
        out = home.folder / "results.jsonl"
        running = home.start(*RUN, people, *TWO, "--out", "results.jsonl", "--json")
        wait_until(lambda: lines(out) > 10)
        server.stop(signal.SIGKILL)
        time.sleep(3)
        server.start()
        ended = end(running)
        assert ended.status == 0, ended.stderr
        assert (ended.json["model"], ended.json["fallback"]) == (800, 0)
        balance = home.balance("acme")
        assert balance.conserved
        assert balance.charged_mc == sum(r["charged_mc"] for r in home.results().values())
    finally:
        with suppress(OSError):
            server.stop()
