"""Whole campaigns from the command line."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import pytest

from runtime.cli.views import results
from tests.harness.command_line import (
    PATIENCE_S,
    PROCESS_ENV,
    Home,
    end,
    new_home,
    wait_until,
)

ACTION = ("--action", "route_message")
ACCOUNT = ("--account", "acme")


def run_args(people: str, *more: str) -> tuple[str, ...]:
    return ("run", *ACTION, *ACCOUNT, "--people", people, *more)


def test_run_twice_a_campaign_charges_once_and_gives_the_same_values(home: Home) -> None:
    home.open_account("acme", amount_mc=100_000_000)
    people = home.people(40)

    first = home.run(*run_args(people, "--out", "first.jsonl"))
    assert first.status == 0
    assert "40  answered by the model" in first.stdout
    assert "The books balance" in first.stdout
    assert "\x1b" not in first.stdout + first.stderr, "no colours where there is no terminal"
    once = home.balance("acme")
    calls = home.calls()

    second = home.run(*run_args(people, "--out", "second.jsonl", "--json"))
    assert second.status == 0
    assert second.json["replayed"] == second.json["model"] == 40
    assert second.json["charged_mc"] == 0
    for quotes in ("input_undercounted", "quote_exceeded", "usage_capped", "cut_by_us"):
        assert second.json[quotes] == 0
    assert second.json["charged_earlier_mc"] == once.charged_mc > 0
    assert second.json["balance"]["conserved"] is True
    assert home.calls() == calls, "nobody was asked again"
    again = home.balance("acme")
    assert (again.charged_mc, again.journal_seq) == (once.charged_mc, once.journal_seq)

    before, after = home.results("first.jsonl"), home.results("second.jsonl")
    assert len(before) == 40
    assert {p: r["values"] for p, r in before.items()} == {p: r["values"] for p, r in after.items()}
    assert sum(result["charged_mc"] for result in before.values()) == once.charged_mc


def test_when_credits_run_out_the_campaign_goes_on_and_a_retry_answers_the_rest(
    home: Home,
) -> None:
    home.open_account("acme", amount_mc=1_000_000)
    people = home.people(60)

    first = home.invoke(*run_args(people, "--out", "results.jsonl"))
    assert first.status == 0
    assert "running low" in first.stderr
    assert "used up" in first.stderr
    assert "do not cover what one answer may cost" in first.stdout
    results = home.results()
    fell_back = {person for person, result in results.items() if result["status"] == "fallback"}
    assert 0 < len(fell_back) < 60
    assert all(results[person]["values"]["urgency"] == "normal" for person in fell_back)
    spent = home.balance("acme")
    assert spent.conserved
    assert spent.reserved_mc == spent.open_reservations == 0
    assert spent.charged_mc <= spent.granted_mc == 1_000_000

    bought = home.invoke(
        "purchase", *ACCOUNT, "--credits", "100000", "--reference", "invoice-1", "--json"
    )
    assert bought.json["new"] is True

    second = home.invoke(*run_args(people, "--retry-fallbacks", "--out", "results.jsonl", "--json"))
    assert second.json["model"] == 60
    assert second.json["replayed"] == 60 - len(fell_back)
    retried = home.results()
    assert all(retried[person]["status"] == "model" for person in fell_back)
    kept = retried.keys() - fell_back
    assert {p: retried[p]["values"] for p in kept} == {p: results[p]["values"] for p in kept}


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGINT,
        pytest.param(signal.SIGTERM, marks=pytest.mark.long),
    ],
)
def test_a_signal_takes_no_more_people_and_leaves_nothing_reserved(
    home: Home, number: signal.Signals
) -> None:
    home.open_account("acme", amount_mc=100_000_000)
    people = home.people(4_000)
    out = home.folder / "results.jsonl"
    running = home.start(*run_args(people, "--out", "results.jsonl", "--concurrency", "8"))
    wait_until(lambda: out.exists() and out.stat().st_size > 0)
    running.send_signal(number)
    ended = end(running)

    assert ended.status == 130
    assert "Stopping" in ended.stderr
    assert "Traceback" not in ended.stderr
    balance = home.balance("acme")
    assert balance.reserved_mc == balance.open_reservations == 0
    results = home.results()
    assert 0 < len(results) < 4_000
    assert all(result["status"] == "model" for result in results.values()), "they ended in peace"
    assert balance.charged_mc == sum(result["charged_mc"] for result in results.values())
    assert f"{len(results):,} people" in ended.stdout


@pytest.mark.long
def test_a_second_ctrl_c_gives_the_credits_of_running_executions_back(
    tmp_path: Path, redis_url: str, mock_url: str
) -> None:
    home = new_home(tmp_path, redis_url, mock_url, scenario="delay_ms=20000")
    home.open_account("acme", amount_mc=100_000_000)
    calls = home.calls()
    running = home.start(*run_args(home.people(200), "--concurrency", "8"))
    wait_until(lambda: home.calls() == calls + 8)
    assert home.balance("acme").open_reservations == 8
    running.send_signal(signal.SIGINT)
    assert running.stderr is not None
    while "Stopping" not in running.stderr.readline():
        pass
    running.send_signal(signal.SIGINT)
    ended = end(running)

    assert ended.status == 130
    assert "0 people" in ended.stdout
    balance = home.balance("acme")
    assert balance.reserved_mc == balance.open_reservations == balance.charged_mc == 0
    assert balance.exposure_mc > 0, "the provider may bill what was cancelled"


def test_a_trial_before_a_campaign_is_not_taken_for_the_campaign(home: Home) -> None:
    home.open_account("acme", amount_mc=100_000_000)
    people = home.people(5)
    trial = home.invoke(*run_args(people, "--source", "test", "--limit", "3", "--json"))
    assert trial.json["model"] == 3
    # The same person, reached in earnest.
    live = home.invoke(*run_args(people, "--limit", "3", "--json"))
    assert (live.json["model"], live.json["replayed"]) == (3, 0)

    elsewhere = home.invoke(*run_args(people, "--workspace", "other", "--json"))
    assert elsewhere.status == 2
    assert "another workspace_id" in elsewhere.json["error"]["message"]
    assert "p0000" not in elsewhere.stdout + elsewhere.stderr


def test_a_run_that_the_credits_can_not_pay_for_is_asked_about_first(home: Home) -> None:
    home.open_account("acme", amount_mc=20_000)
    people = home.people(200)
    calls = home.calls()

    stopped = home.invoke(*run_args(people, "--out", "results.jsonl"))
    assert stopped.status == 2
    assert "They should last for about" in stopped.stderr
    assert "add --yes" in stopped.stderr
    assert home.calls() == calls
    assert not (home.folder / "results.jsonl").exists(), "nothing was done"

    ended = home.invoke(*run_args(people, "--yes", "--json"))
    assert ended.status == 0
    assert ended.json["people"] == 200
    assert ended.json["fallback"] > 100


@pytest.mark.long
@pytest.mark.parametrize("answer", ["y", "n"])
def test_at_a_terminal_the_question_takes_an_answer(home: Home, answer: str) -> None:
    home.open_account("acme", amount_mc=20_000)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "runtime.cli", *run_args(home.people(100), "--json")],
        cwd=home.folder,
        env={**os.environ, **PROCESS_ENV},
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    )
    os.close(theirs)
    shown = b""
    while b"Run it anyway?" not in shown:
        shown += os.read(ours, 4096)
    os.write(ours, f"{answer}\n".encode())
    with suppress(OSError):  # the terminal's other end is closed when the process ends
        while os.read(ours, 4096):
            pass
    stdout, _ = process.communicate(timeout=PATIENCE_S)
    os.close(ours)
    if answer == "y":
        assert process.returncode == 0
        assert json.loads(stdout)["people"] == 100
    else:
        assert process.returncode == 2
        assert json.loads(stdout)["error"]["message"] == "nothing was run"


def test_an_account_without_ai_credits_gets_fallback_values_and_no_model_is_called(
    home: Home,
) -> None:
    home.open_account("acme", plan="trial")
    calls = home.calls()
    ended = home.invoke(*run_args(home.people(20)))
    assert ended.status == 0
    assert "20  the account's plan has no AI credits" in ended.stdout
    assert home.calls() == calls


@pytest.mark.long
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device here that is always full")
def test_a_full_disk_ends_the_run_with_its_summary_and_nothing_reserved(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.open_account("acme", amount_mc=100_000_000)

    def open_full(path: Path, *, force: bool) -> TextIO:
        return Path("/dev/full").open("w", encoding="utf-8")

    monkeypatch.setattr(results, "open_output", open_full)
    ended = home.invoke(*run_args(home.people(3_000), "--out", "results.jsonl"))
    assert ended.status == 2
    assert f"results.jsonl: {os.strerror(28)}" in ended.stderr
    assert "The books balance" in ended.stderr
    balance = home.balance("acme")
    assert balance.reserved_mc == balance.open_reservations == 0


def test_a_preview_shows_the_receipt_of_one_execution(home: Home) -> None:
    home.open_account("acme", amount_mc=100_000_000)
    message = "Where is my {{ card }}, née “Ω”?"
    ended = home.invoke("preview", *ACTION, *ACCOUNT, "--attribute", f"message={message}")
    assert ended.status == 0
    assert "note: the prompt reads customer.first_name" in ended.stderr
    charged_mc = home.balance("acme").charged_mc
    charged = f"{charged_mc / 1000:.3f}".rstrip("0").rstrip(".")
    for part in (
        f"| {message}",
        "at most 400 tokens",
        "reserved",
        "1. answered in",
        "Raw answer",
        "intent",
        "(model)",
        "output tokens",
        charged,
    ):
        assert part in ended.stdout

    person = json.dumps({"person_id": "p1", "first_name": "Ann", "message": message})
    receipt = home.invoke("preview", *ACTION, *ACCOUNT, "--person", person, "--json").json
    assert receipt["prompt"][1]["content"].startswith("Message from Ann:")
    assert json.loads(receipt["answer"]) == receipt["result"]["values"]
    assert receipt["quote"]["amount_mc"] == receipt["result"]["reserved_mc"]
    assert home.balance("acme").charged_mc == charged_mc + receipt["result"]["charged_mc"]
