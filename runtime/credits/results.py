"""The ledger's answers: values for expected results, exceptions for refused calls.

LedgerError
├── LedgerUnavailable       Redis can't be reached, or its answer can't be trusted
│   ├── BookingUnknown      the call may or may not be booked
│   ├── AccountDamaged      a record of the account is damaged, or of a newer schema
│   └── AccountStopped      the account lost writes, its clock ran ahead, or it was stopped
├── LedgerLost              Redis has no ledger, and the archive has one
├── ExecutionConflict       an execution_id was reused for something else
├── AccountUnknown          no such account
├── AccountConflict         the account exists with other attributes
├── ReferenceConflict       a reference was reused for something else
├── GrantRefused            this account may not be given credits
├── GrantUnknown            the account has no such grant
└── CapUnknown              the account has no such cap
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from fallback.reasons import FallbackReason
from pricing.errors import CreditgateError
from pricing.offers import GrantKind
from runtime.credits.caps import Cap, CapStatus


class LedgerError(CreditgateError):
    """Anything that the ledger refuses to do."""


class LedgerUnavailable(LedgerError):
    """Redis is away or too slow, or its answer can't be trusted."""


class BookingUnknown(LedgerUnavailable):
    """The call may or may not be booked; asking again with the same ids tells."""


class AccountDamaged(LedgerUnavailable):
    """A record is damaged, missing, or of a newer schema; the message names it.

    Other accounts are not affected. If the record is an execution's, no other execution is either.
    """


class AccountStopped(LedgerUnavailable):
    """The account lost writes that this process saw, its clock ran ahead, or it was stopped.

    Nothing is booked on it until its data is restored or an operator has decided; the message says
    what was found, and the command for it. Endings wait in the spool meanwhile.
    """


class LedgerLost(LedgerError):
    """Redis has no ledger under this prefix, and the archive has accounts.

    Its data was lost, or this is another Redis. Nothing is started on it: accounts would be opened
    and offers granted a second time.
    """

    def __init__(self, key_prefix: str) -> None:
        super().__init__(
            f"Redis has no ledger under the prefix {key_prefix!r}, and the archive has accounts: "
            "either Redis lost its data, or redis.url leads to another one. Restore a backup of "
            "Redis, or make the ledger again from the archive:\n"
            "  creditgate rebuild --all --reason TEXT --actor NAME"
        )


class ExecutionConflict(LedgerError):
    """The ``execution_id`` was used before with another value of ``field``."""

    def __init__(self, execution_id: str, field: str) -> None:
        super().__init__(
            f"execution_id {execution_id!r} was used before with another {field}; "
            "an id names one visit of one person to one step"
        )
        self.field = field


class AccountUnknown(LedgerError):
    """No account of this id was ever opened."""

    def __init__(self, account_id: str) -> None:
        super().__init__(f"account {account_id!r} is unknown; open it first")
        self.account_id = account_id


class AccountConflict(LedgerError):
    """The account exists with another value of ``field``."""

    def __init__(self, account_id: str, field: str, stored: str) -> None:
        super().__init__(f"account {account_id!r} exists already, with {field} {stored!r}")
        self.field = field


class ReferenceConflict(LedgerError):
    """The reference changed the account before, with another value of ``field``.

    ``stored`` is the value that it was used with, as text; amounts are millicredits.
    """

    def __init__(self, reference: str, field: str, stored: str) -> None:
        super().__init__(f"reference {reference!r} was used before, with {field} {stored}")
        self.reference = reference
        self.field = field
        self.stored = stored


class GrantRefused(LedgerError):
    """The account may not be given credits; ``reason`` says why."""

    def __init__(self, account_id: str, reason: FallbackReason) -> None:
        super().__init__(f"account {account_id!r} can't be given credits: {reason}")
        self.reason = reason


class TooManyGrants(LedgerError):
    """The account has as many open grants as it may have: with something available or reserved."""

    def __init__(self, account_id: str, most: int) -> None:
        super().__init__(
            f"account {account_id!r} has {most} grants that are not used up, the most that are "
            "allowed: void those that are not needed, or grant again when some are used up"
        )
        self.most = most


class GrantUnknown(LedgerError):
    """The account was never given this grant."""

    def __init__(self, account_id: str, grant_id: str) -> None:
        super().__init__(f"account {account_id!r} has no grant {grant_id!r}")


class CapUnknown(LedgerError):
    """The account has no such cap."""

    def __init__(self, account_id: str, cap: Cap) -> None:
        super().__init__(f"account {account_id!r} has no cap {cap}")


@dataclass(frozen=True, slots=True)
class Reserved:
    """Credits are set aside. ``expires_in_ms`` counts from the time of the script's run."""

    amount_mc: int
    available_mc: int
    reserved_at_ms: int
    expires_in_ms: int


@dataclass(frozen=True, slots=True)
class Refused:
    """No reservation.

    ``returning_mc`` is the part of usable grants that running executions have reserved; it is 0
    unless credits were short. ``cap`` is the cap that was reached. ``may_clear`` is true if it can
    help to wait until running executions end.
    """

    reason: FallbackReason
    available_mc: int = 0
    returning_mc: int = 0
    cap: CapStatus | None = None
    may_clear: bool = False


@dataclass(frozen=True, slots=True)
class InProgress:
    """Another attempt on this id holds a reservation for at most ``remaining_ms`` more."""

    remaining_ms: int


@dataclass(frozen=True, slots=True)
class Existing:
    """The id has its outcome: ``state`` is ``settled``, ``released`` or ``refused``."""

    state: str
    charged_mc: int
    overage_mc: int
    reason: FallbackReason | None
    outcome: bytes


@dataclass(frozen=True, slots=True)
class Settled:
    """The charge is booked. ``overage_mc`` is the part that the remaining credits did not cover."""

    charged_mc: int
    overage_mc: int
    available_mc: int
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NotBooked:
    """The settlement is older than the horizon: nothing is charged."""


@dataclass(frozen=True, slots=True)
class Released:
    """The reservation is given back. ``found`` is false if this attempt had none."""

    available_mc: int
    found: bool


@dataclass(frozen=True, slots=True)
class Granted:
    """Credits were given. ``new`` is false if the reference gave them before."""

    grant_id: str
    available_mc: int
    new: bool


@dataclass(frozen=True, slots=True)
class Voided:
    """The amount taken back of a grant. ``new`` is false if the reference did it before."""

    grant_id: str
    amount_mc: int
    available_mc: int
    new: bool


@dataclass(frozen=True, slots=True)
class Switched:
    """An account, or a part of it, was switched. ``new`` is false if nothing was changed.

    ``open_executions`` hold ``open_mc`` under what was switched: what runs there may cost so much
    at most. Where ``exact`` is false, there are too many to look at, and the figures are those of
    the whole account.
    """

    new: bool
    open_executions: int
    open_mc: int
    exact: bool = True


@dataclass(frozen=True, slots=True)
class Switch:
    """Something that is off: ``account``, ``workspace <id>``, ``campaign <id>``, ``action <id>``.

    The rest is ``None`` where an earlier release switched it off, or the account was made again
    from its archive.
    """

    target: str
    since_ms: int | None = None
    actor: str | None = None
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Alert:
    """``left`` (available + reserved) fell to a mark: ``p20``, ``a5000`` or ``exhausted``.

    One with mark ``c80`` is of a cap, which reached 80% of its limit: ``cap``, ``cap_limit_mc`` and
    ``cap_charged_mc`` say more, and ``threshold_mc`` is that share of the limit.

    One with mark ``archive_lag`` is for the operator: the archive is ``lag_entries`` behind the
    account's journal, at least half of ``archive.max_lag``. Its ``threshold_mc`` is 0.
    """

    account_id: str
    mark: str
    threshold_mc: int
    left_mc: int
    lag_entries: int = 0
    cap: Cap | None = None
    cap_limit_mc: int = 0
    cap_charged_mc: int = 0


@dataclass(frozen=True, slots=True)
class GrantBalance:
    """One grant and its parts. ``expires_at_ms`` and ``voided_at_ms`` are ``None`` for never."""

    grant_id: str
    kind: GrantKind
    priority: int
    expires_at_ms: int | None
    created_at_ms: int
    voided_at_ms: int | None
    amount_mc: int
    available_mc: int
    reserved_mc: int
    charged_mc: int
    expired_mc: int
    voided_mc: int
    reference: str

    @property
    def expires_at(self) -> datetime | None:
        """The expiry as a UTC instant."""
        at_ms = self.expires_at_ms
        return None if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC)

    @property
    def conserved(self) -> bool:
        """Law 2 for this grant."""
        return self.amount_mc == (
            self.available_mc
            + self.reserved_mc
            + self.charged_mc
            + self.expired_mc
            + self.voided_mc
        )


@dataclass(frozen=True, slots=True)
class Balance:
    """An account's parts at one instant of the server's clock, and its grants in burn order.

    ``switched_off`` has ``account``, ``workspace <id>`` and ``action <id>``. ``clock_ahead_ms`` is
    above 0 where the account was written by a clock that was wrong; it is stopped until a repair.
    """

    account_id: str
    state: str
    plan: str
    timezone: str
    ai_credits: bool
    at_ms: int
    granted_mc: int
    available_mc: int
    reserved_mc: int
    charged_mc: int
    expired_mc: int
    voided_mc: int
    overage_mc: int
    exposure_mc: int
    open_reservations: int
    journal_seq: int
    switched_off: tuple[str, ...]
    grants: tuple[GrantBalance, ...]
    clock_ahead_ms: int = 0

    @property
    def conserved(self) -> bool:
        """Law 2: for the account, for each grant, and between the two."""
        whole = (
            self.available_mc
            + self.reserved_mc
            + self.charged_mc
            + self.expired_mc
            + self.voided_mc
        )
        return (
            self.granted_mc == whole
            and all(grant.conserved for grant in self.grants)
            and all(
                sum(getattr(grant, part) for grant in self.grants) == getattr(self, part)
                for part in ("available_mc", "reserved_mc", "charged_mc", "expired_mc", "voided_mc")
            )
        )
