"""Sentences about an account: its balance, its alerts, changes made to it."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from runtime.wording.amounts import credits_text

BALANCE_PARTS: Mapping[str, str] = MappingProxyType(
    {
        "granted": "",
        "available": "ready to use",
        "reserved": "set aside for running executions",
        "charged": "used",
        "expired": "expired before they were used",
        "voided": "taken back",
        "overage": "used beyond what was left; not charged to anybody",
        "exposure": "may be owed to providers for calls without an answer; not charged to anybody",
    }
)
"""The meaning of each part of a balance."""


def conserved_text(conserved: bool) -> str:
    """Return whether the parts of a balance add up."""
    if conserved:
        return "The books balance: the parts add up to the credits granted, in total and per grant."
    return "THE BOOKS DO NOT BALANCE. Please report this and keep the data."


def clock_ahead_text(account_id: str, ahead_ms: int) -> str:
    """Return what is wrong with an account that was written by a wrong clock."""
    return (
        f"STOPPED: its clock is {ahead_ms / 1000:,.0f} s ahead of the server's, which was wrong "
        f"once. See creditgate repair clock --account {account_id}"
    )


def repeated_text(reference: str) -> str:
    """Return the sentence for a change whose reference was used before."""
    return f"Reference {reference} was used for this before; nothing was changed."


def conflict_text(reference: str, field: str, stored: str) -> str:
    """Return what a reference was used for before.

    Args:
        field: the field of the change that differs, as ``ReferenceConflict`` names it.
        stored: its value at the first use.

    >>> conflict_text("invoice-7", "amount_mc", "300000000")
    "reference 'invoice-7' was used before, for 300,000 credits; choose another one"
    """
    if field == "amount_mc":
        use = f"for {credits_text(int(stored))} credits"
    elif field == "limit_mc":
        is_set = stored != "none"
        use = f"with a limit of {credits_text(int(stored))}" if is_set else "to remove this cap"
    elif field == "on":
        use = f"to switch it {'on' if stored == '1' else 'off'}"
    elif field == "person":
        use = "for another person, or too long ago to say for whom"
    else:
        use = f"with {field} {stored}"
    return f"reference {reference!r} was used before, {use}; choose another one"


def alert_text(
    account_id: str, mark: str, left_mc: int, threshold_mc: int, lag_entries: int = 0
) -> str:
    """Return what an alert of the ledger means for the account."""
    if mark == "archive_lag":
        return (
            f"The archive is {lag_entries:,} entries behind account {account_id}, at least half of "
            "archive.max_lag. Above all of it, actions use their fallback values: check that "
            "creditgate archive runs."
        )
    left = credits_text(left_mc)
    if mark != "exhausted":
        return (
            f"Credits of account {account_id} are running low: {left} left, at or below the "
            f"threshold of {credits_text(threshold_mc)}. Buy more now to avoid fallback values."
        )
    rest = "" if left_mc == 0 else f" (the last {left} do not cover another answer)"
    return (
        f"Credits of account {account_id} are used up{rest}. "
        "Campaigns continue with fallback values."
    )
