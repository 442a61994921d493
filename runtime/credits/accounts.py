"""The verbs of accounts: opening, grants, voids, plans, caps, switches, closing, balances.

Each change is made once per reference. References belong to an account and are kept for ever. A
repeat changes nothing and returns the first answer; the same reference for something else raises
``ReferenceConflict``.
"""

from __future__ import annotations

import secrets
from datetime import UTC, date, datetime
from typing import Literal
from zoneinfo import ZoneInfo

from pricing.offers import (
    DEFAULT_PRIORITY,
    GrantKind,
    check_amount_mc,
    check_date,
    check_timezone,
    offer_grants,
    purchase_amount_mc,
)
from runtime.credits import decoding
from runtime.credits.account_limits import AccountLimits
from runtime.credits.checks import (
    MAX_PRIORITY,
    check_account_id,
    check_named,
    check_reference,
    check_whole,
    choice,
    expires_ms,
)
from runtime.credits.results import (
    Balance,
    Granted,
    GrantRefused,
    ReferenceConflict,
    Voided,
)

_EPOCH_BYTES = 3
_KindText = Literal["introductory", "promotional", "plan", "purchased", "adjustment"]


class Accounts(AccountLimits):
    """Verbs that change and read accounts.

    Every method may raise ``LedgerUnavailable``, ``AccountUnknown``, and ``ValueError`` for an
    argument that is not allowed, which its message names. ``actor`` names the person
    or program behind the change, for the journal.
    """

    async def open_account(
        self,
        account_id: str,
        *,
        plan: str,
        timezone: str = "UTC",
        paying_since: date | None = None,
        actor: str = "operator",
    ) -> bool:
        """Open an account and grant the offers that it is entitled to. Repeats change nothing.

        Args:
            plan: one of the configured plans.
            timezone: IANA name; offers expire and caps count by it.
            paying_since: first paid day in that time zone; today by default.

        Returns:
            True if the account is new.

        Raises:
            AccountConflict: it is open already with another plan or time zone.
        """
        check_timezone(timezone)
        _check_since(paying_since)
        ai_credits = self._ai_credits_of(plan)
        epoch = secrets.token_urlsafe(_EPOCH_BYTES)
        args = (plan, int(ai_credits), timezone, epoch, actor, self._schema())
        answer = await self._ask(account_id, "open_account", args, actor)
        opened = decoding.opened(account_id, answer)
        if ai_credits:
            await self._give_offers(account_id, timezone, paying_since, actor)
        return opened

    async def change_plan(
        self,
        account_id: str,
        *,
        plan: str,
        reference: str,
        paying_since: date | None = None,
        actor: str = "operator",
    ) -> bool:
        """Change an account's plan.

        On a plan without AI credits, the account can reserve nothing new; it keeps its credits and
        their expiry, and running executions are settled. On a plan with AI credits, it is granted
        the offers that it is entitled to and has not received.

        Args:
            paying_since: as in ``open_account``; a repeat gives offers too, by this day.

        Returns:
            True if it was changed now.

        Raises:
            AccountConflict: it is closed.
            ReferenceConflict: see the module.
        """
        _check_since(paying_since)
        ai_credits = self._ai_credits_of(plan)
        args = (plan, int(ai_credits), reference, actor)
        answer = await self._change(account_id, "change_plan", args, actor, reference)
        changed = decoding.profile_changed(account_id, reference, answer)
        if ai_credits:
            balance = await self.balance(account_id)
            if balance.plan == plan:
                await self._give_offers(account_id, balance.timezone, paying_since, actor)
        return changed

    async def change_timezone(
        self, account_id: str, *, timezone: str, reference: str, actor: str = "operator"
    ) -> bool:
        """Move an account to another time zone.

        Windows of caps that have begun last until their end; the next ones are days and months of
        the new time zone. So are offers that are given from now on; no grant's expiry moves.

        Args:
            timezone: IANA name.

        Returns:
            True if it was changed now.

        Raises:
            AccountConflict: it is closed.
            ReferenceConflict: see the module.
        """
        check_timezone(timezone)
        args = (timezone, reference, actor)
        answer = await self._change(account_id, "change_timezone", args, actor, reference)
        return decoding.profile_changed(account_id, reference, answer)

    async def close_account(
        self, account_id: str, *, reference: str, reason: str, actor: str = "operator"
    ) -> bool:
        """Close an account for good and void its remaining credits.

        Nothing new can be reserved or granted. Open reservations can still be settled from what
        they have set aside.

        Returns:
            True if it was closed now.

        Raises:
            ReferenceConflict: see the module.
        """
        check_reference(reason, "reason")
        args = (reference, actor, reason)
        answer = await self._change(account_id, "close", args, actor, reference)
        return decoding.changed(reference, answer)

    async def grant(
        self,
        account_id: str,
        *,
        amount_mc: int,
        kind: GrantKind | _KindText,
        reference: str,
        priority: int | None = None,
        expires_at: datetime | None = None,
        execution_id: str | None = None,
        actor: str = "operator",
    ) -> Granted:
        """Give credits, once per ``reference``.

        Args:
            amount_mc: 1 to 2^53 - 1 millicredits.
            kind: a ``GrantKind`` or its text, such as ``"promotional"``.
            priority: 0 to 1,000, lowest burns first; by kind if not given.
            expires_at: an instant with time zone; ``None`` = never.
            execution_id: the execution that an adjustment corrects; charges are never reversed.

        Raises:
            GrantRefused, TooManyGrants, ReferenceConflict: see there.
        """
        check_amount_mc(amount_mc, "amount_mc")
        kind = choice(kind, GrantKind, "kind")
        rank = DEFAULT_PRIORITY[kind] if priority is None else priority
        check_whole(rank, "priority", most=MAX_PRIORITY)
        check_account_id(account_id)
        corrected = ""
        if execution_id is not None:
            check_named(execution_id, "execution_id")
            if kind is not GrantKind.ADJUSTMENT:
                raise ValueError(f"execution_id: only an adjustment names one, this is {kind}")
            corrected = self._identity.execution_key(account_id, execution_id)
        args = (kind, rank, amount_mc, expires_ms(expires_at), reference, actor, corrected)
        answer = await self._change(account_id, "grant", args, actor, reference)
        return decoding.granted(account_id, reference, answer)

    async def purchase(
        self,
        account_id: str,
        *,
        credits: int,  # noqa: A002 - the unit that is sold; site's credits() means nothing here
        payment_reference: str,
        actor: str = "operator",
    ) -> Granted:
        """Add purchased credits, in whole packs, once per payment. They never expire.

        Raises:
            PurchaseRefused: ``credits`` is not a multiple of the pack.
            GrantRefused, TooManyGrants, ReferenceConflict: see there.
        """
        check_reference(payment_reference, "payment_reference")
        return await self.grant(
            account_id,
            amount_mc=purchase_amount_mc(credits, self._commerce.pack),
            kind=GrantKind.PURCHASED,
            reference=payment_reference,
            actor=actor,
        )

    async def void(
        self,
        account_id: str,
        grant_id: str,
        *,
        reference: str,
        reason: str,
        actor: str = "operator",
    ) -> Voided:
        """Take back what is left of one grant. Open reservations of it can still be settled.

        Raises:
            GrantUnknown, ReferenceConflict: see there.
        """
        check_reference(grant_id, "grant_id")
        check_reference(reason, "reason")
        args = (grant_id, reference, actor, reason)
        answer = await self._change(account_id, "void", args, actor, reference)
        return decoding.voided(account_id, grant_id, reference, answer)

    async def balance(self, account_id: str) -> Balance:
        """Return the parts of the balance and its grants, as of now. Writes nothing.

        Raises:
            AccountUnknown: there is no such account.
        """
        check_account_id(account_id)
        answer, earlier_grants = await self._read(account_id, "balance")
        return decoding.balance(account_id, answer, earlier_grants)

    # Inside

    async def _give_offers(
        self, account_id: str, timezone: str, paying_since: date | None, actor: str
    ) -> None:
        since = paying_since or datetime.now(UTC).astimezone(ZoneInfo(timezone)).date()
        for offered in offer_grants(self._commerce.offers, paying_since=since, timezone=timezone):
            try:
                await self.grant(
                    account_id,
                    amount_mc=offered.amount_mc,
                    kind=offered.kind,
                    reference=f"offer:{offered.offer_id}",
                    expires_at=offered.expires_at,
                    actor=actor,
                )
            except ReferenceConflict:
                continue  # it was given once, under the terms of that day
            except GrantRefused:
                return  # closed, or on another plan by now

    def _ai_credits_of(self, plan: object) -> bool:
        if not isinstance(plan, str) or plan not in self._commerce.plans:
            allowed = ", ".join(sorted(self._commerce.plans)) or "none is configured"
            raise ValueError(f"plan: found {plan!r}, allowed are: {allowed}")
        return self._commerce.plans[plan]


def _check_since(paying_since: date | None) -> None:
    if paying_since is not None:
        check_date(paying_since, "paying_since")
