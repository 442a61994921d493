"""The credit ledger: every verb that moves credits, each one atomic script in Redis."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any

from redis.asyncio import Redis, RedisCluster

from fallback.reasons import FallbackReason
from runtime.credits import decoding as replies
from runtime.credits.accounts import Accounts
from runtime.credits.batch import Answer, Batcher, Call
from runtime.credits.checks import check_column, check_whole
from runtime.credits.identity import ExecutionAttempt, Identity
from runtime.credits.installation import Installation
from runtime.credits.results import (
    Alert,
    Existing,
    InProgress,
    LedgerError,
    Refused,
    Released,
    Reserved,
    Settled,
)
from runtime.credits.script_client import ScriptClient
from runtime.credits.scripts import Scripts, batch_scripts
from runtime.credits.settings import Commerce, LedgerSettings
from runtime.credits.watch import Watch, own_clock_ms
from runtime.redis.cluster import transport_to
from runtime.redis.keys import Keys

__all__ = ["Commerce", "CreditLedger", "LedgerSettings"]

_log = logging.getLogger("creditgate.ledger")


class CreditLedger:
    """Prepaid credits in Redis.

    Every method may raise ``LedgerUnavailable``: then nothing is known to have happened, and
    asking again with the same ids is safe.

    Args:
        client: redis-py's, of one server or of a cluster; owned by the caller.
        identity: keyed hashes with the installation key.
        scripts: the assembled Lua; tests pass one with a clock of their own.
        on_alert: hears alerts that this process's calls raised, after they were written.
        clock_ms: this process's clock, which is held against the servers'.

    ``accounts`` has the verbs that change and read accounts.
    ``watch`` looks at the servers' clocks and memory, once it is started.
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
        scripts: Scripts | None = None,
        on_alert: Callable[[Alert], None] = lambda alert: None,
        clock_ms: Callable[[], int] = own_clock_ms,
    ) -> None:
        self.settings = settings or LedgerSettings()
        self.attempt = identity.attempt
        self._keys = Keys(self.settings.key_prefix)
        self.watch = Watch(client, self.settings.timeout_ms, clock_ms)
        self._installation = Installation(client, self._keys, self.settings, self.watch)
        batcher = Batcher(
            transport_to(client, self.settings.timeout_ms, self.settings.replicas),
            scripts or batch_scripts(),
            self._keys,
            self.settings.header,
            on_alert,
        )
        script_client = ScriptClient(batcher, self.settings.timeout_ms)
        self._script_client = script_client
        self._identity = identity
        self.accounts = Accounts(script_client, identity, commerce or Commerce())
        self._clean_ups: set[asyncio.Task[Any]] = set()
        self.give_back: Callable[[ExecutionAttempt], None] = self._release_in_background

    async def check_installation(self) -> None:
        """Check the server's version, and store this installation's key check, or compare it.

        Raises:
            LedgerError: the server is too old or not as durable as it is to be, or the data under
                this prefix belongs to another installation key.
            LedgerUnavailable: Redis can't be asked.
        """
        await self._installation.check_installation(self._identity.check_value())

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
        if self.watch.faults:
            self.watch.check_reserve(attempt.account_id)
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
        return replies.reservation(attempt, answer)

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
        return replies.settlement(attempt, answer)

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
        return replies.release(attempt, answer)

    async def conclude(
        self, attempt: ExecutionAttempt, reason: FallbackReason, outcome: bytes = b""
    ) -> Refused | Existing | InProgress | None:
        """Make a refusal the outcome.

        Returns:
            ``None`` where it now is; ``Refused`` where the account is unknown, which keeps nothing.
        """
        args = (
            attempt.execution_key,
            attempt.attempt_id,
            attempt.fingerprint,
            "\t".join(attempt.dimensions),
            reason,
            outcome,
        )
        answer = await self._ask("conclude", attempt, args)
        return replies.conclusion(attempt, answer)

    # Installation

    async def sweep(self) -> int:
        """End what is due in every bucket; return how many accounts were visited.

        No promise about expiry needs this: it tells alerts sooner and keeps the books tidy.
        """
        return await self._installation.sweep(self._script_client)

    async def drain(self) -> None:
        """Wait for what is under way: batches, and releases for callers that went away."""
        await self._script_client.drain()
        while self._clean_ups:
            await asyncio.wait(self._clean_ups)
            await self._script_client.drain()

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
        return await self._script_client.ask(attempt.account_id, call)

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
