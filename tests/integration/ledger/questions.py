"""What can be asked: each verb with its arguments, for the ledger and for the model."""

from __future__ import annotations

from fallback.reasons import FallbackReason
from pricing.offers import MAX_MC, GrantKind
from tests.integration.ledger.desk import instant
from tests.integration.ledger.duel import Ask, Duel, Made
from tests.integration.ledger.model.references import Answer

ORPHAN_MC = 50
ORPHAN_AGE_MS = 500


def grant(
    duel: Duel, reference: str, kind: GrantKind, amount_mc: int, priority: int, expires: int | None
) -> Ask:
    return Ask(
        lambda: duel.desk.ledger.grant(
            duel.account_id,
            amount_mc=amount_mc,
            kind=kind,
            reference=reference,
            priority=priority,
            expires_at=None if expires is None else instant(expires),
        ),
        lambda: duel.model.grant(reference, kind, amount_mc, priority, expires),
    )


def open_again(duel: Duel, plan: str, timezone: str) -> Ask:
    return Ask(
        lambda: duel.desk.ledger.open_account(duel.account_id, plan=plan, timezone=timezone),
        lambda: duel.model.open_account(plan, timezone),
    )


def reserve(duel: Duel, made: Made, amount_mc: int, ttl_ms: int, final: bool) -> Ask:
    attempt = made.attempt

    def hear(answer: Answer) -> None:
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
        hear=hear,
    )


def settle(duel: Duel, made: Made, above_quote_mc: int, exposure_mc: int) -> Ask:
    attempt = made.attempt
    # One that has not reserved here is an orphan: Redis lost its reservation.
    orphan = (ORPHAN_MC, duel.desk.now_ms - ORPHAN_AGE_MS)
    amount_mc, at_ms = duel.reserved.get(attempt.attempt_id, orphan)
    cost_mc = min(MAX_MC, max(0, amount_mc + above_quote_mc))
    body = b"answered %d" % cost_mc

    async def ask() -> object:
        answer = await duel.desk.ledger.settle(
            attempt,
            cost_mc=cost_mc,
            reserved_mc=amount_mc,
            reserved_at_ms=at_ms,
            tokens="",
            rate_card_version="",
            exposure_mc=exposure_mc,
            outcome=body,
        )
        return ("dead",) if answer is None else answer

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
            body,
        ),
        ends=True,
    )


def release(duel: Duel, made: Made, exposure_mc: int, store: bool) -> Ask:
    attempt, reason = made.attempt, FallbackReason.PROVIDER_ERROR
    body = b"fallback" if store else None
    return Ask(
        lambda: duel.desk.ledger.release(
            attempt, reason, exposure_mc=exposure_mc, outcome=body
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
