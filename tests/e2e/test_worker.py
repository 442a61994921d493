"""``creditgate worker`` as real processes that are killed, ended and refused."""

from __future__ import annotations

import asyncio
import json
import random
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from runtime.config import load_config
from runtime.ledger_opening import connected
from runtime.queue.entries import CampaignStatus
from runtime.queue.opening import build_queue
from tests.harness.command_line import Home, end, new_home, wait_until
from tests.harness.queues import request_of
from tests.harness.servers import NEWER, LedgerServers

ACTION = "route_message"


@pytest.fixture(scope="module")
def newer_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Redis 7, whose functions streaq needs."""
    servers = LedgerServers(tmp_path_factory.mktemp("servers"))
    yield servers.url(NEWER)
    servers.close()


def home_on(folder: Path, redis_url: str, mock_url: str, scenario: str = "") -> Home:
    """Return a home with small slices, and an account with credits."""
    home = new_home(folder, redis_url, mock_url, scenario)
    set_numbers(home, slice_size=8)
    home.open_account("acme", amount_mc=1_000_000_000)
    return home


def set_numbers(home: Home, **numbers: int) -> None:
    """Set keys of the config to numbers, wherever they are."""
    path = home.folder / "config.yaml"
    text = path.read_text("utf-8")
    for name, number in numbers.items():
        text, count = re.subn(rf"\b{name}: \d+", f"{name}: {number}", text)
        assert count, f"the example config has no {name} any more"
    path.write_text(text, "utf-8")


@pytest.fixture
def home(tmp_path: Path, newer_url: str, mock_url: str) -> Home:
    """A home on the Redis 7."""
    return home_on(tmp_path, newer_url, mock_url)


def with_queue(home: Home, use: Any) -> Any:
    """Return what a coroutine function answers that is given the home's queue."""

    async def run() -> Any:
        config = load_config(home.folder / "config.yaml")
        async with connected(config, None) as client:
            queue = build_queue(config, client)
            try:
                return await use(queue)
            finally:
                await queue.aclose()

    return asyncio.run(run())


def fill(home: Home, count: int) -> None:
    """Put so many people of acme into the queue."""
    requests = [request_of(number, action=ACTION) for number in range(count)]
    with_queue(home, lambda queue: queue.add("acme", "retail", "welcome", requests))


def status(home: Home) -> CampaignStatus:
    """Return the campaign's figures."""
    found: CampaignStatus = with_queue(home, lambda queue: queue.status("acme", "welcome"))
    return found


def ready(process: subprocess.Popen[str]) -> str:
    """Wait until a worker works, and return its name."""
    assert process.stdout is not None
    name: str = json.loads(process.stdout.readline())["worker"]
    return name


def test_a_worker_drains_the_queue_and_tells_what_it_did(home: Home) -> None:
    fill(home, 30)
    ended = home.run("worker", "--drain", "--json")
    assert ended.status == 0, ended.stderr
    began, told = map(json.loads, ended.stdout.splitlines())
    assert began["worker"] == told["worker"]
    assert (told["people"], told["model"], told["dead"], told["gave_up"]) == (30, 30, 0, None)
    assert told["charged_mc"] == status(home).charged_mc == home.balance("acme").charged_mc


def test_a_worker_ends_gently_at_sigterm_with_status_0(home: Home) -> None:
    fill(home, 400)
    process = home.start("worker", "--json")
    ready(process)
    wait_until(lambda: status(home).model > 0)
    process.send_signal(signal.SIGTERM)
    ended = end(process)
    assert ended.status == 0, ended.stderr
    told = json.loads(ended.stdout.splitlines()[-1])
    found = status(home)
    assert told["model"] == found.model
    assert found.model + found.waiting + found.running == 400
    assert home.balance("acme").reserved_mc == 0


@pytest.mark.long
@pytest.mark.timeout(240)
def test_workers_that_are_killed_leave_everybody_answered_once_and_charged_once(
    tmp_path: Path, newer_url: str, mock_url: str
) -> None:
    home = home_on(tmp_path, newer_url, mock_url, "delay_ms=1500")
    # A killed worker's requests run again once their deadlines and reservations are over.
    set_numbers(home, attempt_timeout_ms=4_000, deadline_ms=9_000, reservation_ttl_ms=12_000)
    chance, count, before = random.Random(11), 500, home.calls()
    workers = [home.start("worker", "--json") for _ in range(4)]
    try:
        for worker in workers:
            ready(worker)
        fill(home, count)
        wait_until(lambda: status(home).running > 0)
        for victim in workers[1:]:
            time.sleep(chance.uniform(0.2, 1.0))
            assert status(home).ended < count
            victim.kill()
        wait_until(lambda: status(home).ended == count)
        workers[0].send_signal(signal.SIGTERM)
        assert end(workers[0]).status == 0
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    found = status(home)
    assert (found.model, found.waiting, found.running, found.dead) == (count, 0, 0, 0)
    # Calls whose worker died are nobody's charge; the people were asked again.
    assert home.calls() - before > count
    balance = home.balance("acme")
    assert (balance.charged_mc, balance.reserved_mc) == (found.charged_mc, 0)
    answered = with_queue(home, lambda queue: queue.results("acme", count=1_000))
    people = [each.execution_id for each in answered]
    assert len(people) == len(set(people)) == count


def test_the_embedded_server_is_refused_without_demo(home: Home) -> None:
    path = home.folder / "config.yaml"
    lines = path.read_text("utf-8").splitlines()
    [place] = [index for index, line in enumerate(lines) if line.startswith("  url: ")][:1]
    lines[place] = "  url: embedded"
    path.write_text("\n".join(lines), "utf-8")
    ended = home.invoke("worker")
    assert ended.status == 2
    assert "--demo" in ended.stderr
