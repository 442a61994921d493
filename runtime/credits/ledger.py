"""The credit ledger: every verb that moves credits, each one atomic script in Redis."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from redis.asyncio import Redis, RedisCluster

from fallback.reasons import FallbackReason
from pricing.offers import (
    DEFAULT_PRIORITY,
    GrantKind,
    check_amount_mc,
    check_timezone,
    offer_grants,
    purchase_amount_mc,
)
from runtime.credits import replies
from runtime.credits.answers import (
    Alert,
    Balance,
    Existing,
    Granted,
    InProgress,
    LedgerError,
    Refused,
    Released,
    Reserved,
    Settled,
)
from runtime.credits.asking import Asker
from runtime.credits.batch import Answer, Batcher, Call
from runtime.credits.checks import (
    MAX_PRIORITY,
    check_account_id,
    check_column,
    check_reference,
    check_whole,
    expires_ms,
)
from runtime.credits.cluster import transport_to
from runtime.credits.identity import ExecutionAttempt, Identity
from runtime.credits.keys import Keys
from runtime.credits.scripts import Script, batch_script
from runtime.credits.settings import Commerce, LedgerSettings
from runtime.credits.upkeep import Upkeep

__all__ = ["Commerce", "CreditLedger", "LedgerSettings"]

_log = logging.getLogger("creditgate.ledger")


class CreditLedger:
    """Prepaid credits in Redis.

    Every method may raise ``LedgerUnavailable``: then nothing is known to have happened, and
    asking again with the same ids is safe.

    Args:
        client: redis-py's, of one server or of a cluster; owned by the caller.
        identity: keyed hashes with the installation key.
        script: the assembled Lua; tests pass one with a clock of their own.
        on_alert: hears alerts that this process's calls raised, after they were written.

    ``attempt`` names a new attempt on an execution, as ``Identity.attempt`` does.
    ``give_back`` is called with the attempt of a ``reserve`` whose caller went away, if credits
    may be set aside for it; by default the ledger releases them itself, once.
    """

    def __init__(
        self,
        client: Redis | RedisCluster,
        identity: Identity,
        settings: LedgerSettings | None = None,
        commerce: Commerce | None = None,
        *,
        script: Script | None = None,
        on_alert: Callable[[Alert], None] = lambda alert: None,
    ) -> None:
        self.settings = settings or LedgerSettings()
        self._identity = identity
        self.attempt = identity.attempt
        self._commerce = commerce or Commerce()
        self._keys = Keys(self.settings.key_prefix)
        self._upkeep = Upkeep(client, self._keys, self.settings.timeout_ms)
        transport = transport_to(client, script or batch_script(), self.settings.timeout_ms)
        header = (str(self.settings.outcome_ttl_ms), ",".join(self.settings.low_marks))
        batcher = Batcher(transport, self._keys, header, on_alert)
        self._asker = Asker(batcher, self.settings.timeout_ms)
        self._clean_ups: set[asyncio.Task[Any]] = set()
        self.give_back: Callable[[ExecutionAttempt], None] = self._release_in_background

    async def check_installation(self) -> None:
        """Check the server's version, and store this installation's key check, or compare it.

        Raises:
            LedgerError: the server is too old, or the data under this prefix belongs to another
                installation key.
            LedgerUnavailable: Redis can't be asked.
        """
        await self._upkeep.check_installation(self._identity.check_value())

    # Accounts and grants

    async def open_account(
        self,
        account_id: str,
        *,
        plan: str,
        timezone: str = "UTC",
        paying_since: date | None = None,
        actor: str = "operator",
    ) -> bool:
        """Open an account and give it the offers that it is entitled to; repeats change nothing.

        Args:
            plan: one of the configured plans.
            timezone: IANA name; offers expire by it.
            paying_since: first paid day in that time zone; today by default.

        Returns:
            Whether the account is new.

        Raises:
            ValueError: an argument is not allowed; the message names it.
            AccountConflict: it is open already with another plan or time zone.
        """
        check_account_id(account_id)
        check_timezone(timezone)
        check_reference(actor, "actor")
        ai_credits = self._ai_credits_of(plan)
        args = (plan, "1" if ai_credits else "0", timezone, secrets.token_hex(4), actor)
        answer = await self._asker.ask(account_id, Call("open_account", args))
        opened = replies.opened(account_id, answer)
        if ai_credits:
            since = paying_since or datetime.now(UTC).astimezone(ZoneInfo(timezone)).date()
            for offered in offer_grants(
                self._commerce.offers, paying_since=since, timezone=timezone
            ):
                await self.grant(
                    account_id,
                    amount_mc=offered.amount_mc,
                    kind=offered.kind,
                    reference=f"offer:{offered.offer_id}",
                    expires_at=offered.expires_at,
                    actor=actor,
                )
        return opened

    async def grant(
        self,
        account_id: str,
        *,
        amount_mc: int,
        kind: GrantKind,
        reference: str,
        priority: int | None = None,
        expires_at: datetime | None = None,
        actor: str = "operator",
    ) -> Granted:
        """Give credits, once per ``reference``.

        Args:
            amount_mc: 1 to 2^53 - 1 millicredits.
            priority: 0 to 1,000, lowest burns first; by kind if not given.
            expires_at: an instant with time zone; ``None`` = never.

        Raises:
            ValueError: an argument is not allowed; the message names it.
            AccountUnknown, GrantRefused, ReferenceConflict: see there.
        """
        check_account_id(account_id)
        check_amount_mc(amount_mc, "amount_mc")
        check_reference(reference, "reference")
        check_reference(actor, "actor")
        rank = DEFAULT_PRIORITY[kind] if priority is None else priority
        check_whole(rank, "priority", most=MAX_PRIORITY)
        args = (kind, rank, amount_mc, expires_ms(expires_at), reference, actor)
        answer = await self._asker.ask(account_id, Call("grant", args))
        return replies.granted(account_id, reference, answer)

    async def purchase(
        self,
        account_id: str,
        *,
        credits: int,  # noqa: A002 - the unit that is sold; site's credits() means nothing here
        payment_reference: str,
        actor: str = "operator",
    ) -> Granted:
        """Credit a purchase, once per payment, in whole packs; purchased credits never expire.

        Raises:
            PurchaseRefused: ``credits`` is not a multiple of the pack.
            AccountUnknown, GrantRefused, ReferenceConflict: see there.
        """
        return await self.grant(
            account_id,
            amount_mc=purchase_amount_mc(credits, self._commerce.pack),
            kind=GrantKind.PURCHASED,
            reference=payment_reference,
            actor=actor,
        )

    async def balance(self, account_id: str) -> Balance:
        """Return the parts of the balance and its grants, as of now; nothing is written.

        Raises:
            AccountUnknown: a missing account is an error, not zero.
        """
        check_account_id(account_id)
        answer = await self._asker.ask(account_id, Call("balance", ()), read_only=True)
        return replies.balance(account_id, answer)

    # Executions

    async def reserve(
        self,
        attempt: ExecutionAttempt,
        amount_mc: int,
        ttl_ms: int,
        *,
        final: bool = False,
        outcome: bytes = b"",
    ) -> Reserved | Refused | InProgress | Existing:
        """Set ``amount_mc`` (0 for a free model) aside for at most ``ttl_ms``.

        A caller that is cancelled leaves no reservation behind.

        Args:
            final: store a refusal as the outcome, with ``outcome`` as its bytes.

        Raises:
            ValueError: an amount or interval is not allowed; the message names it.
            ExecutionConflict: the id was used for something else.
        """
        check_whole(amount_mc, "amount_mc")
        check_whole(ttl_ms, "ttl_ms", least=1, most=self.settings.outcome_ttl_ms)
        args = (
            attempt.execution_key,
            attempt.attempt_id,
            amount_mc,
            ttl_ms,
            attempt.fingerprint,
            "\t".join(attempt.dimensions),
            b"1" if final else b"0",
            outcome,
        )
        answer = await self._ask(
            "reserve", attempt, args, on_abandoned=lambda answer: self._abandoned(attempt, answer)
        )
        return replies.reservation(attempt.execution_id, answer)

    async def settle(  # noqa: PLR0913 - a settlement's columns, each by keyword
        self,
        attempt: ExecutionAttempt,
        *,
        cost_mc: int,
        reserved_mc: int,
        reserved_at_ms: int,
        tokens: str,
        rate_card_version: str,
        flags: Sequence[str] = (),
        exposure_mc: int = 0,
        outcome: bytes = b"",
    ) -> Settled | Existing | None:
        """Charge ``cost_mc``, give back the rest, store ``outcome``.

        Args:
            exposure_mc: what earlier calls for the same execution, which gave no answer, may
                have cost the operator.

        Returns:
            ``None`` where the settlement is older than the horizon: it is not charged.

        Raises:
            ValueError: an argument is not allowed; the message names it.
            ExecutionConflict: the id was used for something else.
        """
        check_whole(cost_mc, "cost_mc")
        check_whole(reserved_mc, "reserved_mc")
        check_whole(reserved_at_ms, "reserved_at_ms")
        check_whole(exposure_mc, "exposure_mc")
        joined_flags = ",".join(flags)
        check_column(tokens, "tokens")
        check_column(rate_card_version, "rate_card_version")
        check_column(joined_flags, "flags")
        args = (
            attempt.execution_key,
            attempt.attempt_id,
            cost_mc,
            reserved_mc,
            reserved_at_ms,
            attempt.fingerprint,
            "\t".join(attempt.dimensions),
            tokens,
            rate_card_version,
            joined_flags,
            exposure_mc,
            outcome,
        )
        answer = await self._ask("settle", attempt, args, ends=True)
        return replies.settlement(attempt.execution_id, answer)

    async def release(
        self,
        attempt: ExecutionAttempt,
        reason: FallbackReason | None = None,
        *,
        exposure_mc: int = 0,
        outcome: bytes | None = None,
    ) -> Released | Existing:
        """Give all of this attempt's reservation back.

        Args:
            exposure_mc: what the operator may owe the provider for it.
            outcome: stored as the execution's outcome; ``None`` leaves the id to be asked again.
        """
        check_whole(exposure_mc, "exposure_mc")
        args = (
            attempt.execution_key,
            attempt.attempt_id,
            attempt.fingerprint,
            "\t".join(attempt.dimensions),
            exposure_mc,
            reason or b"",
            b"0" if outcome is None else b"1",
            outcome or b"",
        )
        answer = await self._ask("release", attempt, args, ends=True)
        return replies.release(attempt.execution_id, answer)

    async def conclude(
        self, attempt: ExecutionAttempt, reason: FallbackReason, outcome: bytes = b""
    ) -> Existing | InProgress | None:
        """Make a refusal the outcome. ``None`` means that it now is."""
        args = (
            attempt.execution_key,
            attempt.attempt_id,
            attempt.fingerprint,
            "\t".join(attempt.dimensions),
            reason,
            outcome,
        )
        answer = await self._ask("conclude", attempt, args)
        return replies.conclusion(attempt.execution_id, answer)

    # Upkeep

    async def sweep(self) -> int:
        """End what is due in every bucket; return how many accounts were visited.

        No promise about expiry needs this: it tells alerts sooner and keeps the books tidy.
        """
        return await self._upkeep.sweep(self._asker)

    async def drain(self) -> None:
        """Wait for what is under way: batches, and releases for callers that went away."""
        await self._asker.drain()
        while self._clean_ups:
            await asyncio.wait(self._clean_ups)
            await self._asker.drain()

    # Inside

    async def _ask(
        self,
        verb: str,
        attempt: ExecutionAttempt,
        args: Sequence[bytes | str | int],
        *,
        ends: bool = False,
        on_abandoned: Callable[[Answer | None], None] | None = None,
    ) -> Answer:
        outcome_key = self._keys.outcome(attempt.account_id, attempt.execution_key)
        call = Call(verb, args, outcome_key, ends, on_abandoned)
        return await self._asker.ask(attempt.account_id, call)

    def _abandoned(self, attempt: ExecutionAttempt, answer: Answer | None) -> None:
        if answer is None or answer[0] == b"reserved":
            self.give_back(attempt)

    def _release_in_background(self, attempt: ExecutionAttempt) -> None:
        task = asyncio.create_task(self._release_abandoned(attempt))
        self._clean_ups.add(task)
        task.add_done_callback(self._clean_ups.discard)

    async def _release_abandoned(self, attempt: ExecutionAttempt) -> None:
        try:
            await self.release(attempt)
        except LedgerError:
            # Unreachable: the reservation's own deadline gives the credits back.
            return

    def _ai_credits_of(self, plan: str) -> bool:
        if plan not in self._commerce.plans:
            allowed = ", ".join(sorted(self._commerce.plans)) or "none is configured"
            raise ValueError(f"plan: found {plan!r}, allowed are: {allowed}")
        return self._commerce.plans[plan]
