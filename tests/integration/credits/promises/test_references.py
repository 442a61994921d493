"""Law 3d: what changes an account is done once for each reference, for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from pricing.offers import GrantKind
from runtime.credits.caps import Cap, CapWindow
from runtime.credits.results import Granted, ReferenceConflict, Voided
from tests.harness.ledger.desk import ACCOUNT, Desk, OpenDesk
from tests.harness.ledger.verbs import CAP, CHANGES, OTHER_CAP, Change, lived_in

# What a reference is stored as: the first thing that two changes may differ in.
KINDS = {
    "grant": "promotional",
    "purchase": "purchased",
    "adjustment": "adjustment",
    "void": "void",
    "change_plan": "plan_change",
    "change_timezone": "timezone_change",
    "set_cap": "cap",
    "remove_cap": "cap",
    "switch_off": "switch",
    "switch_off a campaign": "switch",
    "switch_on": "switch",
    "close_account": "close",
}


def is_new(answer: Any) -> bool:
    return answer.new if isinstance(answer, Granted | Voided) else answer


def without_available(answer: Any) -> Any:
    """The answer but for what is available now, and for being new."""
    if isinstance(answer, Granted):
        return answer.grant_id
    return (answer.grant_id, answer.amount_mc) if isinstance(answer, Voided) else None


@pytest.mark.parametrize("name", CHANGES)
async def test_law_3d_a_change_made_again_changes_nothing_and_gives_the_first_answer(
    desk: Desk, name: str
) -> None:
    change = CHANGES[name]
    await lived_in(desk)
    first = await change(desk, "ref-1")
    before = await desk.state()

    again = await change(desk, "ref-1")

    assert is_new(first)
    assert not is_new(again)
    assert without_available(again) == without_available(first)
    assert await desk.state() == before


@pytest.mark.parametrize("name", CHANGES)
async def test_law_3d_a_reference_is_known_for_ever_and_after_the_account_was_closed(
    desk: Desk, name: str
) -> None:
    change = CHANGES[name]
    await lived_in(desk)
    first = await change(desk, "ref-1")
    if name != "close_account":
        await desk.ledger.accounts.close_account(ACCOUNT, reference="closing", reason="they left")
    for _ in range(2):
        await desk.pass_time(25 * 365 * 86_400_000)
        await desk.write_what_is_due()
    before = await desk.state()

    again = await change(desk, "ref-1")

    assert not is_new(again)
    assert without_available(again) == without_available(first)
    assert await desk.state() == before


@pytest.mark.parametrize("name", CHANGES)
async def test_law_3d_asked_by_many_at_once_a_change_is_made_once(desk: Desk, name: str) -> None:
    change = CHANGES[name]
    await lived_in(desk)
    entries = (await desk.balance()).journal_seq

    answers = await asyncio.gather(*(change(desk, "ref-1") for _ in range(20)))

    assert sum(map(is_new, answers)) == 1
    assert (await desk.balance()).journal_seq == entries + 1


@pytest.mark.parametrize("first", KINDS)
async def test_law_3d_a_reference_used_for_one_thing_is_refused_for_another_naming_the_field(
    desk: Desk, first: str
) -> None:
    await lived_in(desk)
    await CHANGES[first](desk, "ref-1")
    before = await desk.state()

    for second in KINDS.keys() - {first}:
        with pytest.raises(ReferenceConflict, match="'ref-1'") as conflict:
            await CHANGES[second](desk, "ref-1")

        if KINDS[first] == KINDS[second]:
            assert conflict.value.field == {"cap": "cap", "switch": "target"}[KINDS[first]]
        else:
            assert str(conflict.value).endswith(f"kind {KINDS[first]}")
            assert conflict.value.field == "kind"
    assert await desk.state() == before


# The same verb with another value: what the field is, and what is stored of the first
DIFFERENCES: dict[str, tuple[Change, Change, str, str]] = {
    "another amount": (
        lambda desk, ref: desk.grant(100, reference=ref),
        lambda desk, ref: desk.grant(101, reference=ref),
        "amount_mc",
        "100",
    ),
    "another purchase": (
        lambda desk, ref: desk.ledger.accounts.purchase(
            ACCOUNT, credits=100_000, payment_reference=ref
        ),
        lambda desk, ref: desk.ledger.accounts.purchase(
            ACCOUNT, credits=200_000, payment_reference=ref
        ),
        "amount_mc",
        "100000000",
    ),
    "another kind, and another amount": (
        lambda desk, ref: desk.grant(100, reference=ref),
        lambda desk, ref: desk.grant(200, reference=ref, kind=GrantKind.PLAN),
        "kind",
        "promotional",
    ),
    "another grant is voided": (
        lambda desk, ref: desk.ledger.accounts.void(ACCOUNT, "g2", reference=ref, reason="so"),
        lambda desk, ref: desk.ledger.accounts.void(ACCOUNT, "g1", reference=ref, reason="so"),
        "grant_id",
        "g2",
    ),
    "another plan": (
        lambda desk, ref: desk.ledger.accounts.change_plan(ACCOUNT, plan="trial", reference=ref),
        lambda desk, ref: desk.ledger.accounts.change_plan(ACCOUNT, plan="growth", reference=ref),
        "plan",
        "trial",
    ),
    "another cap": (
        lambda desk, ref: desk.ledger.accounts.set_cap(ACCOUNT, CAP, limit_mc=7, reference=ref),
        lambda desk, ref: desk.ledger.accounts.set_cap(
            ACCOUNT, OTHER_CAP, limit_mc=8, reference=ref
        ),
        "cap",
        "day",
    ),
    "another limit": (
        lambda desk, ref: desk.ledger.accounts.set_cap(ACCOUNT, CAP, limit_mc=7, reference=ref),
        lambda desk, ref: desk.ledger.accounts.set_cap(ACCOUNT, CAP, limit_mc=8, reference=ref),
        "limit_mc",
        "7",
    ),
    "a limit, then its removal": (
        lambda desk, ref: desk.ledger.accounts.set_cap(ACCOUNT, CAP, limit_mc=7, reference=ref),
        lambda desk, ref: desk.ledger.accounts.remove_cap(ACCOUNT, CAP, reference=ref),
        "limit_mc",
        "7",
    ),
    "a removal, then a limit": (
        lambda desk, ref: desk.ledger.accounts.remove_cap(ACCOUNT, CAP, reference=ref),
        lambda desk, ref: desk.ledger.accounts.set_cap(ACCOUNT, CAP, limit_mc=7, reference=ref),
        "limit_mc",
        "none",
    ),
    "another target": (
        lambda desk, ref: desk.ledger.accounts.switch_off(ACCOUNT, workspace_id="a", reference=ref),
        lambda desk, ref: desk.ledger.accounts.switch_off(ACCOUNT, action="a", reference=ref),
        "target",
        "workspace a",
    ),
    "off, then on": (
        lambda desk, ref: desk.ledger.accounts.switch_off(ACCOUNT, reference=ref),
        lambda desk, ref: desk.ledger.accounts.switch_on(ACCOUNT, reference=ref),
        "on",
        "0",
    ),
}


@pytest.mark.parametrize("name", DIFFERENCES)
@pytest.mark.parametrize("closed", [False, True], ids=["open", "closed meanwhile"])
async def test_law_3d_the_same_reference_with_another_value_is_a_conflict_that_names_it(
    desk: Desk, name: str, closed: bool
) -> None:
    first, second, field, stored = DIFFERENCES[name]
    await lived_in(desk)
    await first(desk, "ref-1")
    if closed:
        await desk.ledger.accounts.close_account(ACCOUNT, reference="closing", reason="they left")
    before = await desk.state()

    with pytest.raises(ReferenceConflict) as conflict:
        await second(desk, "ref-1")

    assert conflict.value.field == field
    assert str(conflict.value).endswith(f"{field} {stored}")
    assert await desk.state() == before


async def test_law_3d_what_is_only_told_is_not_compared(desk: Desk) -> None:
    await desk.open()
    await desk.grant(100, reference="ref-1", priority=1, actor="ann")

    again = await desk.grant(100, reference="ref-1", expires_in_ms=5, actor="bob")

    assert (again.grant_id, again.new) == ("g1", False)
    assert (await desk.parts()).expires_at_ms is None


async def test_law_3d_references_are_an_accounts_own(desk: Desk) -> None:
    for account_id in (ACCOUNT, "other"):
        await desk.open(account_id=account_id)
        granted = await desk.grant(100, reference="ref-1", account_id=account_id)
        assert granted.new


@pytest.mark.parametrize(
    "reference",
    ["x", "x" * 200, "ä ☂ \N{SMILING FACE WITH SUNGLASSES}", "kind", "0", "__index", " ", "1;2|3"],
)
async def test_law_3d_any_printable_reference_is_kept_as_it_is(desk: Desk, reference: str) -> None:
    await desk.open()
    granted = await desk.grant(100, reference=reference, actor=reference)
    again = await desk.grant(100, reference=reference)

    assert (granted.new, again.new) == (True, False)
    entry = (await desk.journal())[-1]
    assert (entry.reference, entry.actor) == (reference, reference)
    assert (await desk.parts()).reference == reference


@pytest.mark.parametrize("reference", ["", "x" * 201, "a\tb", "a\nb", "\x7f", "\x00", "\ud800"])
async def test_law_3d_a_reference_that_cant_be_kept_is_refused_before_redis(
    desk: Desk, reference: str
) -> None:
    await lived_in(desk)
    before = await desk.state()

    for change in CHANGES.values():
        with pytest.raises(ValueError, match=r"reference|surrogates"):
            await change(desk, reference)

    assert await desk.state() == before


async def test_law_3d_a_later_change_under_another_reference_stands_when_the_first_is_repeated(
    desk: Desk,
) -> None:
    await desk.open(100)
    ledger = desk.ledger
    cap = Cap(CapWindow.DAY)
    repeats: list[Callable[[], Awaitable[bool]]] = [
        lambda: ledger.accounts.set_cap(ACCOUNT, cap, limit_mc=10, reference="cap-1"),
        lambda: ledger.accounts.switch_off(ACCOUNT, reference="off-1"),
        lambda: ledger.accounts.change_plan(ACCOUNT, plan="trial", reference="plan-1"),
    ]
    for change in repeats:
        assert await change()
    assert await ledger.accounts.set_cap(ACCOUNT, cap, limit_mc=20, reference="cap-2")
    assert await ledger.accounts.switch_on(ACCOUNT, reference="on-1")
    assert await ledger.accounts.change_plan(ACCOUNT, plan="growth", reference="plan-2")

    for change in repeats:
        assert not await change()

    (status,) = await ledger.accounts.caps(ACCOUNT)
    balance = await desk.balance()
    assert (status.limit_mc, balance.switched_off, balance.plan) == (20, (), "growth")


async def test_law_3d_an_account_opened_by_many_is_opened_once(open_desk: OpenDesk) -> None:
    async with open_desk() as desk, open_desk() as another:
        answers = await asyncio.gather(
            *(
                ledger.accounts.open_account(ACCOUNT, plan="growth")
                for ledger in (desk.ledger, another.ledger)
                for _ in range(10)
            )
        )

        assert sum(answers) == 1
        assert [entry.kind for entry in await desk.journal()] == ["opened"]
