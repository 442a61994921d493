"""People put into a campaign's queue from the command line, and the campaign's figures."""

from __future__ import annotations

from collections import Counter
from typing import Any

from runtime.cli.queue import OpenQueue, with_queue
from runtime.config import load_config
from tests.harness.command_line import Home

ACTION = ("--action", "route_message")
ACCOUNT = ("--account", "acme")
CAMPAIGN = ("--campaign", "spring")


def enqueue_args(people: str, *more: str) -> tuple[str, ...]:
    return ("enqueue", *ACTION, *ACCOUNT, *CAMPAIGN, "--people", people, *more)


def status(home: Home, *more: str) -> Any:
    return home.invoke("campaign", "status", *ACCOUNT, *CAMPAIGN, "--json", *more).json


def people_in_queue(home: Home) -> Counter[str]:
    """Everybody who waits in the campaign's queue, and how often."""
    found: Counter[str] = Counter()

    async def read(opened: OpenQueue) -> None:
        while (taken := await opened.queue.take("acme", "test", 500)) is not None:
            found.update(entry.request.person_id for entry in taken.entries)

    with_queue(load_config(home.folder / "config.yaml"), read)
    return found


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
