"""People put into a campaign's queue from the command line, and the campaign's figures."""

from __future__ import annotations

import signal
from collections import Counter
from functools import partial
from typing import Any

import pytest

from fallback.reasons import FallbackReason
from runtime.actions.requests import ExecutionRequest
from runtime.cli.queue import OpenQueue, with_queue
from runtime.config import load_config
from runtime.queue.entries import Ended
from runtime.redis.keys import Keys
from tests.harness.command_line import Ended as EndedCommand
from tests.harness.command_line import Home, end, wait_until
from tests.harness.queues import result_of

ACTION = ("--action", "route_message")
ACCOUNT = ("--account", "acme")
CAMPAIGN = ("--campaign", "spring")


def enqueue_args(people: str, *more: str) -> tuple[str, ...]:
    return ("enqueue", *ACTION, *ACCOUNT, *CAMPAIGN, "--people", people, *more)


def status(home: Home, *more: str) -> Any:
    return home.invoke("campaign", "status", *ACCOUNT, *CAMPAIGN, "--json", *more).json


def requests_in_queue(home: Home) -> list[ExecutionRequest]:
    """What waits in the campaign's queue; others take it no more."""
    found: list[ExecutionRequest] = []

    async def read(opened: OpenQueue) -> None:
        while (taken := await opened.queue.take("acme", "test", 500)) is not None:
            found.extend(entry.request for entry in taken.entries)

    with_queue(load_config(home.folder / "config.yaml"), read)
    return found


def people_in_queue(home: Home) -> Counter[str]:
    """Everybody who waits in the campaign's queue, and how often."""
    return Counter(request.person_id for request in requests_in_queue(home))


def test_everybody_in_a_file_is_added_once_however_often_it_is_enqueued(home: Home) -> None:
    home.open_account("acme", amount_mc=1_000_000)
    people = home.people(600)

    dry = home.invoke(*enqueue_args(people, "--dry-run", "--json"))
    assert (dry.json["people"], dry.json["accepted"]) == (600, 0)
    first = home.invoke(*enqueue_args(people, "--limit", "100", "--json"))
    assert (first.status, first.json["accepted"]) == (0, 100)
    second = home.invoke(*enqueue_args(people, "--json"))
    assert (second.json["accepted"], second.json["position"]) == (500, 600)
    third = home.invoke(*enqueue_args(people))
    assert third.stdout.splitlines() == [
        "0 people were added to campaign spring.",
        "600 of the same import were there already.",
    ]

    found = status(home)
    assert (found["waiting"], found["ended"], found["state"]) == (600, 0, "running")
    assert home.balance("acme").charged_mc == 0
    assert people_in_queue(home) == Counter(f"p{number:04}" for number in range(600))


def work(home: Home, reason: FallbackReason | None = None, *, kept: bool | None = None) -> int:
    """Do a worker's work with made-up results; return how many executions ended."""

    async def run(opened: OpenQueue) -> int:
        count = 0
        while (taken := await opened.queue.take("acme", "test", 100)) is not None:
            results = [
                result_of(one.request, reason, charged_mc=2_000, kept=kept) for one in taken.entries
            ]
            pairs = zip(taken.entries, results, strict=True)
            count += await opened.queue.finish(taken, [Ended(one, end) for one, end in pairs])
        return count

    return with_queue(load_config(home.folder / "config.yaml"), run)


def campaign(home: Home, verb: str, *more: str) -> EndedCommand:
    return home.invoke("campaign", verb, *ACCOUNT, *CAMPAIGN, *more)


def test_a_campaign_shows_how_far_it_is_and_what_it_costs(home: Home) -> None:
    home.open_account("acme", amount_mc=1_000_000)
    home.invoke(*enqueue_args(home.people(40), "--limit", "30"))
    assert work(home) == 30
    home.invoke(*enqueue_args(home.people(10, "more.csv")))

    found = status(home)
    assert (found["ended"], found["waiting"], found["left"]) == (30, 10, 10)
    assert (found["charged_mc"], found["expected_mc"]) == (60_000, 80_000)
    assert found["per_second"] > 0
    assert found["left_ms"] == pytest.approx(10_000 / found["per_second"], abs=1)
    lines = campaign(home, "status").stdout
    assert "30  done" in lines
    assert "Credits used: 60, 80 expected" in lines
    assert "Time left: " in lines
    listed = home.invoke("campaign", "list", *ACCOUNT)
    assert "spring" in listed.stdout

    assert "is paused" in campaign(home, "pause").stdout
    assert work(home) == 0
    assert status(home)["left_ms"] is None
    assert campaign(home, "resume", "--json").json["state"] == "running"
    off = ("off", "--workspace", "default", "--reference", "incident")
    assert home.invoke("account", "switch", "acme", *off).status == 0
    assert "It waits: workspace default is switched off." in campaign(home, "status").stdout
    assert work(home) == 0
    watched = home.invoke("campaign", "status", *ACCOUNT, "--campaign", "nothing", "--watch")
    assert (watched.status, "no campaign 'nothing'" in watched.stderr) == (2, True)


def test_people_who_fell_back_are_put_back_by_group_after_an_estimate(home: Home) -> None:
    home.open_account("acme", amount_mc=100_000_000)
    home.invoke(*enqueue_args(home.people(30), "--limit", "10"))
    work(home, FallbackReason.INSUFFICIENT_CREDITS, kept=True)
    home.invoke(*enqueue_args(home.people(20, "more.csv")))
    work(home, FallbackReason.PROVIDER_ERROR)

    dry = campaign(home, "rerun", "--group", "credits", "--dry-run")
    assert "Campaign spring: 10 people can be put back" in dry.stdout
    assert "10  credits  the account's credits did not pay for it" in dry.stdout
    assert "expected" in dry.stdout
    assert "Account acme has 100,000 credits, which is enough" in dry.stdout
    assert status(home)["waiting"] == 0
    unasked = campaign(home, "rerun", "--group", "credits")
    assert (unasked.status, "say --yes" in unasked.stderr) == (2, True)

    done = campaign(home, "rerun", "--group", "credits", "--yes", "--json").json
    assert (done["people"], done["put_back"], done["without_request"]) == (10, 10, 0)
    assert done["estimate"]["cost"]["expected_mc"] > 0
    assert done["groups"] == {"credits": {"people": 10, "without_request": 0}}
    found = status(home)
    assert (found["waiting"], found["missed"]) == (10, {"model": 20})
    assert all(one.execution_id.endswith(":r1") for one in requests_in_queue(home))

    campaign(home, "stop")
    stopped = campaign(home, "rerun", "--yes")
    assert (stopped.status, "is stopped: resume it first" in stopped.stderr) == (2, True)
    refused = home.invoke(*enqueue_args(home.people(5, "five.csv")))
    assert (refused.status, "is stopped" in refused.stderr) == (2, True)


def test_people_without_a_retained_request_are_counted_and_named(home: Home) -> None:
    home.open_account("acme", amount_mc=100_000_000)
    home.invoke(*enqueue_args(home.people(5)))
    work(home, FallbackReason.PROVIDER_ERROR)

    async def lose(opened: OpenQueue) -> None:
        keys = Keys(load_config(home.folder / "config.yaml").redis.key_prefix)
        await opened.client.xtrim(
            keys.of_campaign("acme", "missed", "spring"), maxlen=2, approximate=False
        )

    with_queue(load_config(home.folder / "config.yaml"), lose)
    lines = campaign(home, "rerun", "--dry-run").stdout
    assert "2 people can be put back" in lines
    assert "3 people are without a retained request" in lines
    assert "3 of them are without a retained request" in campaign(home, "status").stdout


@pytest.mark.parametrize(
    "change, found",
    [
        (("--workspace", "other"), "another workspace_id"),
        (("--import-id", "mine"), "another import"),
        (("--import-id", "a\nb"), "--import-id"),
        (("--campaign", "a.b"), "--campaign"),
        (("--account", "nobody"), "nobody"),
    ],
)
def test_an_import_that_can_not_be_is_refused(
    home: Home, change: tuple[str, ...], found: str
) -> None:
    home.open_account("acme", amount_mc=1_000)
    home.invoke(*enqueue_args(home.people(3), "--import-id", "mine"))
    refused = home.invoke(*enqueue_args(home.people(4, "other.csv"), *change))
    assert (refused.status, found in refused.stderr) == (2, True), refused.stderr


@pytest.mark.long
def test_an_import_that_is_killed_anywhere_goes_on_and_adds_each_row_once(home: Home) -> None:
    home.open_account("acme", amount_mc=1_000)
    people = home.people(40_000)
    position = 0
    for number in (signal.SIGKILL, signal.SIGINT, signal.SIGKILL):
        running = home.start(*enqueue_args(people))
        wait_until(partial(is_beyond, home, position + 2_000))
        running.send_signal(number)
        ended = end(running)
        assert ended.status == (-9 if number == signal.SIGKILL else 130), ended.stderr
        assert "run the same command again" in ended.stdout or number == signal.SIGKILL
        position = sum(imports(home).values())
        assert 0 < position < 40_000
    last = home.run(*enqueue_args(people, "--json"))
    assert (last.json["position"], last.json["accepted"]) == (40_000, 40_000 - position)
    assert people_in_queue(home) == Counter(f"p{number:04}" for number in range(40_000))


def is_beyond(home: Home, position: int) -> bool:
    return sum(imports(home).values()) > position


def imports(home: Home) -> dict[str, int]:
    found = home.invoke("campaign", "status", *ACCOUNT, *CAMPAIGN, "--json")
    return found.json["imports"] if found.status == 0 else {}
