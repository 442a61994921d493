"""Opens payments, with the work beside them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from pricing.offers import Pack
from runtime.background import Periodic
from runtime.config.payments import StripeSection
from runtime.credits.accounts import Accounts
from runtime.payments.errors import PaymentsUnavailable
from runtime.store.reopening import Store

if TYPE_CHECKING:
    from runtime.payments.payments import Payments

PAUSE_S = 5.0
"""The pause between two looks at the accounts that are topped up."""


@asynccontextmanager
async def open_payments(
    config: StripeSection,
    store: Store,
    accounts: Accounts,
    pack: Pack,
    installation: str,
    *,
    pause_s: float | None = PAUSE_S,
) -> AsyncIterator[Payments]:
    """Open payments, with the work beside them unless ``pause_s`` is ``None``; close them.

    Args:
        installation: tells this installation's payments from others' of the same Stripe account.

    Raises:
        PaymentsUnavailable: Stripe's library is not installed.
    """
    try:
        from runtime.payments.payments import Payments
        from runtime.payments.stripe_gateway import open_gateway
    except ModuleNotFoundError as exc:
        if exc.name != "stripe":
            raise
        raise PaymentsUnavailable(
            'Stripe needs another package: pip install "creditgate[stripe]"'
        ) from None
    async with open_gateway(config, installation) as gateway:
        payments = Payments(store, gateway, accounts, pack)
        if pause_s is None:
            yield payments
            return
        periodic = Periodic("payments", payments.round, pause_s, spread=0.2)
        periodic.start(after_s=pause_s)
        try:
            yield payments
        finally:
            await periodic.aclose()
