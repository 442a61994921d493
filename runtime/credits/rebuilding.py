"""Makes an account's records in Redis again, by verbs that write them as the ledger does."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from runtime.credits.batch import Call, Mode
from runtime.credits.caps import Cap
from runtime.credits.identity import Dimensions, Identity
from runtime.credits.results import LedgerError
from runtime.credits.script_client import ScriptClient
from runtime.redis.keys import Keys

_EPOCH_BYTES = 3
_TOKEN_BYTES = 9
_CALLS_A_SCRIPT = 250

Value = str | int


class RebuildRefused(LedgerError):
    """An account must not be made again; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class GrantFigures:
    """A grant as it is to be: its parts in millicredits, instants in ms since 1970, 0 for never."""

    grant_id: str
    kind: str
    reference: str
    priority: int
    expires_ms: int
    created_ms: int
    amount_mc: int
    available_mc: int
    charged_mc: int
    expired_mc: int
    voided_mc: int
    voided_ms: int

    def values(self) -> tuple[Value, ...]:
        """Return the values in the order of ``rebuild.lua``."""
        return (
            self.kind,
            self.reference,
            self.grant_id[1:],
            self.priority,
            self.expires_ms,
            self.created_ms,
            self.amount_mc,
            self.available_mc,
            self.charged_mc,
            self.expired_mc,
            self.voided_mc,
            self.voided_ms,
        )


@dataclass(frozen=True, slots=True)
class ReferenceFigures:
    """A change made under a reference: what a repeat is compared with, and what is answered."""

    reference: str
    kind: str
    compared: tuple[str, ...]
    answer: str


@dataclass(frozen=True, slots=True)
class OutcomeFigures:
    """The outcome of an execution, without values; ``state`` is ``settled`` or such."""

    execution_key: str
    dimensions: Dimensions
    state: str
    charged_mc: int
    overage_mc: int
    reason: str
    gone_at_ms: int


@dataclass(frozen=True, slots=True)
class AccountFigures:
    """An account as it is to be, but for what parts and outcomes have.

    ``values`` are those that ``rebuild_finish.lua`` names. ``caps`` have their limit, the end of
    their last window, 0 for never, and what it has used. ``off`` are fields of ``limits.lua``.
    """

    values: tuple[Value, ...]
    grants: Sequence[GrantFigures]
    caps: Sequence[tuple[Cap, int, int, int]]
    off: Sequence[str]


class Rebuilding:
    """One rebuild of one account, which another one takes over by beginning anew.

    Every method may raise ``LedgerUnavailable``; the whole can then be done again.
    """

    def __init__(
        self, script_client: ScriptClient, keys: Keys, identity: Identity, account_id: str
    ) -> None:
        self._script_client = script_client
        self._keys = keys
        self._identity = identity
        self._account_id = account_id
        self._token = secrets.token_urlsafe(_TOKEN_BYTES)

    async def begin(self, archived_seq: int) -> None:
        """Throw away what is left of the account, if the archive has all of it.

        Raises:
            RebuildRefused: the account is there and sound, or ahead of the archive.
        """
        answer = await self._ask("rebuild_begin", archived_seq, self._token)
        if answer[0] == b"ahead":
            raise RebuildRefused(
                f"account {self._account_id}: Redis has its journal up to sequence "
                f"{int(answer[1])}, the archive up to {archived_seq}: run creditgate archive first"
            )
        if answer[0] == b"there":
            raise RebuildRefused(there_text(self._account_id, answer[1], archived_seq))

    async def write_references(self, references: Sequence[ReferenceFigures]) -> None:
        """Write what was done under references."""
        await self._write_parts(
            [
                ("ref", one.reference, one.kind, len(one.compared), *one.compared, one.answer)
                for one in references
            ]
        )

    async def write_ended(self, grants: Sequence[GrantFigures]) -> None:
        """Write grants with nothing left."""
        await self._write_parts([("grant", *grant.values()) for grant in grants])

    async def write_dimensions(self, dimensions: Sequence[tuple[int, str]]) -> None:
        """Write the numbers of dimensions."""
        await self._write_parts([("dims", number, text) for number, text in dimensions])

    async def write_outcomes(self, outcomes: Sequence[OutcomeFigures]) -> int:
        """Write outcomes that are not there; return how many were written."""
        calls = [
            Call(
                "rebuild_outcome",
                (
                    one.execution_key,
                    "",
                    self._identity.fingerprint_of_anybody(one.dimensions),
                    "",
                    self._token,
                    one.state,
                    one.charged_mc,
                    one.overage_mc,
                    one.reason,
                    one.gone_at_ms,
                ),
                self._keys.outcome(self._account_id, one.execution_key),
                mode=Mode.ACCOUNT,
            )
            for one in outcomes
        ]
        return sum(answer[1] for answer in await self._ask_all(calls))

    async def finish(self, figures: AccountFigures, *, reason: str, actor: str) -> int:
        """Make the account; return the sequence from which it goes on."""
        grants = [value for grant in figures.grants for value in grant.values()]
        caps = [
            value
            for cap, limit_mc, end_ms, used_mc in figures.caps
            for value in (cap.sort, cap.field, limit_mc, end_ms, used_mc)
        ]
        answer = await self._ask(
            "rebuild_finish",
            self._token,
            actor,
            reason,
            secrets.token_urlsafe(_EPOCH_BYTES),
            *figures.values,
            len(figures.grants),
            *grants,
            len(figures.caps),
            *caps,
            len(figures.off),
            *figures.off,
        )
        return int(answer[1])

    async def _write_parts(self, parts: Sequence[tuple[Value, ...]]) -> None:
        calls = [Call("rebuild_part", (self._token, *part), mode=Mode.ACCOUNT) for part in parts]
        await self._ask_all(calls)

    async def _ask_all(self, calls: Sequence[Call]) -> list[list[int]]:
        answers = []
        for first in range(0, len(calls), _CALLS_A_SCRIPT):
            some = calls[first : first + _CALLS_A_SCRIPT]
            answers += await self._script_client.ask_all(self._account_id, some)
        return answers

    async def _ask(self, verb: str, *args: Value) -> list[bytes | int]:
        call = Call(verb, args, mode=Mode.ACCOUNT)
        answer: list[bytes | int] = await self._script_client.ask(self._account_id, call)
        return answer


def there_text(account_id: str, seq: int | bytes, archived_seq: int) -> str:
    """Return why an account that is there is not made again."""
    if int(seq) < archived_seq:
        return (
            f"account {account_id} is in Redis at sequence {int(seq)}, behind the archive, which "
            f"has {archived_seq}: creditgate repair fork --account {account_id} takes over what is "
            "missing"
        )
    return f"account {account_id} is in Redis, sound, at sequence {int(seq)}: nothing is to be done"
