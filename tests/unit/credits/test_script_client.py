"""What goes wrong with Redis, in the ledger's own errors."""

from __future__ import annotations

import pytest

from runtime.credits.results import AccountDamaged, BookingUnknown, LedgerUnavailable
from runtime.credits.script_client import ledger_error
from runtime.redis.errors import NotReached, RedisUnavailable, ScriptRefused, UnknownOutcome


@pytest.mark.parametrize(
    "error, kind, message",
    [
        (UnknownOutcome("no answer within 1 s"), BookingUnknown, "no answer within 1 s"),
        (NotReached("nobody is there"), LedgerUnavailable, "nobody is there"),
        (ScriptRefused("OOM used memory"), LedgerUnavailable, "OOM used memory"),
        (ScriptRefused("CREDITGATE_DAMAGED k: gone"), AccountDamaged, "damaged: k: gone"),
        (ScriptRefused("CREDITGATE_SCHEMA k: schema 2"), AccountDamaged, "k: schema 2"),
        (ScriptRefused("CREDITGATE_FAILED a fault"), LedgerUnavailable, "failed: a fault"),
    ],
)
def test_an_error_says_whether_the_call_may_be_booked_and_what_is_damaged(
    error: RedisUnavailable, kind: type[LedgerUnavailable], message: str
) -> None:
    found = ledger_error(error)

    assert type(found) is kind
    assert str(found) == message
