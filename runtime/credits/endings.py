"""The two endings of a reservation, in a form that survives on disk while Redis is away."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from dataclasses import asdict, dataclass
from typing import Any

from fallback.reasons import FallbackReason
from runtime.credits.checks import check_column, check_is, check_whole, choice
from runtime.credits.identity import Dimensions, ExecutionAttempt
from runtime.credits.journal import choices_column

_TOKENS = re.compile(r"[\d,]*")


@dataclass(frozen=True, slots=True)
class Settlement:
    """An answer to charge for.

    Args:
        cost_mc: the real cost, in millicredits.
        reserved_mc: what was set aside, and ``reserved_at_ms`` when, by the server's clock.
        tokens: the journal's column, as ``journal.tokens_column`` writes it.
        exposure_mc: what earlier calls of the same execution, which gave no answer, may have cost
            the operator.
        outcome: stored as the execution's outcome.
        free_mc: what a free answer would have cost; it counts under caps, and is not charged.
        reason: why the first output that has its fallback value has it; ``None`` if all values are
            the model's.
        choices: the options that the model chose, each as the numbers of its output and of the
            option, both from 0 in the order in which the action declares them.
    """

    attempt: ExecutionAttempt
    cost_mc: int
    reserved_mc: int
    reserved_at_ms: int
    tokens: str
    rate_card_version: str
    flags: tuple[str, ...] = ()
    exposure_mc: int = 0
    outcome: bytes = b""
    free_mc: int = 0
    reason: FallbackReason | None = None
    choices: tuple[tuple[int, int], ...] = ()

    def arguments(self) -> tuple[bytes | str | int, ...]:
        """Return the arguments of ``settle.lua`` that no other verb has.

        Raises:
            ValueError: a field is not allowed; the message names it.
        """
        check_is(self.attempt, ExecutionAttempt, "attempt")
        check_whole(self.cost_mc, "cost_mc")
        check_whole(self.reserved_mc, "reserved_mc")
        check_whole(self.reserved_at_ms, "reserved_at_ms")
        check_whole(self.exposure_mc, "exposure_mc")
        check_whole(self.free_mc, "free_mc")
        check_column(self.tokens, "tokens")
        if not _TOKENS.fullmatch(self.tokens):
            raise ValueError(f"tokens: found {self.tokens!r}, allowed are numbers and commas")
        check_column(self.rate_card_version, "rate_card_version")
        check_is(self.flags, tuple, "flags")
        for flag in self.flags:
            check_column(flag, "flags")
        check_is(self.outcome, bytes, "outcome")
        if self.reason is not None:
            choice(self.reason, FallbackReason, "reason")
        check_is(self.choices, tuple, "choices")
        flags = ",".join(self.flags)
        return (
            self.cost_mc,
            self.reserved_mc,
            self.reserved_at_ms,
            self.tokens,
            self.rate_card_version,
            flags,
            self.exposure_mc,
            self.free_mc,
            self.reason or b"",
            choices_column(self.choices),
            self.outcome,
        )


@dataclass(frozen=True, slots=True)
class Release:
    """No answer to charge for: the attempt's whole reservation goes back.

    Args:
        exposure_mc: what the operator may owe the provider, in millicredits.
        outcome: stored as the execution's outcome; with ``None`` the id can be asked again.
    """

    attempt: ExecutionAttempt
    reason: FallbackReason | None = None
    exposure_mc: int = 0
    outcome: bytes | None = None

    def arguments(self) -> tuple[bytes | str | int, ...]:
        """Return the arguments of ``release.lua`` that no other verb has.

        Raises:
            ValueError: a field is not allowed; the message names it.
        """
        check_is(self.attempt, ExecutionAttempt, "attempt")
        check_whole(self.exposure_mc, "exposure_mc")
        if self.reason is not None:
            choice(self.reason, FallbackReason, "reason")
        if self.outcome is not None:
            check_is(self.outcome, bytes, "outcome")
        is_kept = b"0" if self.outcome is None else b"1"
        return self.exposure_mc, self.reason or b"", is_kept, self.outcome or b""


Ending = Settlement | Release


def owes_something(ending: Ending) -> bool:
    """Return whether it matters that the ending is booked where its account is missing.

    The deadline of a reservation gives back what a plain release would.
    """
    return isinstance(ending, Settlement) or ending.outcome is not None or ending.exposure_mc > 0


_FORMAT = 1


class NewerFormat(Exception):
    """The ending was written by a newer release, which can read it."""


def to_json(ending: Ending) -> dict[str, Any]:
    """Return the ending in JSON types."""
    plain = asdict(ending)
    plain["format"] = _FORMAT
    plain["kind"] = type(ending).__name__
    plain["outcome"] = None if ending.outcome is None else b64encode(ending.outcome).decode()
    return plain


def from_json(plain: dict[str, Any]) -> Ending:
    """Return the ending that ``to_json`` wrote.

    Raises:
        NewerFormat: see there.
        KeyError, TypeError, ValueError: it is not an ending.
    """
    if plain["format"] > _FORMAT:
        raise NewerFormat(
            f"format {plain['format']} was written by a newer release, this one reads up to "
            f"{_FORMAT}: run the newer release"
        )
    attempt = _attempt(plain["attempt"])
    outcome = None if plain["outcome"] is None else b64decode(plain["outcome"], validate=True)
    if plain["kind"] == Release.__name__:
        return Release(attempt, _reason(plain["reason"]), plain["exposure_mc"], outcome)
    if plain["kind"] == Settlement.__name__ and outcome is not None:
        return Settlement(
            attempt=attempt,
            cost_mc=plain["cost_mc"],
            reserved_mc=plain["reserved_mc"],
            reserved_at_ms=plain["reserved_at_ms"],
            tokens=_text(plain["tokens"]),
            rate_card_version=_text(plain["rate_card_version"]),
            flags=tuple(map(_text, plain["flags"])),
            exposure_mc=plain["exposure_mc"],
            outcome=outcome,
            # Release 0.1 wrote none of these.
            free_mc=plain.get("free_mc", 0),
            reason=_reason(plain.get("reason")),
            choices=tuple(map(_choice, plain.get("choices", ()))),
        )
    raise ValueError(f"unknown kind of ending {plain['kind']!r}")


def _attempt(plain: dict[str, Any]) -> ExecutionAttempt:
    person_key = plain.get("person_key")  # release 0.1 wrote none
    return ExecutionAttempt(
        account_id=_text(plain["account_id"]),
        execution_id=_text(plain["execution_id"]),
        execution_key=_text(plain["execution_key"]),
        attempt_id=_text(plain["attempt_id"]),
        fingerprint=_text(plain["fingerprint"]),
        dimensions=Dimensions(*map(_text, plain["dimensions"])),
        person_key=None if person_key is None else _text(person_key),
    )


def _reason(word: str | None) -> FallbackReason | None:
    return None if word is None else FallbackReason(word)


def _choice(plain: list[int]) -> tuple[int, int]:
    output, option = plain
    return output, option


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, found {type(value).__name__}")
    return value
