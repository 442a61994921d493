"""Takes back, in credits, what is paid back or withheld by a dispute: what is left of them.

The ledger voids a grant as a whole. So the payment's grant is voided, and what was too much is
given again: a step that is planned in SQL first, and is the same whoever takes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pricing.offers import GrantKind
from runtime.credits.accounts import Accounts
from runtime.credits.results import GrantBalance, GrantRefused, TooManyGrants
from runtime.payments.crediting import ACTOR, Crediting
from runtime.payments.events import Alarm
from runtime.payments.payment import GIVEN, Dispute, Payment, State
from runtime.payments.stored import Reversal, StoredPayments


class Reversing:
    """Takes back the credits of payments."""

    def __init__(
        self,
        stored: StoredPayments,
        accounts: Accounts,
        crediting: Crediting,
        alarm: Alarm,
    ) -> None:
        self._stored = stored
        self._accounts = accounts
        self._crediting = crediting
        self._alarm = alarm

    async def note_refund(self, payment: Payment, refunded_cents: int) -> None:
        """Note how much of a payment was paid back in all, and take credits back for it."""
        while refunded_cents > payment.refunded_cents:
            if await self._note(payment, "refunded", refunded_cents=refunded_cents):
                break
            payment = await self._again(payment)
        await self.apply(payment.payment_id)

    async def note_dispute(self, payment: Payment, how: Dispute, cents: int) -> None:
        """Note how a dispute stands. One that has been decided is not open again.

        One that was won gives the credits back: they are granted again.
        """
        disputed_cents = 0 if how is Dispute.WON else cents
        while payment.dispute in (Dispute.NONE, Dispute.OPEN):
            if (payment.dispute, payment.disputed_cents) == (how, disputed_cents):
                break
            word = "disputed" if how is not Dispute.WON else "dispute won"
            if await self._note(payment, word, dispute=how, disputed_cents=disputed_cents):
                break
            payment = await self._again(payment)
        await self.apply(payment.payment_id)

    async def apply(self, payment_id: str) -> None:
        """Take back, or give again, until that fits what was paid back. It may have to wait.

        Raises:
            LedgerUnavailable, StoreUnavailable: it goes on at the next call.
        """
        for _ in range(10):
            payment = await self._stored.find(payment_id)
            if payment is None or payment.state not in GIVEN:
                return
            cents = payment.refunded_cents + payment.disputed_cents
            steps = await self._stored.reversals(payment_id)
            if not steps or steps[-1].taken_mc is not None:
                if cents == payment.applied_cents:
                    return
                if payment.grant_id is None:
                    await self._credit_late(payment, cents)
                    continue
                last = steps[-1] if steps else None
                await self._stored.plan_reversal(payment_id, _plan(payment, last, cents))
                steps = await self._stored.reversals(payment_id)
            if not await self._take(payment, steps[-1], _taken(steps[:-1])):
                return

    async def _take(self, payment: Payment, step: Reversal, taken_mc: int) -> bool:
        """Take a step; return whether it is done."""
        reference = f"{payment.ledger_reference}:back:{step.number}"
        if step.grant_id is not None:
            await self._accounts.void(
                payment.account_id,
                step.grant_id,
                reference=reference,
                reason=step.reason,
                actor=ACTOR,
            )
            grant = await self._grant(payment.account_id, step.grant_id)
            if grant.reserved_mc:
                return False  # executions that run may still pay from it: then it is known
            taken_mc += grant.voided_mc
        rest_grant_id = None
        if taken_mc > step.due_mc:
            try:
                granted = await self._accounts.grant(
                    payment.account_id,
                    amount_mc=taken_mc - step.due_mc,
                    kind=GrantKind.PURCHASED,
                    reference=f"{reference}:rest",
                    actor=ACTOR,
                )
            except (GrantRefused, TooManyGrants) as exc:
                await self._alarm.tell(
                    payment.account_id,
                    "payment_not_credited",
                    payment_id=payment.payment_id,
                    fault=str(exc),
                )
                await self._stored.move(payment, GIVEN, fault=str(exc)[:400])
                return False
            rest_grant_id, taken_mc = granted.grant_id, step.due_mc
        now = await self._again(payment)
        await self._stored.finish_reversal(
            payment,
            step,
            taken_mc,
            rest_grant_id,
            to=now.state_of_reversal,
            owed_mc=step.due_mc - taken_mc,
            applied_cents=step.cents,
            fault="",
        )
        return True

    async def _note(self, payment: Payment, word: str, **values: object) -> bool:
        await self._crediting.stop(payment.account_id, f"a payment was {word}", payment)
        await self._alarm.tell(
            payment.account_id, "payment_reversed", payment_id=payment.payment_id, how=word
        )
        async with self._stored.store.begin() as connection:
            return await self._stored.note_back(connection, payment, dict(values))

    async def _again(self, payment: Payment) -> Payment:
        found = await self._stored.find(payment.payment_id)
        assert found is not None  # noqa: S101 - payments are never deleted
        return found

    async def _grant(self, account_id: str, grant_id: str) -> GrantBalance:
        balance = await self._accounts.balance(account_id)
        return next(grant for grant in balance.grants if grant.grant_id == grant_id)

    async def _credit_late(self, payment: Payment, cents: int) -> None:
        """Go on with a payment of which everything was back before it was credited."""
        if payment.back_cents >= payment.price_cents:
            await self._stored.move(payment, GIVEN, payment.state_of_reversal, applied_cents=cents)
            return
        await self._stored.move(payment, GIVEN, State.PAID, applied_cents=0)
        await self._crediting.credit(payment.payment_id)


def _plan(payment: Payment, last: Reversal | None, cents: int) -> Reversal:
    first = Reversal(0, 0, 0, "", payment.grant_id, 0, payment.grant_id)
    before = last or first
    return replace(
        before,
        number=before.number + 1,
        cents=cents,
        due_mc=payment.due_mc,
        reason=_reason(payment),
        grant_id=before.rest_grant_id,
        taken_mc=None,
        rest_grant_id=None,
    )


def _taken(done: Sequence[Reversal]) -> int:
    return done[-1].taken_mc or 0 if done else 0


def _reason(payment: Payment) -> str:
    if payment.disputed_cents:
        return "the payment is disputed"
    if payment.dispute is Dispute.WON and not payment.refunded_cents:
        return "the dispute was won"
    return "the payment was refunded"
