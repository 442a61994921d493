"""Execution requests, and what ``execute()`` returns for them: a result, or pending."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Literal

from fallback.policy import Origin, Status
from pricing.errors import CreditgateError
from pricing.usage import TokenUsage
from runtime.actions.prompts import SCOPES
from runtime.actions.spec import ActionSpec
from runtime.ids import ID_RULE, ID_TEXT_RULE, is_id_text, is_strict_id


class Source(StrEnum):
    """The purpose of an execution; a dimension of every charge."""

    LIVE = "live"
    PREVIEW = "preview"
    TEST = "test"


_SOURCES = {source.value: source for source in Source}


class InvalidRequest(CreditgateError, ValueError):
    """A request that can't become an execution. The message names the field, not its value."""


@dataclass(frozen=True, slots=True)
class ExecutionRequest:
    """A request to run one action for one person.

    Example::

        ExecutionRequest(
            execution_id="journey-17:route:1",
            account_id="acme",
            workspace_id="retail",
            campaign_id="welcome",
            person_id="p00001",
            action="route_message",
            data={"customer": {"message": "Where is my card?"}},
        )

    Args:
        execution_id: the idempotency key. It names one visit of one person to one step, as
            ``{journey_id}:{step_id}:{visit}``; use the same one when the request is delivered
            again, and for nothing else. 1 to 200 characters without control characters.
        account_id: the account that pays. 1 to 64 of ``A-Z a-z 0-9 _ . -``.
        workspace_id: where the action runs. 1 to 200 characters without control characters.
        campaign_id: the campaign that it runs in; the same rule.
        person_id: the person that it runs for; the same rule.
        action: the id of an action (1 to 64 of ``A-Z a-z 0-9 _ . -``), or an ``ActionSpec``.
        data: what templates read, as ``{scope: {attribute: value}}``. The scopes are ``customer``,
            ``event``, ``journey``, ``campaign`` and ``workspace``; each may be left out.
            ``ActionSpec.required_attributes()`` lists what is needed. Not part of ``repr``.
        source: a ``Source``, or its text: ``live``, ``preview`` or ``test``. Becomes a ``Source``.

    Raises:
        InvalidRequest: a field breaks its rule.
    """

    execution_id: str
    account_id: str
    workspace_id: str
    campaign_id: str
    person_id: str
    action: str | ActionSpec
    data: Mapping[str, Mapping[str, Any]] = field(repr=False)
    source: Source | Literal["live", "preview", "test"] = Source.LIVE

    def __post_init__(self) -> None:
        ids: tuple[tuple[str, object], ...] = (
            ("execution_id", self.execution_id),
            ("workspace_id", self.workspace_id),
            ("campaign_id", self.campaign_id),
            ("person_id", self.person_id),
        )
        for name, value in ids:
            if not isinstance(value, str) or is_id_text(value) is None:
                raise InvalidRequest(f"{name} must be {ID_TEXT_RULE}, found {_shape(value)}")
        _check_strict_id("account_id", self.account_id)
        if not isinstance(self.action, ActionSpec):
            _check_strict_id("action", self.action)
        if type(self.source) is not Source:
            object.__setattr__(self, "source", _source(self.source))
        _check_data(self.data)


def _check_strict_id(name: str, value: object) -> None:
    if not isinstance(value, str) or is_strict_id(value) is None:
        raise InvalidRequest(f"{name} must be {ID_RULE}, found {_shape(value)}")


def _source(value: object) -> Source:
    source = _SOURCES.get(value) if isinstance(value, str) else None
    if source is None:
        raise InvalidRequest(f"source must be one of {', '.join(_SOURCES)}, found {_shape(value)}")
    return source


def _check_data(data: object) -> None:
    if type(data) is not dict and not isinstance(data, Mapping):
        raise InvalidRequest(f"data must be a mapping of scopes, found {_shape(data)}")
    if not data.keys() <= SCOPES:
        found = ", ".join(sorted(repr(key) for key in data.keys() - SCOPES))
        raise InvalidRequest(f"data may hold the scopes {', '.join(sorted(SCOPES))}; found {found}")
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
    """One call of the provider.

    Args:
        number: counts from 1.
        outcome: ``answered``, or the reason as in ``provider_timeout``.
        latency_ms: from the request to the answer or the error.
        status: the HTTP status of an error, if there was one.
        detail: the error in one line.
    """

    number: int
    outcome: str
    latency_ms: int
    status: int | None = None
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class EndpointRefusal:
    """A refusal of an endpoint's key, or of a model there: the configuration is to be mended.

    Args:
        endpoint: the endpoint's name in the config.
        status: the HTTP status: 401 or 403 for the key, 404 for the model.
    """

    endpoint: str
    status: int


@dataclass(frozen=True, slots=True)
class Pending:
    """The answer while the same ``execution_id`` runs elsewhere; it has no values.

    Write nothing and acknowledge nothing: ask again with the same request after
    ``retry_after_ms``. The other execution's reservation expires by then, if it has not ended.
    """

    execution_id: str
    retry_after_ms: int

    def to_json(self) -> dict[str, Any]:
        """Return both fields under their own names."""
        return {"execution_id": self.execution_id, "retry_after_ms": self.retry_after_ms}


@dataclass(frozen=True, slots=True)
class ExecutionResult:
    """The end of an execution: a value for every output, its origin, and what was charged.

    Example::

        result = await runtime.execute(request)
        if isinstance(result, Pending):
            return  # the same execution runs elsewhere: leave the message in the queue
        write_attributes(result.attributes["journey"], result.attributes["customer"])

    Amounts are integer millicredits (1 credit = 1,000 mc).

    Args:
        kept: true if the ledger keeps this outcome: asking again with the same ``execution_id``
            within the outcome TTL gives the same values, without a call or a charge. A settlement
            that waits in the spool counts as kept. False where the ledger keeps no outcome, and
            asking again may call the model and charge. ``docs/concepts.md`` has the table by
            reason. For ``outcome_lost``, which is not kept, no model is called again.
        status: ``model`` if the model gave every value, ``fallback`` if it gave none, or ``mixed``.
        values: every output by name.
        attributes: the same values by store (``journey``, ``customer``) and attribute name, ready
            to be written.
        origins: for each output its mark, ``model`` or ``fallback``, and the fallback's reason.
        charged_mc: the charge.
        reserved_mc: what was reserved before the call.
        available_after_mc: what is left; ``None`` where the ledger has not answered.
        usage: tokens by class; ``None`` where no model answered.
        attempts: the calls of the provider; empty for a replayed outcome.
        timings_ms: milliseconds by step, and ``total``.
        action_version: the version that ran.
        rate_card_version: the rate card that priced it; ``None`` if there was no price.
        replayed: true for the first outcome of an id that was asked before; ``charged_mc`` was
            charged then.
        detail: one line about why values fell back, without personal data.
        endpoint_refusal: set if values fell back because the endpoint refuses its key or the model,
            in this execution (``provider_rejected``) or in one before it (``model_unavailable``).
    """

    execution_id: str
    kept: bool
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
    detail: str | None = None
    endpoint_refusal: EndpointRefusal | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the result in plain JSON types, every field under its own name."""
        plain = {name: getattr(self, name) for name in self.__slots__}
        plain["origins"] = {
            name: {"mark": origin.mark, "reason": origin.reason and origin.reason.value}
            for name, origin in self.origins.items()
        }
        plain["usage"] = None if self.usage is None else asdict(self.usage)
        refusal = self.endpoint_refusal
        plain["endpoint_refusal"] = None if refusal is None else asdict(refusal)
        plain["attempts"] = [asdict(attempt) for attempt in self.attempts]
        return plain
