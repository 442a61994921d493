"""What callers ask for, and what they get: execution requests and execution results."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from fallback.policy import Origin, Status
from pricing.errors import CreditgateError
from pricing.usage import TokenUsage
from runtime.actions.prompts import SCOPES
from runtime.actions.spec import ActionSpec
from runtime.ids import ID_PATTERN


class Source(StrEnum):
    """What an execution is for."""

    LIVE = "live"
    PREVIEW = "preview"
    TEST = "test"


class InvalidRequest(CreditgateError, ValueError):
    """A request that no execution can be made of. The message names the field."""


# Lone surrogates have no UTF-8 form, so neither Redis nor HTTP could carry them.
_ID_TEXT = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{1,200}").fullmatch
_STRICT_ID = re.compile(ID_PATTERN.strip("^$")).fullmatch


@dataclass(frozen=True, slots=True)
class ExecutionRequest:
    """One run of one action for one person.

    ``execution_id`` names one visit of one person to one step and is the idempotency key.
    ``action`` is an id or the action itself. ``data`` holds the scopes that templates read:
    ``customer``, ``event``, ``journey``, ``campaign``, ``workspace``.

    Raises:
        InvalidRequest: a field is not what it must be.
    """

    execution_id: str
    account_id: str
    workspace_id: str
    campaign_id: str
    person_id: str
    action: str | ActionSpec
    data: Mapping[str, Mapping[str, Any]] = field(repr=False)
    source: Source = Source.LIVE

    def __post_init__(self) -> None:
        ids: tuple[tuple[str, object], ...] = (
            ("execution_id", self.execution_id),
            ("workspace_id", self.workspace_id),
            ("campaign_id", self.campaign_id),
            ("person_id", self.person_id),
        )
        for name, value in ids:
            if not isinstance(value, str) or _ID_TEXT(value) is None:
                raise InvalidRequest(
                    f"{name} must be text of 1 to 200 characters without control characters, "
                    f"found {_shape(value)}"
                )
        self._check_strict_id("account_id", self.account_id)
        if not isinstance(self.action, ActionSpec):
            self._check_strict_id("action", self.action)
        if type(self.source) is not Source:
            raise InvalidRequest(
                f"source must be one of Source.LIVE, Source.PREVIEW, Source.TEST, "
                f"found {_shape(self.source)}"
            )
        self._check_data()

    def _check_strict_id(self, name: str, value: object) -> None:
        if not isinstance(value, str) or _STRICT_ID(value) is None:
            raise InvalidRequest(
                f"{name} must be 1 to 64 of the characters A-Z a-z 0-9 _ . -, found {_shape(value)}"
            )

    def _check_data(self) -> None:
        data = self.data
        if type(data) is not dict and not isinstance(data, Mapping):
            raise InvalidRequest(f"data must be a mapping of scopes, found {_shape(data)}")
        if not data.keys() <= SCOPES:
            found = ", ".join(sorted(repr(key) for key in data.keys() - SCOPES))
            raise InvalidRequest(
                f"data may hold the scopes {', '.join(sorted(SCOPES))}; found {found}"
            )
        for scope, attributes in data.items():
            if type(attributes) is not dict and not isinstance(attributes, Mapping):
                raise InvalidRequest(
                    f"data.{scope} must be a mapping of attributes, found {_shape(attributes)}"
                )


def _shape(value: object) -> str:
    """Describe a value without showing it: ids can be personal data."""
    if isinstance(value, str):
        return f"text of {len(value)} characters"
    return type(value).__name__


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call of the provider. ``outcome`` is ``answered`` or what went wrong, in a few words."""

    number: int
    outcome: str
    latency_ms: int
    status: int | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class ExecutionResult:
    """What an execution ended with.

    ``values`` has every output by name; ``attributes`` has them by the store (``journey``,
    ``customer``) and attribute that they are written to. ``final`` is false while the same
    execution runs elsewhere: write nothing, ask again after ``retry_after_ms``.
    Amounts are millicredits. ``usage`` is ``None`` where no model answered. ``replayed`` marks
    the first outcome of an id that was asked before: ``charged_mc`` was charged then. ``detail``
    says in one line, without personal data, why values fell back.
    """

    execution_id: str
    final: bool
    status: Status
    values: dict[str, Any]
    attributes: dict[str, dict[str, Any]]
    origins: dict[str, Origin]
    charged_mc: int
    reserved_mc: int
    available_after_mc: int | None
    usage: TokenUsage | None
    attempts: tuple[Attempt, ...]
    timings_ms: dict[str, int]
    action_version: str
    rate_card_version: str | None
    replayed: bool = False
    retry_after_ms: int | None = None
    detail: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the result in plain JSON types, every field under its own name."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        plain["origins"] = {
            name: {"mark": origin.mark, "reason": origin.reason and origin.reason.value}
            for name, origin in self.origins.items()
        }
        plain["usage"] = None if self.usage is None else asdict(self.usage)
        plain["attempts"] = [asdict(attempt) for attempt in self.attempts]
        return plain
