"""Repairs by an operator: of accounts that lost writes, ran ahead in time, or were stopped."""

from __future__ import annotations

import secrets

from runtime.credits.batch import Call, Mode
from runtime.credits.checks import check_account_id, check_reference
from runtime.credits.script_client import ScriptClient

_EPOCH_BYTES = 3


class Repairs:
    """Repairs of accounts. Each leaves a journal entry with its actor and reason.

    Every method may raise ``LedgerUnavailable``, ``AccountUnknown``, and ``ValueError`` for an
    argument that is not allowed, which its message names.
    """

    def __init__(self, script_client: ScriptClient) -> None:
        self._script_client = script_client

    async def accept_loss(self, account_id: str, *, reason: str, actor: str) -> int:
        """Go on with an account as it is now, after Redis lost acknowledged writes of it.

        The account gets a new epoch, by which every process that had stopped knows that it may go
        on. Endings that waited are then booked; those whose reservations were lost as orphans.

        Returns:
            The sequence of the account's journal from which it goes on.
        """
        _check(account_id, reason, actor)
        args = (secrets.token_urlsafe(_EPOCH_BYTES), actor, reason)
        call = Call("accept_loss", args, mode=Mode.ACCOUNT)
        return int((await self._script_client.ask(account_id, call))[1])

    async def repair_clock(self, account_id: str, *, reason: str, actor: str) -> int:
        """Set the clock of an account that ran ahead of the server's back to it.

        Credits that expired too early stay expired: give them back by an adjustment.

        Returns:
            The milliseconds that it was ahead; 0 if it was not, and nothing was changed.
        """
        _check(account_id, reason, actor)
        call = Call("repair_clock", (actor, reason), mode=Mode.ACCOUNT)
        answer = await self._script_client.ask(account_id, call)
        return int(answer[1]) if answer[0] == b"repaired" else 0

    async def stop(self, account_id: str, *, why: str) -> bool:
        """Book nothing on an account from now on, until ``resume``; it can still be read.

        Args:
            why: told by every refusal; it follows "account acme is stopped: ".

        Returns:
            True if it was stopped now.
        """
        check_account_id(account_id)
        check_reference(why, "why")
        call = Call("stop", (why,), mode=Mode.ACCOUNT)
        return bool((await self._script_client.ask(account_id, call))[1])

    async def resume(self, account_id: str, *, reason: str, actor: str) -> int | None:
        """Go on with a stopped account as it is now. It gets a new epoch, as by ``accept_loss``.

        Returns:
            The sequence of the account's journal from which it goes on; ``None`` if the account was
            not stopped, and nothing was changed.
        """
        _check(account_id, reason, actor)
        args = (secrets.token_urlsafe(_EPOCH_BYTES), actor, reason)
        answer = await self._script_client.ask(account_id, Call("resume", args, mode=Mode.ACCOUNT))
        return int(answer[1]) if answer[0] == b"resumed" else None


def _check(account_id: str, reason: str, actor: str) -> None:
    check_account_id(account_id)
    check_reference(reason, "reason")
    check_reference(actor, "actor")
