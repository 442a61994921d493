"""Erasure of what models wrote for one person: from outcomes, and from what is settled later."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ResponseError

from runtime.credits.batch import Call, Mode
from runtime.credits.checks import check_account_id, check_is, check_person_id, check_reference
from runtime.credits.endings import Ending, Release
from runtime.credits.identity import ExecutionAttempt, Identity
from runtime.credits.results import (
    AccountUnknown,
    LedgerError,
    LedgerUnavailable,
    ReferenceConflict,
)
from runtime.credits.script_client import ScriptClient, ledger_error, plain_commands
from runtime.credits.scripts import Scripts
from runtime.credits.settings import LedgerSettings
from runtime.redis.errors import RedisUnavailable, described
from runtime.redis.keys import Keys, bucket_of, slot_of_bucket
from runtime.redis.primaries import Client, Primary, shares
from runtime.redis.transport import Request, Transport, bulk

_log = logging.getLogger("creditgate.ledger")

OUTCOMES = "outcomes"
"""The place whose values ``erasure.lua`` counts."""

_SCAN_COUNT = 1_000
_ERASED_AT_ONCE = 4  # of up to a megabyte each
# What comes before the dimensions' fingerprint in an outcome, and the fingerprint.
_HEADER_BYTES = 128
_HEADER = re.compile(rb"1\t[srn]\t[^\t\n]+\t([^\t\n]+)\t")
_PERSON_IN_VALUES = re.compile(rb'\{"p":"([\w-]{22})(?:\.(\d{1,15}))?"', re.ASCII)
_ENDED = "end"


@dataclass(frozen=True, slots=True)
class Person:
    """A person of an account, by keyed hashes that name nobody.

    ``key`` is of this person alone, ``part`` is the person's part of fingerprints.
    """

    account_id: str
    key: str
    part: str

    def owns(self, ending: Ending) -> bool:
        """Return whether an ending is of this person, or can't be told from one."""
        attempt = ending.attempt
        if attempt.account_id != self.account_id:
            return False
        if attempt.person_key is None:
            return person_part(attempt) == self.part
        return attempt.person_key == self.key


@dataclass(frozen=True, slots=True)
class Forgetting:
    """The erasure of a person under a reference, as far as it has come.

    ``removed`` is the number of values by place.
    """

    person: Person
    reference: str
    at_ms: int
    removed: dict[str, int]
    done: bool


Progress = Callable[[int, int | None], object]
"""Is told how many keys of how many were looked at; the second is ``None`` if it is unknown."""


class Erasure:
    """Removes a person's values from the ledger, and keeps the charges.

    Every method may raise ``LedgerUnavailable``. Asking again goes on where it ended.
    """

    def __init__(
        self,
        client: Client,
        keys: Keys,
        identity: Identity,
        settings: LedgerSettings,
        script_client: ScriptClient,
        transport: Transport,
        scripts: Scripts,
    ) -> None:
        self._client: Any = client  # redis-py types answers by what its settings could make of them
        self._keys = keys
        self._identity = identity
        self._settings = settings
        self._script_client = script_client
        self._transport = transport
        self._script = scripts.erasure

    async def begin(self, account_id: str, person_id: str, reference: str) -> Forgetting:
        """Note that a person was forgotten now, or return how far the erasure has come.

        From then on nothing that began before stores values for the person.

        Raises:
            ValueError: an argument is not allowed; the message names it.
            AccountUnknown: there is no such account.
            ReferenceConflict: the reference was used for another person, or so long ago that it is
                unknown for whom.
        """
        check_account_id(account_id)
        check_reference(reference, "reference")
        check_person_id(person_id)
        person = Person(
            account_id,
            self._identity.person_key(account_id, person_id),
            self._identity.part(person_id),
        )
        own = self._keys.of_account(account_id)
        answer = await self._run(
            account_id,
            (own[0], own[5], self._keys.forgotten(account_id), self._progress(person, reference)),
            (
                "begin",
                person.key,
                person.part,
                _journaled(reference),
                self._settings.outcome_ttl_ms,
            ),
        )
        if answer[0] == b"account_unknown":
            raise AccountUnknown(account_id)
        if answer[0] != b"begun":
            raise ReferenceConflict(reference, "person", "another")
        return await self._known(person, reference)

    async def erase_outcomes(
        self, forgetting: Forgetting, on_progress: Progress = lambda looked_at, total: None
    ) -> None:
        """Remove the person's values from all outcomes of the account, which else stay as they are.

        What a process that was killed has looked at is not looked at again, unless the server has
        changed since.

        Raises:
            LedgerError: a newer release wrote one.
            LedgerUnavailable: also while the account's slot moves to another server of a cluster.
        """
        person = forgetting.person
        progress = self._progress(person, forgetting.reference)
        while True:
            node, run = await self._server(person.account_id)
            kept_run, cursor = await self._fields(progress, "run", "cursor")
            if not run or kept_run != run:
                cursor = "0"
            elif cursor == _ENDED:
                return
            await self._scan(forgetting, node, run, cursor or "0", on_progress)
            is_moving = await self._bounded(node.is_moving(bucket_of(person.account_id)))
            _, now = await self._server(person.account_id)
            # A cursor means nothing to another server, nor to the same one started again.
            is_whole = now == run and not is_moving
            await self._keep(progress, run, _ENDED if is_whole else "0")
            if is_whole:
                return
            if is_moving:
                raise LedgerUnavailable(f"{node} hands the account's slot to another server")

    async def note(self, forgetting: Forgetting, place: str, number: int) -> None:
        """Add to the number of values that were removed from a place."""
        name = self._progress(forgetting.person, forgetting.reference)
        async with plain_commands(self._settings.timeout_ms / 1000):
            await self._client.hincrby(name, place, number)

    async def finish(self, forgetting: Forgetting, *, reason: str, actor: str) -> Forgetting:
        """Record in the account's journal that values were removed, once for the reference.

        Raises:
            ValueError: the reason or the actor is not allowed.
        """
        check_is(forgetting, Forgetting, "forgetting")
        check_reference(reason, "reason")
        check_reference(actor, "actor")
        person, reference = forgetting.person, forgetting.reference
        known = await self._known(person, reference)
        args = (_journaled(reference), sum(known.removed.values()), actor, reason)
        call = Call("forgotten", args, mode=Mode.ACCOUNT)
        answer = await self._script_client.ask(person.account_id, call)
        if answer[0] == b"conflict":
            raise ReferenceConflict(reference, *(str(one, "utf-8") for one in answer[1:3]))
        async with plain_commands(self._settings.timeout_ms / 1000):
            await self._client.hset(self._progress(person, reference), "done", "1")
        return Forgetting(person, reference, known.at_ms, known.removed, True)

    async def forgotten(self, endings: Sequence[Ending]) -> list[bool]:
        """Return of each ending whether its person was forgotten after it had begun."""
        if not endings:
            return []
        pipeline = self._client.pipeline(transaction=False)
        for ending in endings:
            attempt = ending.attempt
            name = self._keys.forgotten(attempt.account_id)
            pipeline.zscore(name, attempt.person_key or person_part(attempt))
        async with plain_commands(self._settings.timeout_ms / 1000):
            found = await pipeline.execute(raise_on_error=False)
        return [
            isinstance(at_ms, float) and _began_ms(ending) <= at_ms
            for ending, at_ms in zip(endings, found, strict=True)
        ]

    # Inside

    async def _scan(
        self, forgetting: Forgetting, node: Primary, run: str, cursor: str, on_progress: Progress
    ) -> None:
        person, looked_at = forgetting.person, 0
        progress = self._progress(person, forgetting.reference)
        pattern = self._keys.outcomes(person.account_id)
        total = await self._bounded(node.size())
        while True:
            cursor, names = await self._bounded(node.scan(cursor, pattern, _SCAN_COUNT))
            theirs = await self._matching(person, names)
            for first in range(0, len(theirs), _ERASED_AT_ONCE):
                await self._erase(person, progress, theirs[first : first + _ERASED_AT_ONCE])
            looked_at += _SCAN_COUNT
            await self._keep(progress, run, cursor)
            on_progress(looked_at if total is None else min(looked_at, total), total)
            if cursor == "0":
                return

    async def _keep(self, progress: str, run: str, cursor: str) -> None:
        """Keep how far a run of a server was looked through."""
        async with plain_commands(self._settings.timeout_ms / 1000):
            await self._client.hset(progress, mapping={"run": run, "cursor": cursor})

    async def _matching(self, person: Person, names: Sequence[bytes]) -> list[bytes]:
        """Return the outcomes whose fingerprint is the person's, and those that can't be read."""
        if not names:
            return []
        pipeline = self._client.pipeline(transaction=False)
        for name in names:
            pipeline.getrange(name, 0, _HEADER_BYTES - 1)
        async with plain_commands(self._settings.timeout_ms / 1000):
            heads = await pipeline.execute(raise_on_error=False)
        found = []
        for name, head in zip(names, heads, strict=True):
            if isinstance(head, ResponseError) and "WRONGTYPE" in str(head):
                _tell_unreadable(name)
                continue
            if isinstance(head, Exception):
                raise ledger_error(RedisUnavailable(described(head))) from head
            header = _HEADER.match(head)
            if head and (header is None or header[1][12:16] == person.part.encode()):
                found.append(name)
        return found

    async def _erase(self, person: Person, progress: str, names: Sequence[bytes]) -> None:
        answer = await self._run(
            person.account_id, (progress, *names), ("erase", person.key, person.part)
        )
        if answer[0] == b"newer":
            raise LedgerError(f"{_text(answer[1])} was written by a newer release: run that one")
        for name in answer[2]:
            _tell_unreadable(name)

    async def _run(
        self, account_id: str, keys: Sequence[str | bytes], args: Sequence[str | int]
    ) -> list[Any]:
        request = Request(
            script=self._script,
            keys=len(keys),
            values=len(args),
            packed=bulk(*keys, *args),
            slot=slot_of_bucket(bucket_of(account_id)),
        )
        try:
            return list(await self._transport.run(request, lambda reply: None))
        except RedisUnavailable as error:
            raise ledger_error(error) from error

    async def _known(self, person: Person, reference: str) -> Forgetting:
        async with plain_commands(self._settings.timeout_ms / 1000):
            found = await self._client.hgetall(self._progress(person, reference))
        fields = {_text(name): _text(value) for name, value in found.items()}
        at_ms, done = int(fields.pop("at", "0")), "done" in fields
        other = ("person", "run", "cursor", "done")
        removed = {name: int(value) for name, value in fields.items() if name not in other}
        return Forgetting(person, reference, at_ms, {OUTCOMES: 0} | removed, done)

    async def _fields(self, name: str, *fields: str) -> list[str]:
        async with plain_commands(self._settings.timeout_ms / 1000):
            found = await self._client.hmget(name, fields)
        return ["" if value is None else _text(value) for value in found]

    async def _server(self, account_id: str) -> tuple[Primary, str]:
        """Return the server that holds the account, and what changes when it starts again."""
        async with plain_commands(self._settings.timeout_ms / 1000):
            [(node, _)] = await shares(self._client, [bucket_of(account_id)])
            return node, await node.run_id()

    async def _bounded(self, command: Any) -> Any:
        async with plain_commands(self._settings.timeout_ms / 1000):
            return await command

    def _progress(self, person: Person, reference: str) -> str:
        return self._keys.forgetting(person.account_id, reference)


def person_part(attempt: ExecutionAttempt) -> str:
    """Return the person's part of an attempt's fingerprint."""
    return attempt.fingerprint[12:16]


def _began_ms(ending: Ending) -> int:
    """Return when an ending's execution began, by the server's clock; 0 where it does not say."""
    if isinstance(ending, Release):
        return 0
    found = _PERSON_IN_VALUES.match(ending.outcome)
    waited_ms = int(found[2]) if found and found[2] else 0
    return ending.reserved_at_ms - waited_ms


def _tell_unreadable(name: bytes) -> None:
    _log.warning("%s can't be read, and is left until its TTL ends", _text(name))


def _journaled(reference: str) -> str:
    return f"forget:{reference}"


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
