"""Law 12b for caps, and the alert marks that an account has of its own."""

from __future__ import annotations

import pytest

from runtime.credits.alert_marks import AlertMarks
from runtime.credits.caps import Cap, CapWindow
from runtime.credits.results import Alert, Refused
from tests.harness.ledger.desk import ACCOUNT, Desk, OpenDesk

DAY_MS = 86_400_000
CAP = Cap(CapWindow.DAY, workspace_id="retail")


def told(desk: Desk) -> list[tuple[str, int]]:
    return [(alert.mark, alert.cap_charged_mc) for alert in desk.alerts]


async def set_cap(desk: Desk, limit_mc: int, reference: str = "a cap", used_mc: int = 0) -> None:
    await desk.ledger.accounts.set_cap(
        ACCOUNT, CAP, limit_mc=limit_mc, reference=reference, used_mc=used_mc
    )


async def test_law_12b_a_mark_of_a_cap_is_told_once_a_window_exactly_at_included(
    open_desk: OpenDesk,
) -> None:
    async with open_desk(low_marks=(), cap_marks=("c80",)) as desk:
        await desk.open(100_000)
        await set_cap(desk, 1_000)
        await desk.spend(799)
        assert desk.alerts == []

        await desk.spend(1)
        await desk.spend(100)

        assert desk.alerts == [
            Alert(ACCOUNT, "c80", 800, 99_200, cap=CAP, cap_limit_mc=1_000, cap_charged_mc=800)
        ]
        await desk.pass_time(DAY_MS)
        await desk.spend(850)
        assert told(desk) == [("c80", 800), ("c80", 850)]


async def test_law_12b_a_cap_that_refuses_is_told_although_it_was_not_charged_in_full(
    open_desk: OpenDesk,
) -> None:
    async with open_desk(low_marks=(), cap_marks=("c100",)) as desk:
        await desk.open(100_000)
        await set_cap(desk, 1_000)
        await desk.spend(980)
        assert isinstance(await desk.ledger.reserve(desk.attempt(), 30, 1_000), Refused)
        assert desk.alerts == [], "a refusal that is not final concludes nothing"

        for _ in range(2):
            await desk.ledger.reserve(desk.attempt(), 30, 1_000, final=True)

        assert told(desk) == [("c100", 980)]


async def test_law_12b_a_limit_that_is_lowered_tells_and_one_that_is_raised_arms_again(
    open_desk: OpenDesk,
) -> None:
    async with open_desk(low_marks=(), cap_marks=("c50",)) as desk:
        await desk.open(100_000)
        await set_cap(desk, 1_000)
        await desk.spend(400)
        await set_cap(desk, 700, "lower")
        assert told(desk) == [("c50", 400)]
        await set_cap(desk, 700, "the same")
        await set_cap(desk, 2_000, "higher")
        await desk.spend(599)
        assert told(desk) == [("c50", 400)]

        await desk.spend(1)

        assert told(desk) == [("c50", 400), ("c50", 1_000)]


async def test_law_12b_what_was_told_goes_with_the_window_and_with_the_cap(
    open_desk: OpenDesk,
) -> None:
    async with open_desk(low_marks=(), cap_marks=("c1",)) as desk:
        await desk.open(100_000)
        await set_cap(desk, 1_000)
        for _ in range(3):
            await desk.spend(100)
            await desk.pass_time(DAY_MS)
        fields = await desk.client.hkeys(desk.key("limits"))
        assert len([field for field in fields if field.startswith(b"told ")]) == 1
        await desk.ledger.accounts.remove_cap(ACCOUNT, CAP, reference="no cap")

        assert await desk.client.hlen(desk.key("limits")) == 0
        await desk.spend(100)
        assert len(desk.alerts) == 3


async def test_law_7a_a_damaged_cap_keeps_no_settlement_out(open_desk: OpenDesk) -> None:
    async with open_desk(low_marks=(), cap_marks=("c1",)) as desk:
        await desk.open(100_000)
        attempt, reserved = await desk.reserve(100)
        await set_cap(desk, 1_000)
        await desk.client.hset(desk.key("limits"), CAP.field, "1\tnonsense")

        settled = await desk.settle(attempt, reserved, 90)

        assert settled.charged_mc == 90


async def test_law_12b_an_account_has_marks_of_its_own_in_place_of_the_configured_ones(
    open_desk: OpenDesk,
) -> None:
    async with open_desk(low_marks=("p20",), cap_marks=("c80",)) as desk:
        await desk.open(1_000)
        accounts = desk.ledger.accounts
        assert await accounts.alert_marks(ACCOUNT) is None
        own = AlertMarks(("a500", "p10"), ("c30",))
        assert await accounts.set_alert_marks(ACCOUNT, own, before=None)
        assert await accounts.set_alert_marks(ACCOUNT, own, before=None), "a repeat is no conflict"
        assert not await accounts.set_alert_marks(ACCOUNT, None, before=AlertMarks(("p1",)))
        assert await accounts.alert_marks(ACCOUNT) == own
        await set_cap(desk, 1_000)

        await desk.spend(500)
        await desk.spend(300)
        await desk.spend(100)

        assert [alert.mark for alert in desk.alerts] == ["c30", "a500", "p10"]

        assert await accounts.set_alert_marks(ACCOUNT, None, before=own)
        assert await accounts.alert_marks(ACCOUNT) is None
        await set_cap(desk, 100_000, "more")
        await desk.grant(900)
        await desk.spend(900)
        assert desk.alerts[-1].mark == "p20"


async def test_law_12b_no_marks_at_all_are_marks_of_its_own(desk: Desk) -> None:
    await desk.open(1_000)
    assert await desk.ledger.accounts.set_alert_marks(ACCOUNT, AlertMarks(), before=None)
    assert await desk.ledger.accounts.alert_marks(ACCOUNT) == AlertMarks()

    await desk.spend(900)

    assert desk.alerts == []


async def test_law_12b_a_mark_that_waits_is_dropped_with_the_marks(open_desk: OpenDesk) -> None:
    async with open_desk(low_marks=("p20",), alert_cooldown_ms=60_000) as desk:
        await desk.open(1_000)
        await desk.spend(900)
        await desk.grant(900)
        await desk.spend(900)  # within the cool-down: it waits
        own = AlertMarks(("p50",))
        assert await desk.ledger.accounts.set_alert_marks(ACCOUNT, own, before=None)
        await desk.pass_time(60_000)
        await desk.write_what_is_due()

        assert [alert.mark for alert in desk.alerts] == ["p20"]


@pytest.mark.parametrize(
    "low, caps", [(("p100",), ()), ((), ("c101",)), (("c80",), ()), (("a1",) * 21, ())]
)
def test_law_15_marks_that_are_none_or_too_many_are_refused(
    low: tuple[str, ...], caps: tuple[str, ...]
) -> None:
    with pytest.raises(ValueError, match="marks: found"):
        AlertMarks(low, caps)
