"""What can be asked: each verb with its arguments, for the ledger and for the model."""

from __future__ import annotations

from collections.abc import Callable

from fallback.reasons import FallbackReason
from pricing.offers import MAX_MC, GrantKind
from runtime.credits.alert_marks import AlertMarks
from runtime.credits.batch import Call, Mode
from runtime.credits.endings import Release, Settlement
from runtime.credits.results import NotBooked
from runtime.credits.schema import NEWEST
from tests.harness.ledger.desk import instant
from tests.harness.ledger.duel import Ask, Duel, Made
from tests.harness.ledger.plain import cap_of
from tests.harness.model import CapName
from tests.harness.model.books import Choices, Marks
from tests.harness.model.references import Answer

ORPHAN_MC = 50
ORPHAN_AGE_MS = 500


def grant(
    duel: Duel, reference: str, kind: GrantKind, amount_mc: int, priority: int, expires: int | None
) -> Ask:
    corrects = "journey-1:step:1" if kind is GrantKind.ADJUSTMENT else None
    return Ask(
        lambda: duel.desk.ledger.accounts.grant(
            duel.account_id,
            amount_mc=amount_mc,
            kind=kind,
            reference=reference,
            priority=priority,
            expires_at=None if expires is None else instant(expires),
            execution_id=corrects,
        ),
        lambda: duel.model.grant(reference, kind, amount_mc, priority, expires),
        is_about_account=True,
    )


def open_again(duel: Duel, plan: str, timezone: str) -> Ask:
    return Ask(
        lambda: duel.desk.ledger.accounts.open_account(
            duel.account_id, plan=plan, timezone=timezone, paying_since=duel.today
        ),
        lambda: duel.model.open_account(plan, timezone),
        is_about_account=True,
        then=_offers_of(duel, plan),
    )


def change_plan(duel: Duel, reference: str, plan: str) -> Ask:
    return Ask(
        lambda: duel.desk.ledger.accounts.change_plan(
            duel.account_id, plan=plan, reference=reference, paying_since=duel.today
        ),
        lambda: duel.model.change_plan(reference, plan),
        is_about_account=True,
        then=_offers_of(duel, plan),
    )


def change_timezone(duel: Duel, reference: str, timezone: str) -> Ask:
    return Ask(
        lambda: duel.desk.ledger.accounts.change_timezone(
            duel.account_id, timezone=timezone, reference=reference
        ),
        lambda: duel.model.change_timezone(reference, timezone),
        is_about_account=True,
    )


def _offers_of(duel: Duel, plan: str) -> Callable[[Answer], None]:
    def then(answer: Answer) -> None:
        if answer[0] == "done":
            duel.give_offers(plan)

    return then


def void(duel: Duel, reference: str, grant_id: str) -> Ask:
    return Ask(
        lambda: duel.desk.ledger.accounts.void(
            duel.account_id, grant_id, reference=reference, reason="a test"
        ),
        lambda: duel.model.void(reference, grant_id),
        is_about_account=True,
    )


def close(duel: Duel, reference: str) -> Ask:
    return Ask(
        lambda: duel.desk.ledger.accounts.close_account(
            duel.account_id, reference=reference, reason="a test"
        ),
        lambda: duel.model.close(reference),
        is_about_account=True,
    )


def set_cap(duel: Duel, reference: str, name: CapName, limit_mc: int, used_mc: int) -> Ask:
    cap = cap_of(name)
    return Ask(
        lambda: duel.desk.ledger.accounts.set_cap(
            duel.account_id, cap, limit_mc=limit_mc, reference=reference, used_mc=used_mc
        ),
        lambda: duel.model.set_cap(reference, name, limit_mc, used_mc),
        is_about_account=True,
    )


def set_alert_marks(duel: Duel, before: Marks | None, after: Marks | None) -> Ask:
    async def ledger() -> Answer:
        accounts = duel.desk.ledger.accounts
        own, found = _marks(after), _marks(before)
        return ("marks", await accounts.set_alert_marks(duel.account_id, own, before=found))

    return Ask(ledger, lambda: duel.model.set_alert_marks(before, after), is_about_account=True)


def _marks(marks: Marks | None) -> AlertMarks | None:
    return None if marks is None else AlertMarks(marks[0], tuple(f"c{p}" for p in marks[1]))


def remove_cap(duel: Duel, reference: str, name: CapName) -> Ask:
    cap = cap_of(name)
    return Ask(
        lambda: duel.desk.ledger.accounts.remove_cap(duel.account_id, cap, reference=reference),
        lambda: duel.model.remove_cap(reference, name),
        is_about_account=True,
    )


def switch(duel: Duel, reference: str, target: str, on: bool) -> Ask:
    kind, _, name = target.partition(" ")
    named: dict[str, str] = {}
    if kind != "account":
        named = {"action" if kind == "action" else f"{kind}_id": name}
    ledger = duel.desk.ledger
    verb = ledger.accounts.switch_on if on else ledger.accounts.switch_off
    return Ask(
        lambda: verb(duel.account_id, reference=reference, **named),
        lambda: duel.model.switch(reference, target, on),
        is_about_account=True,
    )


def upgrade(duel: Duel) -> Ask:
    async def ask() -> object:
        call = Call("upgrade", (NEWEST,), mode=Mode.ACCOUNT)
        _, is_new = await duel.desk.script_client.ask(duel.account_id, call)
        return ("upgraded", bool(is_new))

    def asked_of_the_model() -> Answer:
        return duel.model.upgrade()  # of the one that there is then

    return Ask(ask, asked_of_the_model, is_about_account=True)


def reserve(duel: Duel, made: Made, amount_mc: int, ttl_ms: int, final: bool) -> Ask:
    attempt = made.attempt

    def then(answer: Answer) -> None:
        if answer[0] != "execution_conflict" and made not in duel.made:
            duel.made.append(made)
        if answer[0] == "reserved":
            _, amount, _, reserved_at, _ = answer
            assert isinstance(amount, int)
            assert isinstance(reserved_at, int)
            duel.reserved[attempt.attempt_id] = (amount, reserved_at)

    body = b"refused" if final else b""
    return Ask(
        lambda: duel.desk.ledger.reserve(attempt, amount_mc, ttl_ms, final=final, outcome=body),
        lambda: duel.model.reserve(
            attempt.execution_id, attempt.attempt_id, made.identity, amount_mc, ttl_ms, final, body
        ),
        then=then,
    )


def settle(
    duel: Duel,
    made: Made,
    above_quote_mc: int,
    exposure_mc: int,
    free_mc: int,
    reason: FallbackReason | None,
    choices: Choices,
) -> Ask:
    attempt = made.attempt
    # One that has not reserved here is an orphan: Redis lost its reservation.
    orphan = (ORPHAN_MC, duel.desk.now_ms - ORPHAN_AGE_MS)
    amount_mc, at_ms = duel.reserved.get(attempt.attempt_id, orphan)
    cost_mc = min(MAX_MC, max(0, amount_mc + above_quote_mc))
    body = b"answered %d" % cost_mc

    async def ask() -> object:
        answer = await duel.desk.ledger.settle(
            Settlement(
                attempt,
                cost_mc=cost_mc,
                reserved_mc=amount_mc,
                reserved_at_ms=at_ms,
                tokens="",
                rate_card_version="",
                exposure_mc=exposure_mc,
                free_mc=free_mc,
                reason=reason,
                choices=choices,
                outcome=body,
            )
        )
        return ("dead",) if isinstance(answer, NotBooked) else answer

    return Ask(
        ask,
        lambda: duel.model.settle(
            attempt.execution_id,
            attempt.attempt_id,
            made.identity,
            cost_mc,
            amount_mc,
            at_ms,
            exposure_mc,
            free_mc,
            reason or "",
            choices,
            body,
        ),
        ends=True,
    )


def release(duel: Duel, made: Made, exposure_mc: int, store: bool) -> Ask:
    attempt, reason = made.attempt, FallbackReason.PROVIDER_ERROR
    body = b"fallback" if store else None
    return Ask(
        lambda: duel.desk.ledger.release(
            Release(attempt, reason, exposure_mc=exposure_mc, outcome=body)
        ),
        lambda: duel.model.release(
            attempt.execution_id, attempt.attempt_id, made.identity, reason, exposure_mc, body
        ),
        ends=True,
    )


def conclude(duel: Duel, made: Made, reason: FallbackReason) -> Ask:
    attempt, body = made.attempt, b"concluded"

    async def ask() -> object:
        answer = await duel.desk.ledger.conclude(attempt, reason, body)
        return ("concluded",) if answer is None else answer

    return Ask(
        ask,
        lambda: duel.model.conclude(
            attempt.execution_id, attempt.attempt_id, made.identity, reason, body
        ),
    )
