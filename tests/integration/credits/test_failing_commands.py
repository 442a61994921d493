"""Law 11a: whichever command of whichever script fails, the account is whole.

A script reads and checks first, and writes last. A command that fails before the first write
leaves everything as it was. No command can fail after it: each key was checked to be of the type
that the command needs, and no command is given more values than Lua can hand over.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from fallback.reasons import FallbackReason
from runtime.credits.endings import Release
from runtime.credits.identity import ExecutionAttempt
from runtime.credits.journal import replay
from runtime.credits.results import LedgerUnavailable, Reserved
from tests.harness.ledger import desk as desks
from tests.harness.ledger.desk import ACCOUNT, Desk
from tests.harness.ledger.failing import (
    READS,
    SCRIPTS_THAT_FAIL,
    WRITES,
    Command,
    FailingTransport,
)
from tests.harness.ledger.staged import Loss, asking_again_at_once
from tests.harness.ledger.verbs import ASKS, CHANGES, LOOKS, lived_in

MOST_VALUES = 1_001
NEWCOMER = "newcomer"
DAY_MS = 24 * 3_600_000
Verb = Callable[[Desk, ExecutionAttempt, Reserved], Awaitable[Any]]


async def _open_another(desk: Desk, attempt: ExecutionAttempt, reserved: Reserved) -> object:
    return await desk.ledger.accounts.open_account(NEWCOMER, plan="trial")


async def _look_up(desk: Desk, attempt: ExecutionAttempt, reserved: Reserved) -> object:
    return await desk.ledger.look_up(attempt)


async def _settle_late(desk: Desk, attempt: ExecutionAttempt, reserved: Reserved) -> object:
    return await desk.settle(desk.attempt("journey-late:step:1"), reserved, 5_000)


async def _refuse(desk: Desk, attempt: ExecutionAttempt, reserved: Reserved) -> object:
    return await desk.ledger.reserve(desk.attempt(), 10**6, 60_000, final=True)


async def _accept_loss(desk: Desk, attempt: ExecutionAttempt, reserved: Reserved) -> object:
    return await desk.ledger.repairs.accept_loss(ACCOUNT, reason="a failover", actor="ann")


async def _repair_clock(desk: Desk, attempt: ExecutionAttempt, reserved: Reserved) -> object:
    ran_ahead_ms = desk.now_ms
    desk.now_ms -= DAY_MS
    try:
        return await desk.ledger.repairs.repair_clock(ACCOUNT, reason="a bad day", actor="ann")
    finally:
        desk.now_ms = ran_ahead_ms


async def _several(desk: Desk, attempt: ExecutionAttempt, reserved: Reserved) -> object:
    """Calls that wait while another is under way, which never arrives, go as one batch."""
    desk.transport.losses[:] = (Loss.REQUEST, Loss.NOTHING, Loss.REQUEST)
    calls: list[Awaitable[Any]] = [
        desk.ledger.reserve(desk.attempt(), 10, 60_000),
        desk.ledger.reserve(desk.attempt(), 10, 60_000),
        desk.settle(desk.attempt("journey-late:step:1"), reserved, 5_000),
        desk.ledger.release(Release(attempt, outcome=b"fallback")),
        desk.ledger.conclude(desk.attempt(), FallbackReason.INSUFFICIENT_CREDITS),
    ]
    with asking_again_at_once():
        lost, *answers = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(lost, LedgerUnavailable)
    assert desk.transport.losses == []
    failed = [answer for answer in answers if isinstance(answer, BaseException)]
    if failed:
        assert len(failed) == len(answers)
        raise failed[0]
    assert desk.transport.sizes[-1] == len(answers)
    return answers


def _of_account(change: Callable[[Desk, str], Awaitable[Any]]) -> Verb:
    return lambda desk, attempt, reserved: change(desk, "a reference")


def _only_looking(look: Callable[[Desk], Awaitable[Any]]) -> Verb:
    return lambda desk, attempt, reserved: look(desk)


VERBS: dict[str, Verb] = {
    **{name: _of_account(change) for name, change in CHANGES.items()},
    **ASKS,
    **{name: _only_looking(look) for name, look in LOOKS.items()},
    "open_account": _open_another,
    "look_up": _look_up,
    "settle late": _settle_late,
    "reserve too much": _refuse,
    "accept_loss": _accept_loss,
    "repair_clock": _repair_clock,
    "several in one batch": _several,
}


async def asked_of(desk: Desk, way: FailingTransport) -> list[list[Command]]:
    """What each script asked since this was asked."""
    lines = []
    for key in map(way.trace_key, (ACCOUNT, NEWCOMER)):
        lines += await desk.client.lrange(key, 0, -1)
        await desk.client.delete(key)
    found: list[list[Command]] = []
    for line in lines:
        if not line:
            found.append([])
        else:
            name, key, *arguments = json.loads(line)
            found[-1].append(Command(name, key, arguments))
    return found


async def fails(answer: Awaitable[Any]) -> bool:
    """Whether the command that was to fail was met."""
    try:
        await answer
    except LedgerUnavailable as error:
        if "this command failed" not in str(error):
            raise
        return True
    return False


def check_writes(commands: list[Command]) -> None:
    """Insist that no command can fail from the first write on."""
    first = next((n for n, command in enumerate(commands) if command.changes), len(commands))
    checked = {(c.key, READS[c.name]) for c in commands[:first] if c.name in READS}
    for command in commands[first:]:
        needs = (WRITES | READS)[command.name]
        assert needs is None or (command.key, needs) in checked, command
        assert len(command.arguments) <= MOST_VALUES, command.name


@pytest.mark.parametrize("verb", VERBS)
async def test_law_11a_whichever_command_fails_the_account_is_whole(desk: Desk, verb: str) -> None:
    attempt, reserved = await lived_in(desk)
    await desk.reserve(20, desk.attempt("journey-late:step:1"), ttl_ms=1_000)
    await desk.grant(30, expires_in_ms=1_500)
    await desk.pass_time(2_000)
    names = [name.decode() for name in await desk.names()]
    before = await desk.contents(names)
    way = FailingTransport(desk.transport, f"trace of {desk.prefix}")
    desk.ledger = desks.make_ledger(
        desk.client, desk.prefix, scripts=SCRIPTS_THAT_FAIL, transport=way
    )

    is_a_write = has_failed = True
    while has_failed and (way.fails_at == 0 or not is_a_write):
        way.fails_at += 1
        has_failed = await fails(VERBS[verb](desk, attempt, reserved))
        asked = (await asked_of(desk, way))[-1]
        is_a_write = has_failed and asked[-1].changes
        if has_failed:
            assert len(asked) == way.fails_at
            assert await desk.contents(names) == before
            assert [name.decode() for name in await desk.names()] == names

    assert way.fails_at > 5
    assert is_a_write != (verb in ("balance", "caps", "look_up"))
    way.fails_at = 0
    await VERBS[verb](desk, attempt, reserved)
    for commands in await asked_of(desk, way):
        check_writes(commands)
    await desk.write_what_is_due()
    balance = await desk.balance()
    assert replay(await desk.journal()).exposure_mc == balance.exposure_mc


@pytest.mark.parametrize("end", ["settle", "close", "expire"])
async def test_law_15_and_11a_no_command_of_a_script_over_many_grants_can_fail(
    desk: Desk, end: str
) -> None:
    await desk.open()
    for _ in range(8):
        await asyncio.gather(*(desk.grant(1, expires_in_ms=9_000) for _ in range(100)))
    attempt, reserved = await desk.reserve(600)
    way = FailingTransport(desk.transport, f"trace of {desk.prefix}")
    desk.ledger = desks.make_ledger(
        desk.client, desk.prefix, scripts=SCRIPTS_THAT_FAIL, transport=way
    )

    if end == "settle":
        await desk.settle(attempt, reserved, 600)
    elif end == "close":
        await desk.ledger.accounts.close_account(ACCOUNT, reference="close", reason="they left")
    else:
        await desk.pass_time(9_000)
        await desk.reserve(0)

    (commands,) = await asked_of(desk, way)
    check_writes(commands)
    assert sum(len(command.arguments) for command in commands if command.changes) > 800
    await desk.balance()
