"""Checkouts: payments that a person makes on a page of the payment provider."""

from __future__ import annotations

from fallback.reasons import FallbackReason
from pricing.offers import Pack, purchase_amount_mc
from runtime.credits.accounts import Accounts
from runtime.credits.results import GrantRefused, ReferenceConflict
from runtime.payments.payment import CURRENCY, Kind, Payment, State
from runtime.payments.stored import StoredPayments
from runtime.payments.stripe_gateway import StripeGateway


class Checkouts:
    """Creates checkouts, one for each reference of an account."""

    def __init__(
        self, stored: StoredPayments, gateway: StripeGateway, accounts: Accounts, pack: Pack
    ) -> None:
        self._stored = stored
        self._gateway = gateway
        self._accounts = accounts
        self._pack = pack

    async def create(
        self, account_id: str, *, packs: int, reference: str, keep_method: bool = False
    ) -> Payment:
        """Return the checkout of this reference, with the page on which it is paid.

        Args:
            packs: how many packs of credits are bought.
            keep_method: keep the customer's payment method for automatic top-ups.

        Raises:
            AccountUnknown, GrantRefused: the account may not be given credits.
            PurchaseRefused: more packs than a balance can hold.
            ReferenceConflict: the reference is of another checkout.
            PaymentsUnavailable: ask again with the same reference.
        """
        amount_mc = purchase_amount_mc(packs * self._pack.credits, self._pack)
        await self.check_account(account_id)
        payer = await self._stored.payer(account_id)
        async with self._stored.store.begin() as connection:
            await self._stored.add(
                connection,
                account_id=account_id,
                kind=Kind.CHECKOUT,
                reference=reference,
                packs=packs,
                amount_mc=amount_mc,
                price_cents=packs * self._pack.price_cents,
                currency=CURRENCY,
                keeps_method=keep_method,
                customer_id=None if payer is None else payer.customer_id,
            )
        payment = await self._stored.by_reference(account_id, Kind.CHECKOUT, reference)
        assert payment is not None  # noqa: S101 - it was added now, or before
        for name, wanted in (("packs", packs), ("keeps_method", keep_method)):
            if (found := getattr(payment, name)) != wanted:
                raise ReferenceConflict(reference, name, str(found))
        return payment if payment.state is not State.CREATED else await self._open(payment)

    async def check_account(self, account_id: str) -> None:
        """Raise ``GrantRefused`` or ``AccountUnknown`` if nothing may be bought for it."""
        balance = await self._accounts.balance(account_id)
        if balance.state != "open":
            raise GrantRefused(account_id, FallbackReason.ACCOUNT_CLOSED)
        if not balance.ai_credits:
            raise GrantRefused(account_id, FallbackReason.PLAN_NOT_ELIGIBLE)

    async def _open(self, payment: Payment) -> Payment:
        session = await self._gateway.create_session(payment)
        await self._stored.move(
            payment,
            {State.CREATED},
            State.OPEN,
            session_id=session["id"],
            session_url=session.get("url"),
        )
        return await self._stored.find(payment.payment_id) or payment
