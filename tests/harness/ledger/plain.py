"""The ledger's answers and errors in the model's words."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import singledispatch

from runtime.credits.caps import Cap, CapStatus, CapWindow
from runtime.credits.results import (
    AccountConflict,
    CapUnknown,
    ExecutionConflict,
    Existing,
    Granted,
    GrantRefused,
    GrantUnknown,
    InProgress,
    LedgerError,
    LedgerUnavailable,
    ReferenceConflict,
    Refused,
    Released,
    Reserved,
    Settled,
    Voided,
)
from tests.harness.model import CapName
from tests.harness.model.references import Answer


async def answer_of(asked: Awaitable[object]) -> Answer:
    """What the ledger answers or raises, as a tuple."""
    try:
        return plain(await asked)
    except LedgerUnavailable:
        raise
    except LedgerError as error:
        return plain_error(error)


@singledispatch
def plain(answer: object) -> Answer:
    raise AssertionError(answer)


@plain.register
def _(answer: tuple) -> Answer:  # type: ignore[type-arg]  # registered by class
    return answer


@plain.register
def _(answer: bool) -> Answer:
    return ("done", answer)


@plain.register
def _(answer: Reserved) -> Answer:
    return (
        "reserved",
        answer.amount_mc,
        answer.available_mc,
        answer.reserved_at_ms,
        answer.expires_in_ms,
    )


@plain.register
def _(answer: Refused) -> Answer:
    figures = (answer.available_mc, answer.returning_mc)
    cap = None if answer.cap is None else plain_cap(answer.cap)
    return ("refused", answer.reason, *figures, cap, answer.may_clear)


@plain.register
def _(answer: InProgress) -> Answer:
    return ("in_progress", answer.remaining_ms)


@plain.register
def _(answer: Existing) -> Answer:
    charged = (answer.charged_mc, answer.overage_mc)
    return ("existing", answer.state, *charged, answer.reason, answer.outcome)


@plain.register
def _(answer: Settled) -> Answer:
    charged = (answer.charged_mc, answer.overage_mc)
    return ("settled", *charged, answer.available_mc, set(answer.flags))


@plain.register
def _(answer: Released) -> Answer:
    return ("released", answer.available_mc, answer.found)


@plain.register
def _(answer: Granted) -> Answer:
    return ("granted", answer.grant_id, answer.available_mc, answer.new)


@plain.register
def _(answer: Voided) -> Answer:
    return ("voided", answer.grant_id, answer.amount_mc, answer.available_mc, answer.new)


def plain_cap(status: CapStatus) -> tuple[CapName, int, int, int, int | None]:
    """A cap's status as the model has it."""
    cap = status.cap
    name = CapName(cap.window, cap.workspace_id, cap.campaign_id, cap.action, cap.source)
    return (name, status.limit_mc, status.charged_mc, status.reserved_mc, status.resets_in_ms)


def cap_of(name: CapName) -> Cap:
    """The ledger's cap of this name."""
    window, *dimensions = name
    return Cap(CapWindow(window), *dimensions)


def stored_as_text(answer: Answer) -> Answer:
    """A conflict tells what is stored in words; here the model's become the ledger's."""
    match answer:
        case ("reference_conflict", str(field), CapName() as cap):
            return ("reference_conflict", field, str(cap_of(cap)))
        case ("reference_conflict", str(field), bool(on)):
            return ("reference_conflict", field, str(int(on)))
        case ("reference_conflict", str(field), stored):
            return ("reference_conflict", field, str(stored))
    return answer


@singledispatch
def plain_error(error: LedgerError) -> Answer:
    """An error that only says no, in words of its own."""
    assert type(error) is LedgerError, error
    return ("refused_outright",)


@plain_error.register
def _(error: ExecutionConflict) -> Answer:
    return ("execution_conflict", error.field)


@plain_error.register
def _(error: AccountConflict) -> Answer:
    return ("account_conflict", error.field)


@plain_error.register
def _(error: ReferenceConflict) -> Answer:
    _, _, stored = str(error).partition(f", with {error.field} ")
    return ("reference_conflict", error.field, stored)


@plain_error.register
def _(error: GrantRefused) -> Answer:
    return ("grant_refused", error.reason)


@plain_error.register
def _(error: GrantUnknown) -> Answer:
    return ("grant_unknown",)


@plain_error.register
def _(error: CapUnknown) -> Answer:
    return ("cap_unknown",)
