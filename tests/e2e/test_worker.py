"""``creditgate worker`` as real processes that are killed, ended and refused."""

from __future__ import annotations

import asyncio
import json
import random
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


@pytest.fixture
def home(tmp_path: Path, newer_url: str, mock_url: str) -> Home:
    """A home on the Redis 7, with a deadline short enough to wait for."""
    made = new_home(tmp_path, newer_url, mock_url)
    path = tmp_path / "config.yaml"
    text = path.read_text("utf-8")
    assert "slice_size: 32" in text
    path.write_text(text.replace("slice_size: 32", "slice_size: 8"), "utf-8")
    made.open_account("acme", amount_mc=1_000_000_000)
    return made


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
def test_workers_that_are_killed_leave_everybody_answered_once_and_charged_once(
    home: Home,
) -> None:
    chance = random.Random(11)
    before = home.calls()
    # Answers so slow that a kill always finds some under way; deadlines that end soon.
    path = home.folder / "config.yaml"
    text = path.read_text("utf-8")
    path.write_text(text.replace("deadline_ms: 20000", "deadline_ms: 4000"), "utf-8")
    count = 500
    fill(home, count)
    workers = [home.start("worker", "--json") for _ in range(2)]
    for worker in workers:
        ready(worker)
    kills = 0
    while kills < 4:
        time.sleep(chance.uniform(0.1, 0.4))
        if status(home).waiting == 0:
            break
        victim = workers.pop(chance.randrange(len(workers)))
        victim.kill()
        victim.communicate()
        kills += 1
        workers.append(home.start("worker", "--json"))
        ready(workers[-1])
    assert kills >= 2
    wait_until(lambda: status(home).ended == count)
    for worker in workers:
        worker.send_signal(signal.SIGTERM)
        assert end(worker).status == 0
    found = status(home)
    assert (found.model, found.waiting, found.running, found.dead) == (count, 0, 0, 0)
    balance = home.balance("acme")
    # A call that a killed worker made is exposure: nobody is charged for it, nor twice.
    assert balance.charged_mc == found.charged_mc
    assert balance.reserved_mc == 0 or home.calls() - before > count
    answered = with_queue(home, lambda queue: queue.results("acme", count=1_000))
    people = [json.loads(each.body)["execution_id"] for each in answered]
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
