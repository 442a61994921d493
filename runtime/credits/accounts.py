"""The verbs of accounts: opening, grants, voids, plans, caps, switches, closing, balances.

Each change is made once per reference. References belong to an account and are kept for ever. A
repeat changes nothing and returns the first answer; the same reference for something else raises
``ReferenceConflict``.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
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
from runtime.credits.alert_marks import AlertMarks
from runtime.credits.batch import Answer, Call, Mode
from runtime.credits.caps import Cap, CapStatus
from runtime.credits.checks import (
    MAX_PRIORITY,
    check_account_id,
    check_is,
    check_named,
    check_reference,
    check_whole,
    choice,
    expires_ms,
)
from runtime.credits.identity import FINGERPRINT_FIELDS, Identity
from runtime.credits.results import (
    Balance,
    Granted,
    GrantRefused,
    LedgerUnavailable,
    ReferenceConflict,
    Switch,
    Switched,
    Voided,
)
from runtime.credits.script_client import ScriptClient
from runtime.credits.settings import Commerce

_EPOCH_BYTES = 3
# A reference has 200 characters at most: so much of a reason, and what makes it unique.
_REFERENCE_BYTES, _LONGEST_REASON = 9, 180
# Of 250 records each (due.lua).
_MOST_PAGES = 10_000
_KindText = Literal["introductory", "promotional", "plan", "purchased", "adjustment"]


class Accounts:
    """Verbs that change and read accounts.

    Every method may raise ``LedgerUnavailable``, ``AccountUnknown``, and ``ValueError`` for an
    argument that is not allowed, which its message names. ``actor`` names the person
    or program behind the change, for the journal.

    Args:
        schema: returns the installation's schema, with which new accounts begin.
    """

    def __init__(
        self,
        script_client: ScriptClient,
        identity: Identity,
        commerce: Commerce,
        schema: Callable[[], int],
    ) -> None:
        self._schema = schema
        self._script_client = script_client
        self._identity = identity
        self._commerce = commerce

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
        args = (plan, _flag(ai_credits), timezone, epoch, actor, self._schema())
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
        args = (plan, _flag(ai_credits), reference, actor)
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

    async def set_cap(
        self,
        account_id: str,
        cap: Cap,
        *,
        limit_mc: int,
        reference: str,
        used_mc: int = 0,
        actor: str = "operator",
    ) -> bool:
        """Set a new cap, which counts from now on, or change a limit, which keeps the count.

        Args:
            used_mc: what to count as already charged in a new cap's window.

        Returns:
            True if it was changed now.

        Raises:
            LedgerError: the account has caps of eight other sorts already.
            ReferenceConflict: see the module.
        """
        check_is(cap, Cap, "cap")
        check_whole(limit_mc, "limit_mc")
        check_whole(used_mc, "used_mc")
        args = (cap.sort, cap.field, str(cap), limit_mc, used_mc, reference, actor)
        answer = await self._change(account_id, "set_cap", args, actor, reference)
        return decoding.capped(account_id, cap, reference, answer)

    async def remove_cap(
        self, account_id: str, cap: Cap, *, reference: str, actor: str = "operator"
    ) -> bool:
        """Remove a cap and its count; return whether it was removed now.

        Raises:
            CapUnknown, ReferenceConflict: see there.
        """
        check_is(cap, Cap, "cap")
        args = (cap.sort, cap.field, str(cap), reference, actor)
        answer = await self._change(account_id, "remove_cap", args, actor, reference)
        return decoding.capped(account_id, cap, reference, answer)

    async def alert_marks(self, account_id: str) -> AlertMarks | None:
        """Return the account's own alert marks; ``None`` where the configured ones hold."""
        check_account_id(account_id)
        answer, _ = await self._read(account_id, "alert_marks")
        return decoding.alert_marks(answer)

    async def set_alert_marks(
        self, account_id: str, marks: AlertMarks | None, *, before: AlertMarks | None
    ) -> bool:
        """Give an account alert marks of its own, or ``None`` for the configured ones.

        A mark that what is left is below already is told after the next top-up.

        Args:
            before: the marks that the change was decided on.

        Returns:
            False if other marks are in force than ``before`` and ``marks``: nothing is changed.
        """
        check_account_id(account_id)
        for value, field in ((marks, "marks"), (before, "before")):
            if value is not None:
                check_is(value, AlertMarks, field)
        args = (decoding.own_marks(before), decoding.own_marks(marks))
        call = Call("set_alert_marks", args, mode=Mode.ACCOUNT)
        return bool((await self._script_client.ask(account_id, call))[0] == b"marks")

    async def switch_off(
        self,
        account_id: str,
        *,
        reference: str,
        workspace_id: str | None = None,
        campaign_id: str | None = None,
        action: str | None = None,
        actor: str = "operator",
    ) -> bool:
        """Refuse new executions of the account, or of one workspace, campaign or action, at once.

        Returns:
            True if it was done now.

        Raises:
            ReferenceConflict: see the module.
        """
        named = (workspace_id, campaign_id, action)
        return (await self._switch(account_id, named, "0", reference, actor)).new

    async def switch_on(
        self,
        account_id: str,
        *,
        reference: str,
        workspace_id: str | None = None,
        campaign_id: str | None = None,
        action: str | None = None,
        actor: str = "operator",
    ) -> bool:
        """Undo ``switch_off`` for the same target."""
        named = (workspace_id, campaign_id, action)
        return (await self._switch(account_id, named, "1", reference, actor)).new

    async def switch(
        self,
        account_id: str,
        *,
        off: bool,
        reference: str | None = None,
        reason: str | None = None,
        workspace_id: str | None = None,
        campaign_id: str | None = None,
        action: str | None = None,
        actor: str = "operator",
    ) -> Switched:
        """Switch the account, or one workspace, campaign or action, off or on.

        Args:
            reference: as of other changes. Without one, nothing is done where it is as wanted
                already; else the change gets a reference that begins with ``reason``.
            reason: for the journal; a reference of your own says it itself.

        Returns:
            What still runs there, beside whether it was done now.

        Raises:
            ReferenceConflict: see the module.
        """
        check_is(off, bool, "off")
        if reason is not None:
            check_reference(reason, "reason")
        named = (workspace_id, campaign_id, action)
        on = "0" if off else "1"
        if reference is not None:
            return await self._switch(account_id, named, on, reference, actor)
        own = f"[{secrets.token_urlsafe(_REFERENCE_BYTES)}]"
        own = own if reason is None else f"{reason[:_LONGEST_REASON]} {own}"
        return await self._switch(account_id, named, on, own, actor, only_if_different=True)

    async def switches(self, account_id: str) -> tuple[Switch, ...]:
        """Return what is off, in order of its names. Writes nothing."""
        check_account_id(account_id)
        answer, _ = await self._read(account_id, "switches")
        return decoding.switches(answer)

    async def balance(self, account_id: str) -> Balance:
        """Return the parts of the balance and its grants, as of now. Writes nothing.

        Raises:
            AccountUnknown: there is no such account.
        """
        check_account_id(account_id)
        answer, earlier_grants = await self._read(account_id, "balance")
        return decoding.balance(account_id, answer, earlier_grants)

    async def caps(self, account_id: str) -> tuple[CapStatus, ...]:
        """Return the account's caps and the counts of their current windows. Writes nothing."""
        check_account_id(account_id)
        answer, _ = await self._read(account_id, "caps")
        return decoding.caps(answer)

    # Inside

    async def _read(self, account_id: str, verb: str) -> tuple[Answer, Answer]:
        """Return the last answer, and the grants that scripts before the last one looked at.

        No script looks at more than a page of what has ended or is due, so that others need not
        wait for it. Scripts that change the account end what is due themselves, so that pages come
        to an end.
        """
        page: tuple[bytes, ...] = ()
        grants: Answer = []
        for _ in range(_MOST_PAGES):
            answer = await self._script_client.ask(account_id, Call(verb, page, mode=Mode.READ))
            if answer[0] != b"more":
                return answer, grants
            page = (answer[1],)
            grants += answer[2]
        raise LedgerUnavailable(f"account {account_id!r} changes faster than it can be read")

    async def _change(
        self,
        account_id: str,
        verb: str,
        args: Sequence[bytes | str | int],
        actor: str,
        reference: str,
    ) -> Answer:
        check_reference(reference, "reference")
        return await self._ask(account_id, verb, args, actor)

    async def _ask(
        self, account_id: str, verb: str, args: Sequence[bytes | str | int], actor: str
    ) -> Answer:
        check_account_id(account_id)
        check_reference(actor, "actor")
        return await self._script_client.ask(account_id, Call(verb, args, mode=Mode.ACCOUNT))

    async def _switch(
        self,
        account_id: str,
        named: tuple[str | None, ...],
        on: str,
        reference: str,
        actor: str,
        *,
        only_if_different: bool = False,
    ) -> Switched:
        if sum(value is not None for value in named) > 1:
            raise ValueError("workspace_id, campaign_id, action: one of them at most")
        target, part_begins, part = "account", 0, ""
        for number, value in enumerate(named):
            if value is not None:
                field = FINGERPRINT_FIELDS[number]
                check_named(value, field)
                target = f"{field.removesuffix('_id')}\t{value}"
                part = self._identity.part(value)
                part_begins = number * len(part) + 1
        own = (reference, actor, part_begins, part, _flag(only_if_different))
        args = (f"off {target}", target.replace("\t", " "), on, *own)
        answer = await self._change(account_id, "switch", args, actor, reference)
        return decoding.switched(reference, answer)

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


def _flag(value: bool) -> str:
    return "1" if value else "0"
