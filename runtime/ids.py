"""The rules for ids and references, in one place.

A strict id (account, action, model, rate card) becomes part of keys, paths and metrics. An id text
(execution, workspace, campaign, person) is the caller's own, and so is a reference.
"""

from __future__ import annotations

import hashlib
import re

ID_PATTERN = r"^[A-Za-z0-9_.-]{1,64}$"
"""A strict id: 1 to 64 letters, digits, underscores, points and hyphens."""
ID_RULE = "1 to 64 of the characters A-Z a-z 0-9 _ . -"
"""``ID_PATTERN`` in words, for messages."""

ID_TEXT_RULE = "text of 1 to 200 characters without control characters"
"""The rule for an id text in words, for messages."""

is_strict_id = re.compile(ID_PATTERN.strip("^$")).fullmatch
"""Match a strict id as a whole; ``None`` for anything else."""

MAX_ID_TEXT_LENGTH = 200

# Lone surrogates have no UTF-8 form, so neither Redis nor HTTP could carry them.
is_id_text = re.compile(
    rf"[^\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]{{1,{MAX_ID_TEXT_LENGTH}}}"
).fullmatch
"""Match an id text as a whole; ``None`` for anything else."""

is_reference = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,200}").fullmatch
"""Match a reference, a reason or an actor as a whole; ``None`` for anything else."""

MOST_RETRIES = 1_000
"""The highest number of a retry."""

_PARTS = 3


def retry_id(execution_id: str, number: int) -> str:
    """Return the id of a further execution for who has a kept fallback: ``<id>:r<number>``.

    One that would be too long has a hash in place of what stands before the last two colons.

    Args:
        number: 1 to ``MOST_RETRIES``.
    """
    return shortened(f"{execution_id}:r{number}", _PARTS)


def shortened(execution_id: str, last_parts: int) -> str:
    """Return an id that is not too long: where it is, all but its last parts becomes a hash."""
    if len(execution_id) <= MAX_ID_TEXT_LENGTH:
        return execution_id
    before, *last = execution_id.rsplit(":", last_parts)
    digest = hashlib.sha256(before.encode("utf-8", "surrogatepass")).hexdigest()
    short = ":".join([f"sha256-{digest}", *last])
    return short if len(short) <= MAX_ID_TEXT_LENGTH else shortened(execution_id, last_parts - 1)


EMAIL_RULE = "an email address like ana@example.com, of at most 254 characters"
"""The rule for an email address in words, for messages."""

_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
is_email = re.compile(
    r"(?=.{3,254}\Z)[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,64}"
    r"(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,64}){0,20}"
    rf"@{_LABEL}(?:\.{_LABEL}){{1,20}}"
).fullmatch
"""Match an email address as a whole; ``None`` for anything else. None can hold another header."""
