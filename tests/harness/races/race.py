"""Runs a race: processes are killed at random, on a Redis that freezes or dies."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pricing.offers import GrantKind
from runtime.credits.caps import CapStatus
from runtime.credits.endings import Release
from runtime.credits.identity import Dimensions
from runtime.credits.journal import JournalEntry, parse
from runtime.credits.ledger import CreditLedger
from runtime.credits.results import Balance, Existing, InProgress, Refused, Reserved
from runtime.executions.spool import Replay
from runtime.redis.keys import Keys
from tests.harness.ledger.desk import instant
from tests.harness.private_redis import PrivateRedis
from tests.harness.races.course import (
    ACCOUNT,
    AUTUMN,
    MONTHLY,
    MONTHLY_USED_MC,
    PREFIX,
    PREVIEWS,
    RETAIL,
    TRIALS,
    Course,
)
from tests.harness.races.crew import Crew
from tests.harness.races.watcher import Watcher

_AT_A_TIME = 1_000
_LOOK_EVERY_S = 0.05
_NEVER_REACHED_MC = 10**12
_KEYS = {name.rpartition(":")[2]: name for name in Keys(PREFIX).of_account(ACCOUNT)}

Outcomes = dict[str, tuple[str, int, str]]


@dataclass(frozen=True, slots=True)
class Size:
    """How much happens in a race.

    Args:
        freezes: how often Redis answers nobody for longer than the ledger waits.
        deaths: how often Redis is killed; it then syncs each write, for without that a killed
            server may lose what it has acknowledged.
    """

    workers: int
    executions: int
    ttl_ms: int
    top_up_mc: int
    kills: int
    operators: int = 2
    freezes: int = 0
    deaths: int = 0
    timeout_ms: int = 1_000
    sweepers: int = 1
    hasty: float = 0.04


@dataclass(frozen=True, slots=True)
class Aftermath:
    """What is there when everything has ended.

    Args:
        deserted: the balance when the last process had just been killed.
        at_deadline: the first one after the deadline of all that was reserved by then.
        open_states: of the records in the account's open hash: ``o`` open, ``x`` expired.
        outcomes: by execution key: state, charge and the outcome's bytes.
        told: alerts in Redis: mark, threshold and what was left.
        asked_again: a sample of executions, and what a new attempt on each was answered.
        balance_then: the balance after that.
        complaints: what processes said on stderr, but that Redis was away as something was booked,
            and how much was left in the spool, which the race replays.
    """

    size: Size
    course: Course
    kills: int
    watcher: Watcher
    deserted: Balance
    at_deadline: Balance
    replay: Replay
    balance: Balance
    caps: tuple[CapStatus, ...]
    open_states: set[str]
    entries: list[JournalEntry]
    outcomes: Outcomes
    told: list[tuple[str, int, int]]
    asked_again: dict[int, Reserved | Refused | InProgress | Existing]
    balance_then: Balance
    complaints: list[str]

    def log(self, role: str) -> Iterator[Any]:
        """The lines of all processes of a role."""
        for log in self.course.logs(role):
            yield from log.lines()


@asynccontextmanager
async def open_ledger(course: Course) -> AsyncIterator[tuple[CreditLedger, Any]]:
    """A ledger of the test's own process, which is in no haste, and its client."""
    client: Any = course.connect()
    ledger = course.open_ledger(client, timeout_ms=60_000)
    try:
        yield ledger, client
    finally:
        await ledger.drain()
        await client.aclose()
        await asyncio.sleep(0)


async def run(size: Size, folder: Path) -> Aftermath:
    """Run a race of this size, with its files in ``folder``."""
    server = PrivateRedis(folder / "redis")
    await server.start()
    try:
        course = Course(
            url=server.url,
            folder=str(folder),
            workers=size.workers,
            executions=size.executions,
            ttl_ms=size.ttl_ms,
            top_up_mc=size.top_up_mc,
            timeout_ms=size.timeout_ms,
            hasty=size.hasty,
        )
        async with open_ledger(course) as (ledger, client), Crew(course) as crew:
            if size.deaths:
                await client.config_set("appendfsync", "always")
            await _open_account(course, ledger)
            watcher = Watcher(ledger)
            watching = asyncio.create_task(watcher.watch(_LOOK_EVERY_S))
            await _run_all(course, size, crew, server, client)
            deserted = await _desert(course, crew, ledger)
            at_deadline = await _wait_for(deserted.at_ms + course.ttl_ms, ledger)
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
            return await _look_back(
                size, course, crew, watcher, deserted, at_deadline, ledger, client
            )
    finally:
        await server.aclose()


async def _open_account(course: Course, ledger: CreditLedger) -> None:
    await ledger.accounts.open_account(ACCOUNT, plan="growth")
    now_ms = (await ledger.accounts.balance(ACCOUNT)).at_ms
    for number, (kind, expires_in_ms, priority) in enumerate(
        [
            (GrantKind.INTRODUCTORY, 2_000, None),
            (GrantKind.PROMOTIONAL, None, None),
            (GrantKind.PROMOTIONAL, 3_000, None),
            (GrantKind.PURCHASED, None, None),
            # Used last, and over before that: however quick the machine is, something expires.
            (GrantKind.ADJUSTMENT, 300, 999),
        ]
    ):
        await ledger.accounts.grant(
            ACCOUNT,
            amount_mc=course.top_up_mc // 2,
            kind=kind,
            reference=f"first-{number}",
            priority=priority,
            expires_at=None if expires_in_ms is None else instant(now_ms + expires_in_ms),
        )
    for cap, limit_mc, used_mc in (
        (MONTHLY, _NEVER_REACHED_MC, MONTHLY_USED_MC),
        (RETAIL, _NEVER_REACHED_MC, 0),
        (PREVIEWS, course.preview_limit_mc, 0),
        (TRIALS, 5_000, 0),
        (AUTUMN, course.top_up_mc, 0),
    ):
        await ledger.accounts.set_cap(
            ACCOUNT, cap, limit_mc=limit_mc, used_mc=used_mc, reference=f"first {cap}"
        )


async def _run_all(
    course: Course, size: Size, crew: Crew, server: PrivateRedis, client: Any
) -> None:
    """Keep all processes running, through what is done to them, until the workers have ended."""
    workers = [crew.keep_running("worker", number) for number in range(size.workers)]
    others = [crew.keep_running("operations", number) for number in range(size.operators)]
    others += [crew.keep_running("sweeper", number) for number in range(size.sweepers)]
    disturbing = asyncio.create_task(_disturb(course, size, crew, server, client))
    running = [*workers, *others, disturbing]
    try:
        while not all(task.done() for task in (*workers, disturbing)):
            await asyncio.wait(
                [task for task in running if not task.done()], return_when="FIRST_COMPLETED"
            )
            for task in running:
                if task.done():
                    task.result()
    finally:
        disturbing.cancel()


async def _disturb(
    course: Course, size: Size, crew: Crew, server: PrivateRedis, client: Any
) -> None:
    """Kill and freeze, evenly over the race, in an order and at moments that chance decides."""
    chance = random.Random(size.executions)

    async def freeze() -> None:
        server.pause()
        try:
            await asyncio.sleep(1.2 * size.timeout_ms / 1_000)
        finally:
            server.resume()

    async def kill_redis() -> None:
        await server.stop()
        await server.start()
        await client.config_set("appendfsync", "always")

    def kill(role: str) -> Callable[[], Awaitable[None]]:
        return lambda: crew.kill_one(role, chance)

    rare = -(-size.kills // 8)
    acts: list[Callable[[], Awaitable[None]]] = [
        *[kill("worker")] * size.kills,
        *[kill("sweeper")] * rare,
        *[kill("operations")] * rare,
        *[freeze] * size.freezes,
        *[kill_redis] * size.deaths,
    ]
    chance.shuffle(acts)
    deliveries = sum(len(list(course.delivered_to(worker))) for worker in range(size.workers))
    for number, act in enumerate(acts):
        at = deliveries * (number + chance.random()) / (len(acts) + 1)
        while lines(course, "acknowledged") < at:  # noqa: ASYNC110 - it is done by others
            await asyncio.sleep(0.02)
        await act()


def lines(course: Course, role: str) -> int:
    """How many lines all processes of a role have logged."""
    return sum(log.path.read_bytes().count(b"\n") for log in course.logs(role))


async def _desert(course: Course, crew: Crew, ledger: CreditLedger) -> Balance:
    """Kill a process while it holds reservations, and every other that is left."""
    for role in ("operations", "sweeper"):
        await crew.dismiss(role)
    await ledger.accounts.grant(
        ACCOUNT, amount_mc=10**9, kind=GrantKind.ADJUSTMENT, reference="for the deserter"
    )
    deserter = crew.keep_running("worker", course.workers)
    while (await ledger.accounts.balance(ACCOUNT)).open_reservations < 5:
        if deserter.done():
            deserter.result()
        await asyncio.sleep(0.002)
    await crew.freeze("worker", course.workers)
    await asyncio.sleep(0.1)  # for what it had sent
    await crew.dismiss("worker")
    return await ledger.accounts.balance(ACCOUNT)


async def _wait_for(at_ms: int, ledger: CreditLedger) -> Balance:
    """Return the first balance that is not older."""
    while (balance := await ledger.accounts.balance(ACCOUNT)).at_ms < at_ms:  # noqa: ASYNC110 - Redis
        await asyncio.sleep(0.02)
    return balance


async def _look_back(
    size: Size,
    course: Course,
    crew: Crew,
    watcher: Watcher,
    deserted: Balance,
    at_deadline: Balance,
    ledger: CreditLedger,
    client: Any,
) -> Aftermath:
    spool = course.open_spool()
    replay = await spool.replay(ledger)
    await ledger.sweep()
    balance = await watcher.look()
    return Aftermath(
        size=size,
        course=course,
        kills=crew.kills,
        watcher=watcher,
        deserted=deserted,
        at_deadline=at_deadline,
        replay=replay,
        balance=balance,
        caps=await ledger.accounts.caps(ACCOUNT),
        open_states={raw.split(b"\t")[1].decode() for raw in await client.hvals(_KEYS["open"])},
        entries=await journal(client),
        outcomes=await _outcomes(client),
        told=[
            (told[b"mark"].decode(), int(told[b"threshold_mc"]), int(told[b"left_mc"]))
            for _, told in await client.xrange(_KEYS["alerts"])
        ],
        asked_again=await _ask_again(course, ledger),
        balance_then=await ledger.accounts.balance(ACCOUNT),
        complaints=_complaints(Path(course.folder)),
    )


async def journal(client: Any) -> list[JournalEntry]:
    """The account's journal, as it is kept in Redis."""
    names: dict[int, Dimensions] = {}
    entries: list[JournalEntry] = []
    start = "-"
    while raw := await client.xrange(_KEYS["journal"], start, "+", count=_AT_A_TIME):
        entries += [parse(entry_id, fields, names) for entry_id, fields in raw]
        start = f"({raw[-1][0].decode()}"
    return entries


async def _outcomes(client: Any) -> Outcomes:
    """Every outcome that is stored, by its execution key."""
    names = [name async for name in client.scan_iter(f"{PREFIX}:*:o:*", count=_AT_A_TIME)]
    outcomes: Outcomes = {}
    for first in range(0, len(names), _AT_A_TIME):
        some = names[first : first + _AT_A_TIME]
        for name, raw in zip(some, await client.mget(some), strict=True):
            header, _, told = raw.decode().partition("\n")
            _, letter, _, _, charged, *_ = header.split("\t")
            state = {"s": "settled", "r": "released", "n": "refused"}[letter]
            outcomes[name.decode().rpartition(":")[2]] = (state, int(charged), told)
    return outcomes


async def _ask_again(
    course: Course, ledger: CreditLedger
) -> dict[int, Reserved | Refused | InProgress | Existing]:
    """Ask for some executions again, as redelivered jobs do, and give back what is reserved."""
    numbers = range(0, course.executions, max(1, course.executions // _AT_A_TIME))

    async def ask(number: int) -> Reserved | Refused | InProgress | Existing:
        attempt = course.attempt(number)
        answer = await ledger.reserve(attempt, 1, course.ttl_ms)
        await ledger.release(Release(attempt))
        return answer

    return dict(zip(numbers, await asyncio.gather(*map(ask, numbers)), strict=True))


def _complaints(folder: Path) -> list[str]:
    return [
        f"{path.name}: {line}"
        for path in sorted(folder.glob("*.stderr"))
        for line in path.read_text().splitlines()
        if not line.startswith("not booked (")
        and not line.endswith(" endings wait in the spool for the next process")
    ]
