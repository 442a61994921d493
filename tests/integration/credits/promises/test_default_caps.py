"""Law 1b: the caps that new workspaces and campaigns begin with are exact from the first call."""

from __future__ import annotations

import asyncio

import pytest

from fallback.reasons import FallbackReason
from runtime.credits.caps import Cap, CapStatus, DefaultCap
from runtime.credits.journal import Kind
from runtime.credits.results import Refused, Reserved
from runtime.credits.settings import LedgerSettings
from tests.harness.ledger.desk import ACCOUNT, Desk, OpenDesk

BY_CAMPAIGN = DefaultCap("campaign_id", "total", 100)
BY_WORKSPACE = DefaultCap("workspace_id", "day", 250)


async def caps(desk: Desk) -> dict[Cap, CapStatus]:
    return {found.cap: found for found in await desk.ledger.accounts.caps(ACCOUNT)}


async def reserve(desk: Desk, amount: int, **dimensions: str) -> Reserved | Refused:
    answer = await desk.ledger.reserve(desk.attempt(**dimensions), amount, 60_000)
    assert isinstance(answer, Reserved | Refused)
    return answer


async def test_law_1b_a_new_name_begins_with_its_cap_and_its_first_reservation_is_held_to_it(
    open_desk: OpenDesk,
) -> None:
    async with open_desk(default_caps=(BY_WORKSPACE, BY_CAMPAIGN)) as desk:
        await desk.open(10_000)
        assert await caps(desk) == {}

        refused = await reserve(desk, 101, campaign_id="spring & autumn")
        assert isinstance(refused, Refused)
        assert refused.reason is FallbackReason.CAP_REACHED
        assert refused.cap is not None
        assert refused.cap.cap == BY_CAMPAIGN.cap("spring & autumn")
        assert isinstance(await reserve(desk, 60, campaign_id="spring & autumn"), Reserved)
        assert isinstance(await reserve(desk, 41, campaign_id="spring & autumn"), Refused)
        assert isinstance(await reserve(desk, 100, campaign_id="winback"), Reserved)

        found = await caps(desk)
        assert found[BY_CAMPAIGN.cap("spring & autumn")].reserved_mc == 60
        assert found[BY_CAMPAIGN.cap("winback")].reserved_mc == 100
        (workspace,) = [one for cap, one in found.items() if cap.workspace_id]
        assert (workspace.limit_mc, workspace.reserved_mc) == (250, 160)


async def test_law_1b_a_default_cap_that_was_changed_or_removed_stays_as_it_is(
    open_desk: OpenDesk,
) -> None:
    async with open_desk(default_caps=(BY_CAMPAIGN,)) as desk:
        await desk.open(10_000)
        accounts, cap = desk.ledger.accounts, BY_CAMPAIGN.cap("welcome")
        await reserve(desk, 50, campaign_id="welcome")
        await accounts.set_cap(ACCOUNT, cap, limit_mc=70, reference="lower")
        assert isinstance(await reserve(desk, 21, campaign_id="welcome"), Refused)

        await accounts.remove_cap(ACCOUNT, cap, reference="off")
        assert isinstance(await reserve(desk, 5_000, campaign_id="welcome"), Reserved)
        assert await caps(desk) == {}


async def test_law_1b_a_cap_that_was_set_before_takes_the_place_of_the_default(
    open_desk: OpenDesk,
) -> None:
    async with open_desk(default_caps=(BY_CAMPAIGN,)) as desk:
        await desk.open(10_000)
        cap = BY_CAMPAIGN.cap("welcome")
        await desk.ledger.accounts.set_cap(ACCOUNT, cap, limit_mc=5_000, reference="own")
        assert isinstance(await reserve(desk, 5_000, campaign_id="welcome"), Reserved)


async def test_law_1b_of_many_first_reservations_at_once_none_passes_the_cap(
    open_desk: OpenDesk,
) -> None:
    async with open_desk(default_caps=(BY_CAMPAIGN, BY_WORKSPACE)) as desk:
        await desk.open(10_000)
        other = Cap("day", source="preview")
        await desk.ledger.accounts.set_cap(ACCOUNT, other, limit_mc=9, reference="other")
        answers = await asyncio.gather(
            *(
                reserve(desk, 30, campaign_id="welcome", action=f"action-{number % 3}")
                for number in range(40)
            )
        )
        assert sum(isinstance(answer, Reserved) for answer in answers) == 3
        assert (await caps(desk))[BY_CAMPAIGN.cap("welcome")].reserved_mc == 90


async def test_law_1b_new_names_in_one_batch_each_begin_with_a_cap(open_desk: OpenDesk) -> None:
    async with open_desk(default_caps=(BY_CAMPAIGN,)) as desk:
        await desk.open(10_000)
        answers = await asyncio.gather(
            *(reserve(desk, 60, campaign_id=f"c{number % 6}") for number in range(24))
        )
        assert sum(isinstance(answer, Reserved) for answer in answers) == 6
        assert len(await caps(desk)) == 6


async def test_law_2c_a_default_cap_is_journaled_once(open_desk: OpenDesk) -> None:
    async with open_desk(default_caps=(BY_CAMPAIGN,)) as desk:
        await desk.open(10_000)
        for _ in range(3):
            await reserve(desk, 10, campaign_id="a;b=c")
        (entry,) = [entry for entry in await desk.journal() if entry.kind is Kind.CAP_SET]
        assert entry.actor == "default_caps"
        name = str(BY_CAMPAIGN.cap("a;b=c"))
        assert ";".join(entry.detail) == f"{name};100;0"
        assert entry.reference.startswith("default-cap:")


async def test_what_costs_nothing_begins_no_cap(open_desk: OpenDesk) -> None:
    async with open_desk(default_caps=(BY_CAMPAIGN,)) as desk:
        await desk.open(10_000)
        assert isinstance(await reserve(desk, 0), Reserved)
        assert await caps(desk) == {}


def test_one_default_for_each_dimension() -> None:
    with pytest.raises(ValueError, match="one for each dimension"):
        LedgerSettings(default_caps=(BY_CAMPAIGN, DefaultCap("campaign_id", "day", 5)))
