"""Turns the script's answers into the ledger's values, and its refusals into errors."""

from __future__ import annotations

from fallback.reasons import FallbackReason
from pricing.offers import MAX_MC, GrantKind
from runtime.credits.alert_marks import AlertMarks
from runtime.credits.batch import Answer
from runtime.credits.caps import Cap, CapStatus, cap_of
from runtime.credits.identity import FINGERPRINT_FIELDS, ExecutionAttempt
from runtime.credits.results import (
    AccountConflict,
    AccountUnknown,
    Balance,
    CapUnknown,
    ExecutionConflict,
    Existing,
    GrantBalance,
    Granted,
    GrantRefused,
    GrantUnknown,
    InProgress,
    LedgerError,
    NotBooked,
    ReferenceConflict,
    Refused,
    Released,
    Reserved,
    Settled,
    Switch,
    Switched,
    TooManyGrants,
    Voided,
)


def opened(account_id: str, answer: Answer) -> bool:
    """Return whether ``open_account`` made a new account."""
    if answer[0] == b"conflict":
        raise AccountConflict(account_id, answer[1].decode(), answer[2].decode())
    return bool(answer[1])


def granted(account_id: str, reference: str, answer: Answer) -> Granted:
    """Return the grant that ``grant`` answered."""
    _check_reference(reference, answer)
    kind = answer[0]
    if kind == b"refused":
        raise GrantRefused(account_id, FallbackReason(answer[1].decode()))
    if kind == b"too_much":
        raise LedgerError(
            f"account {account_id!r} was granted {answer[1].decode()} mc so far; "
            f"all grants together may not exceed {MAX_MC} mc"
        )
    if kind == b"too_many":
        raise TooManyGrants(account_id, answer[1])
    return Granted(answer[1].decode(), answer[3], new=bool(answer[2]))


def voided(account_id: str, grant_id: str, reference: str, answer: Answer) -> Voided:
    """Return what ``void`` took back."""
    if answer[0] == b"unknown":
        raise GrantUnknown(account_id, grant_id)
    _check_reference(reference, answer)
    return Voided(grant_id, answer[1], answer[2], new=bool(answer[3]))


def profile_changed(account_id: str, reference: str, answer: Answer) -> bool:
    """Return whether the plan or the time zone of an account was changed now."""
    if answer[0] == b"conflict" and answer[1] == b"state":
        raise AccountConflict(account_id, "state", answer[2].decode())
    return changed(reference, answer)


def capped(account_id: str, cap: Cap, reference: str, answer: Answer) -> bool:
    """Return whether a cap was changed now."""
    if answer[0] == b"unknown":
        raise CapUnknown(account_id, cap)
    if answer[0] == b"too_many":
        raise LedgerError(
            f"account {account_id!r} has caps of {answer[1]} sorts (window and dimensions), the "
            "most that are allowed: remove one first"
        )
    return changed(reference, answer)


def changed(reference: str, answer: Answer) -> bool:
    """Return whether something was changed now, not by an earlier use of the reference."""
    _check_reference(reference, answer)
    return bool(answer[1])


def switched(reference: str, answer: Answer) -> Switched:
    """Return what ``switch`` did."""
    new = changed(reference, answer)
    return Switched(new, answer[2], answer[3], exact=bool(answer[4]))


def switches(answer: Answer) -> tuple[Switch, ...]:
    """Return what is off."""
    return tuple(
        Switch(
            _shown(target),
            since_ms or None,
            actor.decode(errors="replace") or None,
            reference.decode(errors="replace") or None,
        )
        for target, since_ms, actor, reference in answer[1]
    )


def _shown(target: bytes) -> str:
    return target.decode().replace("\t", " ")


def _check_reference(reference: str, answer: Answer) -> None:
    if answer[0] == b"conflict":
        raise ReferenceConflict(reference, answer[1].decode(), answer[2].decode())


def caps(answer: Answer) -> tuple[CapStatus, ...]:
    """Return the caps and their current windows."""
    return tuple(map(_cap_status, answer[1:]))


def _cap_status(fields: Answer) -> CapStatus:
    field, limit_mc, charged_mc, reserved_mc, resets_in_ms = fields[:5]
    return CapStatus(
        cap=cap_of(field.decode()),
        limit_mc=limit_mc,
        charged_mc=charged_mc,
        reserved_mc=reserved_mc,
        resets_in_ms=None if resets_in_ms < 0 else resets_in_ms,
    )


def own_marks(marks: AlertMarks | None) -> str:
    """Return an account's own marks as scripts are told them; "" for none of its own."""
    return "" if marks is None else f"own {marks.text}"


def alert_marks(answer: Answer) -> AlertMarks | None:
    """Return the account's own marks, if it has any."""
    text: str = answer[1].decode()
    return AlertMarks.of(text.removeprefix("own ")) if text else None


def reservation(
    attempt: ExecutionAttempt, answer: Answer
) -> Reserved | Refused | InProgress | Existing:
    """Return what ``reserve`` answered."""
    kind = answer[0]
    if kind == b"reserved":
        return Reserved(answer[1], answer[2], answer[3], answer[4])
    if kind == b"refused":
        return _refused(answer)
    if kind == b"account_unknown":
        return Refused(FallbackReason.ACCOUNT_UNKNOWN)
    if kind == b"in_progress":
        return InProgress(answer[1])
    return _existing(attempt, answer)


def _refused(answer: Answer) -> Refused:
    reason = FallbackReason(answer[1].decode())
    if reason is FallbackReason.CAP_REACHED:
        cap = answer[4]
        return Refused(reason, answer[2], cap=_cap_status(cap), may_clear=bool(cap[5]))
    may_clear = reason is FallbackReason.CREDITS_RESERVED_ELSEWHERE
    return Refused(reason, answer[2], answer[3], may_clear=may_clear)


def settlement(attempt: ExecutionAttempt, answer: Answer) -> Settled | Existing | NotBooked:
    """Return what ``settle`` answered."""
    kind = answer[0]
    if kind == b"settled":
        flags = tuple(answer[4].decode().split(",")) if answer[4] else ()
        return Settled(answer[1], answer[2], answer[3], flags)
    if kind == b"dead":
        return NotBooked()
    if kind == b"account_unknown":
        raise AccountUnknown(attempt.account_id)
    return _existing(attempt, answer)


def knowledge(attempt: ExecutionAttempt, answer: Answer) -> Existing | InProgress | None:
    """Return what ``look_up`` answered, or ``None`` if the id is unknown."""
    kind = answer[0]
    if kind in (b"unknown", b"account_unknown"):
        return None
    if kind == b"in_progress":
        return InProgress(answer[1])
    return _existing(attempt, answer)


def release(attempt: ExecutionAttempt, answer: Answer) -> Released | Existing:
    """Return what ``release`` answered."""
    kind = answer[0]
    if kind in (b"released", b"nothing"):
        return Released(answer[1], found=kind == b"released")
    if kind == b"account_unknown":
        raise AccountUnknown(attempt.account_id)
    return _existing(attempt, answer)


def conclusion(attempt: ExecutionAttempt, answer: Answer) -> Refused | Existing | InProgress | None:
    """Return what ``conclude`` answered, or ``None`` if the refusal is now the outcome."""
    kind = answer[0]
    if kind == b"concluded":
        return None
    if kind == b"account_unknown":
        return Refused(FallbackReason.ACCOUNT_UNKNOWN)
    if kind == b"in_progress":
        return InProgress(answer[1])
    return _existing(attempt, answer)


def balance(account_id: str, answer: Answer, earlier_grants: Answer) -> Balance:
    """Return the balance, its grants in burn order.

    Args:
        earlier_grants: ids and records, like those of ``answer``, of pages before it.
    """
    flat, grant_texts, at_ms, off = answer[1:5]
    grant_texts = earlier_grants + grant_texts
    fields = dict(zip(map(bytes.decode, flat[::2]), flat[1::2], strict=True))
    grants = [
        grant(grant_texts[i].decode(), grant_texts[i + 1].decode())
        for i in range(0, len(grant_texts), 2)
    ]
    grants.sort(
        key=lambda g: (
            g.priority,
            g.expires_at_ms is None,
            g.expires_at_ms or 0,
            g.created_at_ms,
            int(g.grant_id[1:]),
        )
    )
    return Balance(
        account_id=account_id,
        state=fields["state"].decode(),
        plan=fields["plan"].decode(),
        timezone=fields["timezone"].decode(),
        ai_credits=fields["eligible"] == b"1",
        at_ms=at_ms,
        granted_mc=fields["granted"],
        available_mc=fields["available"],
        reserved_mc=fields["reserved"],
        charged_mc=fields["charged"],
        expired_mc=fields["expired"],
        voided_mc=fields["voided"],
        overage_mc=fields["overage"],
        exposure_mc=fields["exposure"],
        open_reservations=fields["open_n"],
        journal_seq=fields["seq"],
        switched_off=tuple(map(_shown, off)),
        grants=tuple(grants),
        clock_ahead_ms=max(0, fields["last_ms"] - at_ms),
    )


def _existing(attempt: ExecutionAttempt, answer: Answer) -> Existing:
    if answer[0] == b"conflict":
        raise ExecutionConflict(attempt.execution_id, FINGERPRINT_FIELDS[answer[1] - 1])
    reason = _reason(answer[4].decode(errors="replace")) if answer[4] else None
    return Existing(answer[1].decode(), answer[2], answer[3], reason, answer[5])


def _reason(word: str) -> FallbackReason:
    """Return a stored reason; one that only a newer release knows counts as lost."""
    try:
        return FallbackReason(word)
    except ValueError:
        return FallbackReason.OUTCOME_LOST


def grant(grant_id: str, record: str) -> GrantBalance:
    """Return a grant by its stored record."""
    _, kind, priority, expires, created, *amounts, reference = record.split("\t")
    amount, available, reserved, charged, expired, voided, voided_at = map(int, amounts)
    return GrantBalance(
        grant_id=grant_id,
        kind=GrantKind(kind),
        priority=int(priority),
        expires_at_ms=int(expires) or None,
        created_at_ms=int(created),
        voided_at_ms=voided_at or None,
        amount_mc=amount,
        available_mc=available,
        reserved_mc=reserved,
        charged_mc=charged,
        expired_mc=expired,
        voided_mc=voided,
        reference=reference,
    )
