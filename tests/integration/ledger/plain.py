"""The ledger's answers and errors in the model's words."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import singledispatch

from runtime.credits.answers import (
    AccountConflict,
    ExecutionConflict,
    Existing,
    Granted,
    GrantRefused,
    InProgress,
    LedgerError,
    LedgerUnavailable,
    ReferenceConflict,
    Refused,
    Released,
    Reserved,
    Settled,
)
from tests.integration.ledger.model.references import Answer


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
    figures = (answer.available_mc, answer.home_mc)
    return ("refused", answer.reason, *figures, None, answer.passing)


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
