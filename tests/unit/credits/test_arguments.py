"""Every argument of every verb is checked before Redis sees it, and the error names it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields, replace
from datetime import UTC, date, datetime
from functools import cached_property
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from redis.asyncio import Redis

from fallback.reasons import FallbackReason
from pricing.offers import GrantKind
from runtime.campaigns.estimate import Estimator, Sample
from runtime.credits.accounts import Accounts
from runtime.credits.alert_marks import AlertMarks
from runtime.credits.caps import Cap
from runtime.credits.endings import Release, Settlement
from runtime.credits.erasure import Erasure, Forgetting, Person
from runtime.credits.identity import Identity
from runtime.credits.inspection import Inspection
from runtime.credits.ledger import Commerce, CreditLedger
from runtime.credits.outcomes import Outcomes
from runtime.credits.repairs import Repairs
from tests.harness.workbench import action


class Asked(Exception):
    """Redis was asked."""


class NobodyThere:
    """A way to Redis on which nothing may go out."""

    async def run(self, request: Any, on_abandoned: Any) -> Any:
        raise Asked

    async def drain(self) -> None:
        """Nothing is under way."""


@pytest.fixture
def ledger() -> CreditLedger:
    return CreditLedger(
        Redis(),
        Identity(b"an installation key of a test"),
        commerce=Commerce({"growth": True, "trial": False}),
        transport=NobodyThere(),
    )


ATTEMPT: dict[str, Any] = {
    "account_id": "acme",
    "execution_id": "j:s:1",
    "workspace_id": "retail",
    "campaign_id": "welcome",
    "person_id": "p",
    "action": "route",
    "source": "live",
}
MADE = Identity(b"an installation key of a test").attempt(**ATTEMPT)
SETTLEMENT = Settlement(MADE, 1, 2, 3, "1,,,2", "2026-01", ("late",), 0, b"{}", 0)
FORGETTING = Forgetting(Person("acme", "k" * 22, "abcd"), "r-1", 1, {}, False)
RELEASE = Release(MADE, FallbackReason.PROVIDER_ERROR, 0, b"{}")

_ID: dict[str, Any] = {"account_id": "acme"}
_REF: dict[str, Any] = _ID | {"reference": "r-1", "actor": "me"}
_SWITCH: dict[str, Any] = _REF | {"workspace_id": None, "campaign_id": None, "action": None}
VALID: dict[type, dict[str, dict[str, Any]]] = {
    Accounts: {
        "open_account": _ID
        | {"plan": "growth", "timezone": "UTC", "paying_since": date(2026, 6, 1), "actor": "me"},
        "change_plan": _REF | {"plan": "growth", "paying_since": date(2026, 6, 1)},
        "change_timezone": _REF | {"timezone": "Europe/Berlin"},
        "close_account": _REF | {"reason": "they left"},
        "grant": _REF
        | {
            "amount_mc": 1,
            "kind": GrantKind.ADJUSTMENT,
            "priority": 10,
            "expires_at": datetime(2030, 1, 1, tzinfo=UTC),
            "execution_id": "j:s:1",
        },
        "purchase": _ID | {"credits": 100_000, "payment_reference": "p-1", "actor": "me"},
        "void": _REF | {"grant_id": "g1", "reason": "a mistake"},
        "set_cap": _REF | {"cap": Cap("day"), "limit_mc": 1, "used_mc": 0},
        "remove_cap": _REF | {"cap": Cap("day")},
        "switch_off": _SWITCH,
        "switch_on": _SWITCH,
        "switch": _SWITCH | {"off": True, "reason": "it broke"},
        "switches": _ID,
        "balance": _ID,
        "caps": _ID,
        "alert_marks": _ID,
        "set_alert_marks": _ID | {"marks": AlertMarks(("p20",)), "before": None},
    },
    CreditLedger: {
        "reserve": {"attempt": MADE, "amount_mc": 1, "ttl_ms": 1, "final": True, "outcome": b""},
        "look_up": {"attempt": MADE},
        "settle": {"settlement": SETTLEMENT},
        "release": {"release": RELEASE},
        "end": {"ending": RELEASE},
        "conclude": {
            "attempt": MADE,
            "reason": FallbackReason.INSUFFICIENT_CREDITS,
            "outcome": b"",
        },
    },
    Outcomes: {"known": _ID | {"execution_ids": ["j:s:1"]}},
    Inspection: {"stored": _ID, "journal": _ID | {"after_seq": 1, "most": 1}},
    Repairs: {
        "accept_loss": _ID | {"reason": "a failover", "actor": "me"},
        "repair_clock": _ID | {"reason": "a wrong clock", "actor": "me"},
        "stop": _ID | {"why": "a fork"},
        "resume": _ID | {"reason": "a fork", "actor": "me"},
    },
    Erasure: {
        "begin": _ID | {"person_id": "p", "reference": "r-1"},
        "finish": {"forgetting": FORGETTING, "reason": "they asked", "actor": "me"},
    },
    Estimator: {
        "estimate": {"spec": action(), "sample": Sample.of([{}]), "account_id": "acme"},
    },
}
NOT_OF_ONE_ACCOUNT = {"check_installation", "store_installation", "sweep", "drain", "learned"}
NOT_OF_ONE_ACCOUNT |= {"accounts", "look", "erase_outcomes", "note", "forgotten"}
"""Verbs without arguments of a caller's; ``learned`` reads what was learned of models, and those of
the erasure take what it made itself."""

WRONG: tuple[Any, ...] = (
    None,
    "",
    "no such",
    "a\nb",
    "x" * 201,
    "\ud800",
    1.5,
    100_000.0,
    float("nan"),
    True,
    -1,
    2**53,
    b"bytes",
    [],
    {},
    object(),
    datetime(2026, 6, 1),  # noqa: DTZ001 - naive on purpose
)
NAMES = {"execution_id", "workspace_id", "campaign_id", "action"}
FREE_TEXT = {"reference", "actor", "reason", "why", "payment_reference", "grant_id", "person_id"}
FREE_TEXT |= NAMES
FREE_TEXT |= {"rate_card_version"}


def verbs(owner: type) -> dict[str, Callable[..., Any]]:
    """The public verbs of a class."""
    return {
        name: verb
        for name, verb in inspect.getmembers(owner, inspect.iscoroutinefunction)
        if not name.startswith("_") and name not in NOT_OF_ONE_ACCOUNT
    }


def takes_arguments(verb: Callable[..., Any]) -> bool:
    return len(inspect.signature(verb).parameters) > 1


def kinds(hint: Any) -> set[Any]:
    """The types that a hint allows."""
    return set(get_args(hint)) if get_origin(hint) in (Union, UnionType) else {hint}


def is_allowed(value: Any, name: str, hint: Any) -> bool:
    """Return whether a value of the list is a right one for this argument after all."""
    if value is None:
        return NoneType in kinds(hint)
    if type(value) in (bool, bytes):
        return type(value) in kinds(hint)
    if name in ("tokens", "rate_card_version") and value == "":
        return True
    if value == "x" * 201:
        return name in NAMES or name == "rate_card_version"
    return value == "no such" and name in FREE_TEXT and str in kinds(hint)


def arguments() -> list[Any]:
    return [
        pytest.param(owner, name, argument, id=f"{owner.__name__}.{name}-{argument}")
        for owner in VALID
        for name, verb in verbs(owner).items()
        for argument in inspect.signature(verb).parameters
        if argument != "self"
    ]


@pytest.mark.parametrize("owner", VALID, ids=lambda owner: owner.__name__)
def test_every_verb_and_argument_is_in_the_table(owner: type) -> None:
    assert set(VALID[owner]) == set(verbs(owner))
    for name, verb in verbs(owner).items():
        assert {"self", *VALID[owner][name]} == set(inspect.signature(verb).parameters)


def test_no_part_of_the_ledger_is_left_out(ledger: CreditLedger) -> None:
    lazy = {
        name
        for name, part in vars(CreditLedger).items()
        if isinstance(part, cached_property) and not name.startswith("_")
    }
    assert lazy == {"erasure", "inspection", "migration", "outcomes"}
    names = lazy | {name for name in vars(ledger) if not name.startswith("_")}
    public = {type(getattr(ledger, name)) for name in names}
    taking = {part for part in public for verb in verbs(part).values() if takes_arguments(verb)}

    assert taking == set(VALID) - {CreditLedger, Estimator}


@pytest.mark.parametrize("owner, name, argument", arguments())
async def test_a_wrong_argument_is_named_before_redis_is_asked(
    ledger: CreditLedger, owner: type, name: str, argument: str
) -> None:
    estimator = Estimator(ledger, None, None)  # type: ignore[arg-type]  # none is reached
    owners = {
        Accounts: ledger.accounts,
        CreditLedger: ledger,
        Erasure: ledger.erasure,
        Inspection: ledger.inspection,
        Outcomes: ledger.outcomes,
        Repairs: ledger.repairs,
        Estimator: estimator,
    }
    verb = getattr(owners[owner], name)
    hint = get_type_hints(verbs(owner)[name])[argument]
    tried = 0
    for value in WRONG:
        if is_allowed(value, argument, hint):
            continue
        tried += 1
        with pytest.raises(ValueError, match=f"(^|, ){argument}\\b"):
            await verb(**VALID[owner][name] | {argument: value})
    assert tried >= len(WRONG) - 3


@pytest.mark.parametrize(
    "owner, name", [(owner, name) for owner in (Accounts, Repairs) for name in VALID[owner]]
)
async def test_right_arguments_reach_redis(ledger: CreditLedger, owner: type, name: str) -> None:
    """Else the test above could not fail."""
    verbs_of = {Accounts: ledger.accounts, Repairs: ledger.repairs}
    with pytest.raises(Asked):
        await getattr(verbs_of[owner], name)(**VALID[owner][name])


ENDINGS = [(ending, found.name) for ending in (SETTLEMENT, RELEASE) for found in fields(ending)]


@pytest.mark.parametrize(
    "ending, name",
    [pytest.param(*found, id=f"{type(found[0]).__name__}.{found[1]}") for found in ENDINGS],
)
async def test_a_wrong_field_of_an_ending_is_named_before_redis_is_asked(
    ledger: CreditLedger, ending: Settlement | Release, name: str
) -> None:
    hint = get_type_hints(type(ending))[name]
    for value in WRONG:
        if is_allowed(value, name, hint) and not (name == "reason" and value == "no such"):
            continue
        with pytest.raises(ValueError, match=f"^{name}: "):
            await ledger.end(replace(ending, **{name: value}))


@pytest.mark.parametrize("name", ATTEMPT)
def test_a_wrong_part_of_an_attempt_is_named(ledger: CreditLedger, name: str) -> None:
    for value in WRONG:
        if isinstance(value, str) and value in ("", "no such", "x" * 201) and name != "account_id":
            continue  # executions check their ids by themselves
        with pytest.raises(ValueError, match=f"^{name}: "):
            ledger.attempt(**ATTEMPT | {name: value})


@pytest.mark.parametrize("name", ["workspace_id", "campaign_id", "action", "source", "window"])
def test_a_wrong_part_of_a_cap_is_named(name: str) -> None:
    for value in WRONG:
        if value in (None, "no such", "x" * 201) and name != "window":
            continue
        with pytest.raises(ValueError, match=f"^{name}: "):
            Cap(**{"window": "day", name: value})


async def test_a_float_of_credits_is_not_a_matter_of_packs(ledger: CreditLedger) -> None:
    with pytest.raises(ValueError, match=r"^credits: found 100000\.0, expected a whole number"):
        await ledger.accounts.purchase("acme", credits=100_000.0, payment_reference="p")  # type: ignore[arg-type]  # the mistake
