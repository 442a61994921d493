"""Sentences about payments that somebody has to look at."""

from __future__ import annotations

from collections.abc import Mapping

_RUN_OUT = "When credits run out, actions use their fallback values, and campaigns go on."
_SUBJECTS = {
    "top_up_stopped": "Automatic top-up has stopped",
    "top_up_limit_reached": "Automatic top-up has reached its monthly limit",
    "payment_reversed": "A payment was taken back",
    "payment_not_credited": "A payment waits for its credits",
    "payment_mismatch": "A payment does not match",
    "payment_unknown": "A payment is not known",
}
_MESSAGES = {
    "top_up_stopped": (
        "Automatic top-up has stopped: {reason}. No more credits are bought by themselves until "
        f"it is switched on again.\n\n{_RUN_OUT}"
    ),
    "top_up_limit_reached": (
        "Automatic top-up has reached its limit for {month}. It goes on next month, or once the "
        f"limit is raised.\n\n{_RUN_OUT}"
    ),
    "payment_reversed": (
        "The payment {payment_id} was taken back ({how}). What was left of its credits is void, "
        "and automatic top-up has stopped."
    ),
    "payment_not_credited": (
        "The payment {payment_id} was taken, and its credits are not booked yet: {fault}. It is "
        "tried again by itself."
    ),
    "payment_mismatch": (
        "The payment {payment_id} of account {account_id} is not the one that was asked for: "
        "{fault}. Nothing was credited."
    ),
    "payment_unknown": (
        "The payment provider told of the payment {payment_id} of account {account_id}, which "
        "was not made here. Nothing was credited."
    ),
}


def payment_text(kind: str, account_id: str, details: Mapping[str, object]) -> tuple[str, str]:
    """Return subject and message of a payment's event; paragraphs have an empty line between."""
    return _SUBJECTS[kind], _MESSAGES[kind].format(account_id=account_id, **details)
