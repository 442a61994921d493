"""The credit ledger: every verb that moves credits, each one atomic script in Redis."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from fallback.reasons import FallbackReason, is_kept, kept_refusals
from runtime.background import TaskSet
from runtime.credits import decoding
from runtime.credits.accounts import Accounts
from runtime.credits.batch import Answer, Batcher, Call, Mode
from runtime.credits.checks import check_account_id, check_is, check_whole, choice
from runtime.credits.clock import own_clock_ms
from runtime.credits.endings import Ending, Release, Settlement
from runtime.credits.identity import ExecutionAttempt, Identity
from runtime.credits.installation import Installation, OnFirst, begin
from runtime.credits.repairs import Repairs
from runtime.credits.results import (
    Alert,
    Existing,
    InProgress,
    LedgerError,
    LedgerUnavailable,
    NotBooked,
    Refused,
    Released,
    Reserved,
    Settled,
)
from runtime.credits.script_client import ScriptClient
from runtime.credits.scripts import Scripts, batch_scripts
from runtime.credits.settings import Commerce, LedgerSettings
from runtime.credits.sweeping import Sweeper
from runtime.credits.watch import Watch
from runtime.loop_guard import LoopGuard
from runtime.redis.cluster import transport_to
from runtime.redis.keys import Keys
from runtime.redis.primaries import Client
from runtime.redis.transport import Transport

if TYPE_CHECKING:
    # What operators do is imported when they do it.
    from runtime.credits.corrections import Corrections
    from runtime.credits.erasure import Erasure
    from runtime.credits.inspection import Inspection
    from runtime.credits.migration import Migration
    from runtime.credits.outcomes import Outcomes
    from runtime.credits.rebuilding import Rebuilding

__all__ = ["Commerce", "CreditLedger", "LedgerSettings"]

_KEPT_REFUSALS = ",".join(kept_refusals())

# Each asking of a settlement that would otherwise become overage ends up to 1,000 reservations.
_MOST_SWEEPS = 10_000


class CreditLedger:
    """Prepaid credits in Redis.

    Every method may raise ``LedgerUnavailable``: whether anything happened is then unknown, and
    asking again with the same ids is safe.

    Args:
        client: redis-py's, of one server or of a cluster; owned by the caller.
        identity: keyed hashes with the installation key.
        scripts: the assembled Lua; tests pass one with a clock of their own.
        transport: runs the scripts. Without one, over connections of the client's pool, or of
            pools like it for a cluster.
        on_alert: is called with each alert that this process's calls raised, after it was written.
        clock_ms: this process's clock, which is compared with the servers'.

    ``accounts`` has the verbs that change and read accounts.
    ``repairs`` has what an operator does where Redis lost data or its clock was wrong.
    ``erasure`` removes what a model wrote for a person.
    ``migration`` takes the data to the newest schema.
    ``watch`` looks at the servers' clocks and memory, once it is started.
    ``sweeper`` sweeps in the background, once it is started.
    ``guard`` refuses the use of ``accounts`` from another event loop, once it is opened.
    ``attempt`` names a new attempt on an execution, as ``Identity.attempt`` does, and
    ``unnamed_attempt`` one to look an id up with, as ``Identity.unnamed`` does.
    ``key_check`` tells installation keys apart, as ``Identity.check_value`` does.

    A ``reserve`` whose caller was cancelled may have set credits aside. The ledger releases them
    itself, once, or leaves that to the function given to ``hand_abandoned_to``.
    """

    def __init__(
        self,
        client: Client,
        identity: Identity,
        settings: LedgerSettings | None = None,
        commerce: Commerce | None = None,
        *,
        scripts: Scripts | None = None,
        transport: Transport | None = None,
        on_alert: Callable[[Alert], None] = lambda alert: None,
        clock_ms: Callable[[], int] = own_clock_ms,
    ) -> None:
        self._client = client
        self.settings = settings or LedgerSettings()
        self.attempt = identity.attempt
        self.unnamed_attempt = identity.unnamed
        self.key_check = identity.check_value()
        self._identity = identity
        self._keys = Keys(self.settings.key_prefix)
        self.watch = Watch(client, self.settings.timeout_ms, clock_ms, self.settings.assume)
        self._installation = Installation(client, self._keys, self.settings, self.watch)
        self._scripts = scripts or batch_scripts()
        self._transport = transport or transport_to(
            client, self.settings.timeout_ms, self.settings.replicas
        )
        batcher = Batcher(
            self._transport,
            self._scripts,
            self._keys,
            self.settings.header,
            on_alert,
            clock_ms,
        )
        self._memory = batcher.memory
        self.guard = LoopGuard("ledger")
        script_client = ScriptClient(batcher, self.settings.timeout_ms)
        self._script_client = script_client
        # Executions that end while their runtime closes must still reach the ledger.
        for_hosts = self._for_hosts = script_client.checked(self.guard.check)
        self.accounts = Accounts(
            for_hosts, identity, commerce or Commerce(), lambda: self.watch.schema
        )
        self.repairs = Repairs(for_hosts)
        self.sweeper = Sweeper(
            client, self._keys, script_client, self.watch, self.settings.timeout_ms
        )
        self._releases = TaskSet()
        self._on_abandoned: Callable[[ExecutionAttempt], None] = self._release_in_background

    def hand_abandoned_to(self, on_abandoned: Callable[[ExecutionAttempt], None]) -> None:
        """Set the function that releases what cancelled callers may have reserved.

        It is called in the event loop and must not block. An outbox passes its own function, which
        spools the release while Redis is away.
        """
        self._on_abandoned = on_abandoned

    def tell_to(self, on_told: Callable[[str, bytes], None]) -> None:
        """Set the function that hears each account's epoch, sequence and chain, as scripts tell it.

        It is called in the event loop, for each script call, and must not block.
        """
        self._memory.on_told = on_told

    async def check_installation(self, on_first: OnFirst = begin) -> None:
        """Check the server's version, and store or compare this installation's key check.

        Args:
            on_first: decides what a Redis without the check means; see ``Installation.check``.

        Raises:
            LedgerError: the server is too old or not as durable as it is to be, or the data under
                this prefix belongs to another installation key.
            LedgerUnavailable: Redis can't be reached.
        """
        await self._installation.check(self.key_check, on_first)

    async def store_installation(self, schema: int) -> None:
        """Store this installation's key check where Redis has none, as a first start does.

        Args:
            schema: the one that new accounts begin with.

        Raises:
            LedgerUnavailable: Redis can't be reached.
        """
        await self._installation.store(self.key_check, schema)

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
        """Set aside ``amount_mc`` (0 for a free model) for at most ``ttl_ms``.

        A caller that is cancelled leaves no reservation behind.

        Args:
            final: store a refusal that is kept as the outcome, with ``outcome`` as its bytes.

        Raises:
            ValueError: an amount or interval is not allowed; the message names it.
            ExecutionConflict: the id was used for something else.
        """
        check_is(attempt, ExecutionAttempt, "attempt")
        check_whole(amount_mc, "amount_mc")
        check_is(final, bool, "final")
        check_is(outcome, bytes, "outcome")
        check_whole(ttl_ms, "ttl_ms", least=1, most=self.settings.outcome_ttl_ms)
        if self.watch.faults:
            self.watch.check_reserve(attempt.account_id)
        own = (amount_mc, ttl_ms, _KEPT_REFUSALS if final else "", outcome)
        answer = await self._ask(
            "reserve", attempt, own, on_abandoned=lambda answer: self._abandoned(attempt, answer)
        )
        return decoding.reservation(attempt, answer)

    async def look_up(self, attempt: ExecutionAttempt) -> Existing | InProgress | None:
        """Return what the ledger knows of the id. Writes nothing.

        Returns:
            ``InProgress`` while any attempt on the id holds a reservation, ``None`` if the id is
            unknown.

        Raises:
            ValueError: ``attempt`` is not one.
            ExecutionConflict: the id was used for something else.
        """
        check_is(attempt, ExecutionAttempt, "attempt")
        answer = await self._ask("look_up", attempt, (), mode=Mode.READ)
        return decoding.knowledge(attempt, answer)

    async def settle(self, settlement: Settlement) -> Settled | Existing | NotBooked:
        """Charge the real cost, give back the rest, and store the outcome.

        Returns:
            ``NotBooked`` if the settlement is older than the horizon: it is not charged.

        Raises:
            ValueError: a field is not allowed; the message names it.
            AccountUnknown: the account is not there, though it may come back.
            ExecutionConflict: the id was used for something else.
        """
        check_is(settlement, Settlement, "settlement")
        own = settlement.arguments()
        for _ in range(_MOST_SWEEPS):
            answer = await self._ask("settle", settlement.attempt, own, ends=True)
            if answer[0] != b"more_due":
                return decoding.settlement(settlement.attempt, answer)
        raise LedgerUnavailable("more reservations expire than can be ended before a settlement")

    async def release(self, release: Release) -> Released | Existing:
        """Give all of the attempt's reservation back.

        Raises:
            ValueError: a field is not allowed; the message names it.
            AccountUnknown: as ``settle``.
            ExecutionConflict: the id was used for something else.
        """
        check_is(release, Release, "release")
        answer = await self._ask("release", release.attempt, release.arguments(), ends=True)
        return decoding.release(release.attempt, answer)

    def check_clock(self, account_id: str) -> None:
        """Raise ``LedgerUnavailable`` if this process's clock is far from the account's server's.

        It is as the watch last saw it.
        """
        self.watch.check_clock(account_id)

    async def end(self, ending: Ending) -> Settled | Released | Existing | NotBooked:
        """Settle or release, as the ending says.

        Raises:
            ValueError: it is not an ending, or one of its fields is not allowed.
        """
        if isinstance(ending, Settlement):
            return await self.settle(ending)
        if isinstance(ending, Release):
            return await self.release(ending)
        raise ValueError(f"ending: found {ending!r}, expected a Settlement or a Release")

    async def conclude(
        self, attempt: ExecutionAttempt, reason: FallbackReason, outcome: bytes = b""
    ) -> Refused | Existing | InProgress | None:
        """Make a refusal the outcome.

        Returns:
            ``None`` if it now is; ``Refused`` if the account is unknown, which keeps nothing.

        Raises:
            ValueError: a refusal with this reason is not kept.
            ExecutionConflict: the id was used for something else.
        """
        check_is(attempt, ExecutionAttempt, "attempt")
        check_is(outcome, bytes, "outcome")
        if not is_kept(choice(reason, FallbackReason, "reason")):
            raise ValueError(f"reason: found {reason!r}, allowed are reasons whose outcome is kept")
        answer = await self._ask("conclude", attempt, (reason, outcome))
        return decoding.conclusion(attempt, answer)

    # Installation

    @cached_property
    def erasure(self) -> Erasure:
        """Erases what models wrote for a person."""
        from runtime.credits.erasure import Erasure

        return Erasure(
            self._client,
            self._keys,
            self._identity,
            self.settings,
            self._for_hosts,
            self._transport,
            self._scripts,
        )

    @cached_property
    def migration(self) -> Migration:
        """Upgrades accounts that an earlier release wrote."""
        from runtime.credits.migration import Migration

        return Migration(
            self._client, self._keys, self._for_hosts, self.watch, self.settings.timeout_ms
        )

    @cached_property
    def inspection(self) -> Inspection:
        """Reads what the audit compares."""
        from runtime.credits.inspection import Inspection

        return Inspection(self._client, self._keys, self._for_hosts, self.settings.timeout_ms)

    @cached_property
    def outcomes(self) -> Outcomes:
        """Looks up what many ids came to."""
        from runtime.credits.outcomes import Outcomes

        return Outcomes(self._for_hosts, self._keys, self._identity)

    def rebuilding(self, account_id: str) -> Rebuilding:
        """Return a rebuild of an account that Redis lost.

        Raises:
            ValueError: it can't be the id of an account.
        """
        from runtime.credits.rebuilding import Rebuilding

        check_account_id(account_id)
        return Rebuilding(self._script_client, self._keys, self._identity, account_id)

    def corrections(self, account_id: str) -> Corrections:
        """Return corrections of an account that lost what its archive has.

        Raises:
            ValueError: it can't be the id of an account.
        """
        from runtime.credits.corrections import Corrections

        check_account_id(account_id)
        return Corrections(self._script_client, self._identity, account_id)

    async def sweep(self) -> int:
        """End what is due in every bucket; return the number of accounts visited.

        Expiry does not depend on it. It raises alerts sooner and keeps the books tidy.
        """
        return await self.sweeper.sweep()

    async def drain(self) -> None:
        """Wait for what is under way: batches, and releases for cancelled callers."""
        await self._script_client.drain()
        while self._releases:
            await self._releases.drain()
            await self._script_client.drain()

    # Inside

    def _ask(
        self,
        verb: str,
        attempt: ExecutionAttempt,
        own: Sequence[bytes | str | int],
        *,
        ends: bool = False,
        on_abandoned: Callable[[Answer | None], None] | None = None,
        mode: Mode = Mode.EXECUTION,
    ) -> Awaitable[Answer]:
        """Send a call: the arguments that all verbs of executions share, then the verb's own."""
        args = (
            attempt.execution_key,
            attempt.attempt_id,
            attempt.fingerprint,
            "\t".join(attempt.dimensions),
            *own,
        )
        outcome_key = self._keys.outcome(attempt.account_id, attempt.execution_key)
        call = Call(verb, args, outcome_key, ends, on_abandoned, mode)
        return self._script_client.ask(attempt.account_id, call)

    def _abandoned(self, attempt: ExecutionAttempt, answer: Answer | None) -> None:
        if answer is None or answer[0] == b"reserved":
            self._on_abandoned(attempt)

    def _release_in_background(self, attempt: ExecutionAttempt) -> None:
        self._releases.start(self._release_abandoned(attempt))

    async def _release_abandoned(self, attempt: ExecutionAttempt) -> None:
        try:
            await self.release(Release(attempt))
        except LedgerError:
            # Unreachable: the reservation's own deadline gives the credits back.
            return
