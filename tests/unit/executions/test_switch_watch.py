"""Whether a call may begin, by what was read of the switches and when."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import ExitStack

import pytest

from fallback.reasons import FallbackReason
from runtime.credits.identity import Dimensions
from runtime.credits.results import LedgerUnavailable
from runtime.credits.switches import MOST_AT_ONCE
from runtime.executions.switch_watch import PROOF_LASTS_S, READ_EVERY_S, CallHeld, SwitchWatch
from tests.harness.virtual_time import now_s, run

DIMENSIONS = Dimensions("retail", "welcome", "route", "v1", "writer", "live")


class Switches:
    """What is off; accounts of a server that is away can't be read, nor those that are damaged."""

    def __init__(self) -> None:
        self.off: dict[str, frozenset[str]] = {}
        self.away: set[str] = set()
        self.hanging: set[str] = set()
        self.damaged: set[str] = set()
        self.read_of: list[tuple[str, ...]] = []

    def server_of(self, account_id: str) -> str:
        return account_id.partition("@")[2]

    async def read(self, account_ids: Sequence[str]) -> Mapping[str, frozenset[str]]:
        self.read_of.append(tuple(account_ids))
        server = self.server_of(account_ids[0])
        if server in self.away:
            raise LedgerUnavailable("away")
        if server in self.hanging:
            await asyncio.sleep(3_600)
        return {
            name: self.off.get(name, frozenset())
            for name in account_ids
            if name not in self.damaged
        }


@pytest.fixture
def switches() -> Switches:
    return Switches()


def test_law_5a_a_call_right_after_its_reservation_needs_no_reading(
    switches: Switches,
) -> None:
    async def story() -> None:
        watch = SwitchWatch(switches, patience_s=1)
        with watch.gate("acme", DIMENSIONS, now_s()) as gate:
            assert gate.is_open()
        with watch.gate("acme", DIMENSIONS, now_s() - PROOF_LASTS_S - 0.01) as gate:
            assert not gate.is_open()
        assert switches.read_of == []

    run(story())


def test_law_5a_a_later_call_waits_for_the_next_reading(switches: Switches) -> None:
    async def story() -> None:
        watch = SwitchWatch(switches, patience_s=10)
        watch.start()
        with watch.gate("acme", DIMENSIONS, now_s() - 60) as gate:
            assert not gate.is_open()
            await gate.wait(now_s() + 10)
            assert gate.is_open()
            await asyncio.sleep(3 * READ_EVERY_S)
            assert gate.is_open()
        await watch.aclose()
        assert len(switches.read_of) >= 2
        assert set(switches.read_of) == {("acme",)}

    run(story())


@pytest.mark.parametrize(
    "target", ["account", "workspace retail", "campaign welcome", "action route"]
)
def test_law_5a_what_is_off_holds_its_calls_and_no_others(switches: Switches, target: str) -> None:
    async def story() -> None:
        watch = SwitchWatch(switches, patience_s=10)
        watch.start()
        switches.off["acme"] = frozenset({target})
        others = DIMENSIONS._replace(workspace="second", campaign="other", action="greet")
        long_ago_s = now_s() - 60
        with (
            watch.gate("acme", DIMENSIONS, long_ago_s) as gate,
            watch.gate("acme", others, long_ago_s) as other,
        ):
            with pytest.raises(CallHeld) as held:
                await gate.wait(now_s() + 10)
            assert held.value.reason is FallbackReason.SWITCHED_OFF
            if target == "account":
                with pytest.raises(CallHeld):
                    await other.wait(now_s() + 10)
            else:
                await other.wait(now_s() + 10)
            # A reservation that came after the reading knows better.
            with watch.gate("acme", DIMENSIONS, now_s()) as after:
                assert after.is_open()
            switches.off.clear()
            await asyncio.sleep(2 * READ_EVERY_S)
            assert gate.is_open()
        await watch.aclose()

    run(story())


@pytest.mark.parametrize("how", ["away", "hanging", "damaged"])
def test_law_5a_where_nobody_can_read_no_call_begins(switches: Switches, how: str) -> None:
    async def story() -> None:
        watch = SwitchWatch(switches, patience_s=0.6)
        watch.start()
        getattr(switches, how).add("acme@one" if how == "damaged" else "one")
        with (
            watch.gate("acme@one", DIMENSIONS, now_s() - 60) as gate,
            watch.gate("other@two", DIMENSIONS, now_s() - 60) as other,
        ):
            began_s = now_s()
            held, _ = await asyncio.gather(
                gate.wait(began_s + 10), other.wait(began_s + 10), return_exceptions=True
            )
            assert isinstance(held, CallHeld)
            assert held.reason is FallbackReason.LEDGER_UNAVAILABLE
            assert 0.5 < now_s() - began_s < 5
            assert other.is_open(), "the accounts of other servers go on"
            with pytest.raises(CallHeld):
                await gate.wait(now_s() - 1)
        await watch.aclose()

    run(story())


def test_law_5a_an_account_is_read_while_something_of_it_runs(switches: Switches) -> None:
    async def story() -> None:
        watch = SwitchWatch(switches, patience_s=1)
        watch.start()
        with watch.gate("acme", DIMENSIONS, now_s()):
            with watch.gate("acme", DIMENSIONS, now_s()), watch.gate("other", DIMENSIONS, now_s()):
                await asyncio.sleep(1.5 * READ_EVERY_S)
            assert set(switches.read_of[-1]) == {"acme", "other"}
            await asyncio.sleep(1.5 * READ_EVERY_S)
            assert switches.read_of[-1] == ("acme",)
        await asyncio.sleep(READ_EVERY_S)
        read = len(switches.read_of)
        await asyncio.sleep(1.5 * READ_EVERY_S)
        assert len(switches.read_of) == read
        await watch.aclose()

    run(story())


def test_law_15_and_5a_very_many_accounts_are_read_in_parts(switches: Switches) -> None:
    async def story() -> None:
        watch = SwitchWatch(switches, patience_s=1)
        watch.start()
        with ExitStack() as stack:
            gates = [
                stack.enter_context(watch.gate(f"account-{number}", DIMENSIONS, now_s() - 60))
                for number in range(2 * MOST_AT_ONCE + 1)
            ]
            await gates[-1].wait(now_s() + 1)
            assert all(gate.is_open() for gate in gates)
        await watch.aclose()
        assert [len(names) for names in switches.read_of] == [MOST_AT_ONCE, MOST_AT_ONCE, 1]

    run(story())
