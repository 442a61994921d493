"""Names of executions that reveal nothing about the person or the content."""

from __future__ import annotations

import hmac
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import NamedTuple

from pricing.errors import CreditgateError
from runtime.credits.checks import check_account_id, check_column, check_dimension

FINGERPRINT_FIELDS = ("workspace_id", "campaign_id", "action", "person_id", "source")
_DIMENSION_FIELDS = (
    "workspace_id",
    "campaign_id",
    "action",
    "action_version",
    "model",
    "source",
)
_KEY_BYTES = 16
_PART_BYTES = 3  # four characters; executions.lua compares them part by part
_ATTEMPT_BYTES = 6

ANY_PERSON = "****"
"""A part of a fingerprint that matches any other, as executions.lua has it."""

REBUILT_ATTEMPT = "*"
"""Stands for an attempt that nobody knows any more, as executions.lua has it."""


class Dimensions(NamedTuple):
    """The six columns that an execution's charge is reported by, in the order of the records."""

    workspace: str
    campaign: str
    action: str
    action_version: str
    model: str
    source: str


@dataclass(frozen=True, slots=True)
class ExecutionAttempt:
    """One attempt on one execution, as the ledger knows it.

    ``fingerprint`` distinguishes an id used again for the same thing from one used for something
    else. ``person_key`` tells apart people of the account, and is missing where release 0.1 wrote
    the attempt to disk.
    """

    account_id: str
    execution_id: str
    execution_key: str
    attempt_id: str
    fingerprint: str
    dimensions: Dimensions
    person_key: str | None = None


class InstallationKeyTooShort(CreditgateError, ValueError):
    """The installation key has fewer than 16 bytes, so it is too easy to guess."""

    def __init__(self, length: int) -> None:
        super().__init__(f"the installation key has {length} bytes and needs at least {_KEY_BYTES}")


class Identity:
    """Keyed hashes of one installation.

    Args:
        installation_key: at least 16 secret bytes, the same for every process that shares a Redis.
    """

    def __init__(self, installation_key: bytes) -> None:
        if len(installation_key) < _KEY_BYTES:
            raise InstallationKeyTooShort(len(installation_key))
        self._keyed = hmac.new(installation_key, digestmod="sha256")
        self._known_place = lru_cache(maxsize=4_096)(self._place)

    def check_value(self) -> str:
        """Return the value stored beside the data, by which a different key is detected."""
        return self._digest("creditgate installation check").hex()[:32]

    def execution_key(self, account_id: str, execution_id: str) -> str:
        """Return 16 bytes of HMAC-SHA-256 over account and id, as 22 URL-safe characters."""
        digest = self._digest(f"{account_id}\0{execution_id}")
        return urlsafe_b64encode(digest[:_KEY_BYTES])[:-2].decode()

    def person_key(self, account_id: str, person_id: str) -> str:
        """Return 16 bytes of a keyed hash of account and person, as 22 URL-safe characters.

        It names nobody to those who lack the installation key, and differs between accounts.
        """
        return _person_key(self._digest(person_id), account_id)

    def part(self, value: str) -> str:
        """Return a fingerprint's four characters for a value: a person's id, a workspace's ...

        About one in 16.8 million values has the same.
        """
        return _part(self._digest(value))

    def derived(self, purpose: str) -> bytes:
        """Return a key of 32 bytes for another purpose, from which nobody finds this one."""
        # No account's id has a space, so no execution's key is made of such a text.
        return self._digest(f"creditgate derived key\0{purpose}")

    def attempt(  # noqa: PLR0913 - what names an execution, each by keyword
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
        """Return a new attempt with a random id.

        Raises:
            ValueError: an id is not allowed, or a dimension holds a control character.
        """
        check_account_id(account_id)
        check_column(execution_id, "execution_id")
        check_column(person_id, "person_id")
        dimensions = Dimensions(workspace_id, campaign_id, action, action_version, model, source)
        try:
            before_person, after_person = self._known_place(dimensions)
        except TypeError:  # a dimension that can't be looked up is not text
            before_person, after_person = self._place(dimensions)
        person = self._digest(person_id)
        return ExecutionAttempt(
            account_id=account_id,
            execution_id=execution_id,
            execution_key=self.execution_key(account_id, execution_id),
            attempt_id=secrets.token_urlsafe(_ATTEMPT_BYTES),
            fingerprint=before_person + _part(person) + after_person,
            dimensions=dimensions,
            person_key=_person_key(person, account_id),
        )

    def unnamed(self, account_id: str, execution_id: str) -> ExecutionAttempt:
        """Return an attempt to look an id up with, which fits whatever it was used for.

        Raises:
            ValueError: one of them is not allowed.
        """
        check_account_id(account_id)
        check_column(execution_id, "execution_id")
        return ExecutionAttempt(
            account_id=account_id,
            execution_id=execution_id,
            execution_key=self.execution_key(account_id, execution_id),
            attempt_id=REBUILT_ATTEMPT,
            fingerprint=ANY_PERSON * len(FINGERPRINT_FIELDS),
            dimensions=Dimensions(*("",) * len(_DIMENSION_FIELDS)),
        )

    def fingerprint_of_anybody(self, dimensions: Dimensions) -> str:
        """Return a fingerprint with these dimensions that matches whichever person's."""
        before_person, after_person = self._place(dimensions)
        return before_person + ANY_PERSON + after_person

    def _place(self, dimensions: Dimensions) -> tuple[str, str]:
        """Return the parts of a fingerprint before and after the person's; check the dimensions."""
        for name, value in zip(_DIMENSION_FIELDS, dimensions, strict=True):
            check_dimension(value, name)
        workspace, campaign, action, _, _, source = (
            _part(self._digest(value)) for value in dimensions
        )
        return workspace + campaign + action, source

    def _digest(self, message: str) -> bytes:
        keyed = self._keyed.copy()
        keyed.update(message.encode())
        return keyed.digest()


def _part(digest: bytes) -> str:
    return urlsafe_b64encode(digest[:_PART_BYTES]).decode()


def _person_key(digest: bytes, account_id: str) -> str:
    # A plain hash of the whole digest, which is secret but for the part in fingerprints: a second
    # HMAC in each attempt takes five times as long.
    own = sha256(digest + account_id.encode()).digest()
    return urlsafe_b64encode(own[:_KEY_BYTES])[:-2].decode()
