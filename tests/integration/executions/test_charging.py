"""Who can take credits from an account: an answered execution, and nobody else."""

from __future__ import annotations

from creditgate import FallbackReason
from pricing.offers import GrantKind
from runtime.credits.caps import Cap, CapWindow
from runtime.credits.endings import Release
from runtime.credits.results import Reserved
from tests.harness.workbench import ACCOUNT, Workbench

LEDGER = {
    "accounts",
    "attempt",
    "check_clock",
    "check_installation",
    "conclude",
    "corrections",  # which, as rebuilding does, charges again what was charged and lost
    "drain",
    "end",
    "erasure",
    "guard",
    "hand_abandoned_to",
    "inspection",
    "key_check",
    "look_up",
    "migration",
    "outcomes",
    "rebuilding",
    "release",
    "repairs",
    "reserve",
    "settings",
    "settle",
    "store_installation",
    "sweep",
    "sweeper",
    "tell_to",
    "unnamed_attempt",
    "watch",
}
ACCOUNTS = {
    "alert_marks",
    "balance",
    "caps",
    "change_plan",
    "change_timezone",
    "close_account",
    "grant",
    "open_account",
    "purchase",
    "remove_cap",
    "set_alert_marks",
    "set_cap",
    "switch",
    "switch_off",
    "switch_on",
    "switches",
    "void",
}
NEW_VERB = "does the new verb charge? then this test must say so"


def public_names(verbs: object) -> set[str]:
    return {name for name in dir(verbs) if not name.startswith("_")}


async def test_law_13_no_verb_but_settle_takes_credits(bench: Workbench) -> None:
    ledger = bench.ledger
    assert public_names(ledger) == LEDGER, NEW_VERB
    assert public_names(ledger.accounts) == ACCOUNTS, NEW_VERB

    await ledger.accounts.open_account(ACCOUNT, plan="growth")
    await ledger.accounts.grant(
        ACCOUNT, amount_mc=5, kind=GrantKind.ADJUSTMENT, reference="adjusted"
    )
    await ledger.accounts.purchase(ACCOUNT, credits=100_000, payment_reference="paid")
    before = await bench.books()
    for number in range(3):
        attempt = ledger.attempt(
            account_id=ACCOUNT,
            execution_id=f"by-hand-{number}",
            workspace_id="retail",
            campaign_id="welcome",
            person_id="p1",
            action="route",
            source="live",
        )
        if number == 0:
            await ledger.conclude(attempt, FallbackReason.INSUFFICIENT_CREDITS)
            continue
        assert isinstance(await ledger.reserve(attempt, 1_000, 60_000), Reserved)
        await ledger.look_up(attempt)
        await ledger.end(Release(attempt, exposure_mc=number * 700))
    cap = Cap(CapWindow.TOTAL)
    await ledger.accounts.set_cap(ACCOUNT, cap, limit_mc=1_000, used_mc=700, reference="cap")
    await ledger.accounts.remove_cap(ACCOUNT, cap, reference="no cap")
    await ledger.accounts.switch_off(ACCOUNT, reference="off")
    await ledger.accounts.switch_on(ACCOUNT, reference="on")
    await ledger.accounts.change_plan(ACCOUNT, plan="trial", reference="smaller")
    await ledger.sweep()

    after = await bench.books()
    assert after.charged_mc == before.charged_mc == 0
    assert after.available_mc == before.available_mc == after.granted_mc

    # What an operator takes back is not charged to anybody.
    await ledger.accounts.void(ACCOUNT, "g1", reference="void", reason="given by mistake")
    await ledger.accounts.close_account(ACCOUNT, reference="end", reason="left")
    closed = await bench.books()
    assert (closed.charged_mc, closed.voided_mc) == (0, closed.granted_mc)


async def test_law_13_an_execution_without_an_answer_takes_nothing_and_one_with_it_does(
    bench: Workbench,
) -> None:
    await bench.execute(data={"customer": {}})
    assert (await bench.books()).charged_mc == 0

    answered = await bench.execute()
    assert (await bench.books()).charged_mc == answered.charged_mc > 0
