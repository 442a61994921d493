"""The limits of an account, caps, switches and alert marks, and how its scripts are asked."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from runtime.credits import decoding
from runtime.credits.alert_marks import AlertMarks
from runtime.credits.batch import Answer, Call, Mode
from runtime.credits.caps import Cap, CapStatus
from runtime.credits.checks import (
    check_account_id,
    check_is,
    check_named,
    check_reference,
    check_whole,
)
from runtime.credits.identity import FINGERPRINT_FIELDS, Identity
from runtime.credits.results import LedgerUnavailable, Switch, Switched
from runtime.credits.script_client import ScriptClient
from runtime.credits.settings import Commerce

# A reference has 200 characters at most: so much of a reason, and what makes it unique.
_REFERENCE_BYTES, _LONGEST_REASON = 9, 180
# Of 250 records each (due.lua).
_MOST_PAGES = 10_000


class AccountLimits:
    """Verbs that change and read what an account may charge. ``Accounts`` adds all others.

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
        own = (reference, actor, part_begins, part, int(only_if_different))
        args = (f"off {target}", target.replace("\t", " "), on, *own)
        answer = await self._change(account_id, "switch", args, actor, reference)
        return decoding.switched(reference, answer)
