"""Books again what an account lost, by the names under which it was booked before."""

from __future__ import annotations

from dataclasses import dataclass

from fallback.reasons import FallbackReason
from runtime.credits import decoding
from runtime.credits.batch import Call, Mode
from runtime.credits.endings import Settlement
from runtime.credits.identity import REBUILT_ATTEMPT, Dimensions, ExecutionAttempt, Identity
from runtime.credits.results import Granted
from runtime.credits.script_client import ScriptClient


@dataclass(frozen=True, slots=True)
class LostGrant:
    """A grant as its journal entry has it; ``execution_key`` is of what it adjusts, or ``""``."""

    kind: str
    priority: int
    amount_mc: int
    expires_ms: int
    reference: str
    actor: str
    execution_key: str


class Corrections:
    """Corrections of one account. Every method may raise ``LedgerUnavailable``."""

    def __init__(self, script_client: ScriptClient, identity: Identity, account_id: str) -> None:
        self._script_client = script_client
        self._identity = identity
        self._account_id = account_id

    async def grant(self, lost: LostGrant) -> Granted:
        """Give a grant under its reference, unless the account has it.

        Raises:
            GrantRefused, TooManyGrants, ReferenceConflict: see there.
        """
        args = (
            lost.kind,
            lost.priority,
            lost.amount_mc,
            lost.expires_ms,
            lost.reference,
            lost.actor,
            lost.execution_key,
        )
        call = Call("grant", args, mode=Mode.ACCOUNT)
        answer = await self._script_client.ask(self._account_id, call)
        return decoding.granted(self._account_id, lost.reference, answer)

    def settlement(  # noqa: PLR0913 - what an entry has, each by keyword
        self,
        *,
        execution_key: str,
        dimensions: Dimensions,
        cost_mc: int,
        reserved_at_ms: int,
        tokens: str,
        rate_card_version: str,
        flags: tuple[str, ...],
        exposure_mc: int,
        free_mc: int,
        reason: str,
        choices: tuple[tuple[int, int], ...],
    ) -> Settlement:
        """Return the settlement of an execution of which only its journal entry is known."""
        attempt = ExecutionAttempt(
            account_id=self._account_id,
            execution_id="",
            execution_key=execution_key,
            attempt_id=REBUILT_ATTEMPT,
            fingerprint=self._identity.fingerprint_of_anybody(dimensions),
            dimensions=dimensions,
        )
        return Settlement(
            attempt=attempt,
            cost_mc=cost_mc,
            reserved_mc=cost_mc,
            reserved_at_ms=reserved_at_ms,
            tokens=tokens,
            rate_card_version=rate_card_version,
            flags=flags,
            exposure_mc=exposure_mc,
            free_mc=free_mc,
            reason=FallbackReason(reason) if reason else None,
            choices=choices,
        )
