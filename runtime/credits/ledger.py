"""The credit ledger: every verb that moves credits, each one atomic script in Redis."""

from __future__ import annotations

import asyncio
import random
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from redis.asyncio import Redis
from redis.exceptions import RedisError

from fallback.reasons import FallbackReason
from pricing.offers import (
    DEFAULT_PRIORITY,
    GrantKind,
    Offer,
    Pack,
    check_amount_mc,
    check_timezone,
    offer_grants,
    purchase_amount_mc,
)
from runtime.credits import replies
from runtime.credits.answers import (
    AccountUnknown,
    Alert,
    Balance,
    Existing,
    Granted,
    InProgress,
    LedgerError,
    LedgerUnavailable,
    Refused,
    Released,
    Reserved,
    Settled,
)
from runtime.credits.batch import Answer, Batcher, Call
from runtime.credits.identity import ExecutionAttempt, Identity
from runtime.credits.keys import BUCKETS, Keys
from runtime.credits.scripts import Script, batch_script
from runtime.credits.transport import NotReached, ScriptTransport, UnknownOutcome

MAX_PRIORITY = 1_000
_ACCOUNT_ID = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_REFERENCE = re.compile(r"[^\x00-\x1f\x7f]{1,200}")
_ASK_AGAIN_AFTER_S = (0.02, 0.08)


@dataclass(frozen=True, slots=True)
class LedgerSettings:
    """How the ledger keeps its books in Redis.

    ``outcome_ttl_ms`` is the horizon of idempotency. ``low_marks`` are alert marks: ``p20`` for
    20% of what the last grant left, ``a5000`` for 5,000 mc. ``timeout_ms`` bounds one script call.
    """

    key_prefix: str = "cg1"
    outcome_ttl_ms: int = 7 * 24 * 3_600_000
    low_marks: tuple[str, ...] = ("p20",)
    timeout_ms: int = 1_000


@dataclass(frozen=True, slots=True)
class Commerce:
    """What accounts may have: for each plan whether it may use AI credits; offers; the pack."""

    plans: Mapping[str, bool] = field(default_factory=dict)
    offers: Sequence[Offer] = ()
    pack: Pack = Pack(credits=100_000, price_cents=1_000)


class CreditLedger:
    """Prepaid credits in Redis.

    Every method may raise ``LedgerUnavailable``: then nothing is known to have happened, and
    asking again with the same ids is safe.

    Args:
        client: redis-py client of one server, owned by the caller.
        identity: keyed hashes with the installation key.
        script: the assembled Lua; tests pass one with a clock of their own.
        on_alert: hears alerts that this process's calls raised, after they were written.

    ``give_back`` is called with the attempt of a ``reserve`` whose caller went away, if credits
    may be set aside for it; by default the ledger releases them itself, once.
    """

    def __init__(
        self,
        client: Redis,
        identity: Identity,
        settings: LedgerSettings | None = None,
        commerce: Commerce | None = None,
        *,
        script: Script | None = None,
        on_alert: Callable[[Alert], None] = lambda alert: None,
    ) -> None:
        self.settings = settings or LedgerSettings()
        self._client = client
        self._identity = identity
        self._commerce = commerce or Commerce()
        self._keys = Keys(self.settings.key_prefix)
        self._batcher = Batcher(
            ScriptTransport(client, script or batch_script(), self.settings.timeout_ms),
            self._keys,
            (str(self.settings.outcome_ttl_ms), ",".join(self.settings.low_marks)),
            on_alert,
        )
        self._clean_ups: set[asyncio.Task[Any]] = set()
        self.give_back: Callable[[ExecutionAttempt], None] = self._release_in_background

    async def check_installation(self) -> None:
        """Store this installation's bucket count and key check, or compare them.

        Raises:
            LedgerError: the data under this prefix belongs to another installation key.
            LedgerUnavailable: Redis can't be asked.
        """
        expected = {"buckets": str(BUCKETS), "key_check": self._identity.check_value()}
        name = self._keys.installation
        try:
            async with asyncio.timeout(self.settings.timeout_ms / 1000):
                for item, value in expected.items():
                    await self._client.hsetnx(name, item, value)
                stored = [_text(await self._client.hget(name, item)) for item in expected]
        except (RedisError, OSError, TimeoutError) as exc:
            raise LedgerUnavailable(f"{type(exc).__name__}: {exc}") from exc
        if stored[0] != expected["buckets"]:
            raise LedgerError(f"{name}: {stored[0]} buckets, this release uses {BUCKETS}")
        if stored[1] != expected["key_check"]:
            raise LedgerError(
                f"{name}: the data was written with another installation key; "
                "configure the key it was written with, or another redis.key_prefix"
            )

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
        _check_account_id(account_id)
        check_timezone(timezone)
        _check_reference(actor, "actor")
        ai_credits = self._ai_credits_of(plan)
        args = (plan, "1" if ai_credits else "0", timezone, secrets.token_hex(4), actor)
        answer = await self._ask(account_id, Call("open_account", args))
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
        _check_account_id(account_id)
        check_amount_mc(amount_mc, "amount_mc")
        _check_reference(reference, "reference")
        _check_reference(actor, "actor")
        rank = DEFAULT_PRIORITY[kind] if priority is None else priority
        if not 0 <= rank <= MAX_PRIORITY:
            raise ValueError(f"priority: found {rank}, allowed is 0 to {MAX_PRIORITY}")
        args = (
            str(kind),
            str(rank),
            str(amount_mc),
            str(_expires_ms(expires_at)),
            reference,
            actor,
        )
        answer = await self._ask(account_id, Call("grant", args))
        return replies.granted(account_id, reference, answer)

    async def purchase(
        self, account_id: str, *, credits: int, payment_reference: str, actor: str = "operator"
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
        _check_account_id(account_id)
        answer = await self._ask(account_id, Call("balance", ()), read_only=True)
        return replies.balance(account_id, answer)

    # Executions

    def attempt(
        self,
        *,
        account_id: str,
        execution_id: str,
        workspace_id: str,
        campaign_id: str,
        person_id: str,
        action: str,
        source: str,
        action_version: str = "",
        model: str = "",
    ) -> ExecutionAttempt:
        """Name a new attempt on an execution; no call to Redis."""
        return self._identity.attempt(
            account_id=account_id,
            execution_id=execution_id,
            workspace_id=workspace_id,
            campaign_id=campaign_id,
            person_id=person_id,
            action=action,
            source=source,
            action_version=action_version,
            model=model,
        )

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
            ExecutionConflict: the id was used for something else.
        """
        if amount_mc != 0:
            check_amount_mc(amount_mc, "amount_mc")
        args = (
            attempt.execution_key,
            attempt.attempt_id,
            str(amount_mc),
            str(ttl_ms),
            attempt.fingerprint,
            "\t".join(attempt.dimensions),
            "1" if final else "0",
            outcome,
        )
        call = self._call("reserve", attempt, args)
        call.on_abandoned = lambda answer: self._abandoned(attempt, answer)
        return replies.reservation(attempt.execution_id, await self._ask(attempt.account_id, call))

    async def settle(
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
            ExecutionConflict: the id was used for something else.
        """
        args = (
            attempt.execution_key,
            attempt.attempt_id,
            str(cost_mc),
            str(reserved_mc),
            str(reserved_at_ms),
            attempt.fingerprint,
            "\t".join(attempt.dimensions),
            tokens,
            rate_card_version,
            ",".join(flags),
            str(exposure_mc),
            outcome,
        )
        call = self._call("settle", attempt, args, ends=True)
        return replies.settlement(attempt.execution_id, await self._ask(attempt.account_id, call))

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
            outcome: stored as the execution's outcome; ``None`` leaves the id free to be asked again.
        """
        args = (
            attempt.execution_key,
            attempt.attempt_id,
            attempt.fingerprint,
            "\t".join(attempt.dimensions),
            str(exposure_mc),
            reason or "",
            "0" if outcome is None else "1",
            outcome or b"",
        )
        call = self._call("release", attempt, args, ends=True)
        return replies.release(attempt.execution_id, await self._ask(attempt.account_id, call))

    async def conclude(
        self, attempt: ExecutionAttempt, reason: FallbackReason, outcome: bytes = b""
    ) -> Existing | InProgress | None:
        """Make a refusal the outcome. ``None`` means that it now is."""
        args = (
            attempt.execution_key,
            attempt.attempt_id,
            attempt.fingerprint,
            "\t".join(attempt.dimensions),
            str(reason),
            outcome,
        )
        call = self._call("conclude", attempt, args)
        return replies.conclusion(attempt.execution_id, await self._ask(attempt.account_id, call))

    # Upkeep

    async def sweep(self) -> int:
        """End what is due in every bucket; return how many accounts were visited.

        No promise about expiry needs this: it tells alerts sooner and keeps the books tidy.
        """
        now_ms = await self._server_ms()
        visited = 0
        for number in range(BUCKETS):
            due = self._keys.bucket(number, "due")
            try:
                accounts = await self._client.zrangebyscore(due, "-inf", now_ms)
            except (RedisError, OSError) as exc:
                raise LedgerUnavailable(f"{type(exc).__name__}: {exc}") from exc
            for account in accounts:
                more_due = True
                while more_due:
                    call = Call("expire", (), ends=True)
                    answer = await self._ask(_text(account) or "", call)
                    more_due = answer[0] == b"swept" and answer[1] == 1
                visited += 1
        return visited

    async def drain(self) -> None:
        """Wait for what is under way: batches, and releases for callers that went away."""
        await self._batcher.aclose()
        while self._clean_ups:
            await asyncio.wait(self._clean_ups)
            await self._batcher.aclose()

    # Inside

    def _call(
        self,
        verb: str,
        attempt: ExecutionAttempt,
        args: tuple[str | bytes, ...],
        ends: bool = False,
    ) -> Call:
        outcome_key = self._keys.outcome(attempt.account_id, attempt.execution_key)
        return Call(verb, args, outcome_key=outcome_key, ends=ends)

    async def _ask(self, account_id: str, call: Call, *, read_only: bool = False) -> Answer:
        try:
            answer = await self._batcher.submit(account_id, call, read_only=read_only)
        except (NotReached, UnknownOutcome):
            # Every verb may be asked again; a server that restarts is back within moments.
            await asyncio.sleep(random.uniform(*_ASK_AGAIN_AFTER_S))  # noqa: S311 - jitter
            call.waiter = None
            answer = await self._batcher.submit(account_id, call, read_only=read_only)
        if answer[0] == b"damaged":
            raise LedgerUnavailable(answer[1].decode())
        if answer[0] == b"account_unknown" and call.outcome_key is None:
            raise AccountUnknown(account_id)
        return answer

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

    async def _server_ms(self) -> int:
        try:
            seconds, microseconds = await self._client.time()
        except (RedisError, OSError) as exc:
            raise LedgerUnavailable(f"{type(exc).__name__}: {exc}") from exc
        return int(seconds) * 1000 + int(microseconds) // 1000


def _check_account_id(account_id: str) -> None:
    if not _ACCOUNT_ID.fullmatch(account_id):
        raise ValueError(
            f"account_id: found {account_id!r}, allowed are 1 to 64 of A-Z a-z 0-9 _ . -"
        )


def _check_reference(text: str, name: str) -> None:
    if not _REFERENCE.fullmatch(text):
        raise ValueError(f"{name}: found {text!r}, allowed are 1 to 200 printable characters")


def _expires_ms(expires_at: datetime | None) -> int:
    if expires_at is None:
        return 0
    if expires_at.tzinfo is None:
        raise ValueError(f"expires_at: {expires_at.isoformat()} has no time zone")
    # Law 8: never early, so a part of a millisecond counts as a whole one.
    return max(1, -int(-expires_at.timestamp() * 1000 // 1))


def _text(value: bytes | str | None) -> str | None:
    return value.decode() if isinstance(value, bytes) else value
