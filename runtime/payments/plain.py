"""Payments and top-ups in plain JSON types, for the API and the command line."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from runtime.payments.payment import Payment
from runtime.payments.top_up import TopUpSettings


def payment_json(payment: Payment) -> dict[str, Any]:
    """Return a payment."""
    return {
        "payment_id": payment.payment_id,
        "account_id": payment.account_id,
        "kind": payment.kind.value,
        "reference": payment.reference,
        "packs": payment.packs,
        "amount_mc": payment.amount_mc,
        "price_cents": payment.price_cents,
        "currency": payment.currency,
        "state": payment.state.value,
        "checkout_url": payment.session_url if payment.state == "open" else None,
        "keep_method": payment.keeps_method,
        "grant_id": payment.grant_id,
        "refunded_cents": payment.refunded_cents,
        "disputed_cents": payment.disputed_cents,
        "dispute": payment.dispute.value or None,
        "owed_mc": payment.owed_mc,
        "owed_cents": payment.owed_cents,
        "fault": payment.fault or None,
        "created_at": instant_text(payment.created_ms),
        "updated_at": instant_text(payment.updated_ms),
    }


def top_up_json(account_id: str, settings: TopUpSettings, has_payer: bool) -> dict[str, Any]:
    """Return an account's settings of top-ups."""
    stopped = settings.stopped
    return {
        "account_id": account_id,
        "enabled": settings.enabled,
        "below_mc": settings.below_mc,
        "target_mc": settings.target_mc,
        "monthly_limit_cents": settings.monthly_limit_cents,
        "has_payer": has_payer,
        "stopped": None
        if stopped is None
        else {
            "reason": stopped.reason,
            "at": instant_text(stopped.at_ms),
            "payment_id": stopped.payment_id,
        },
    }


def instant_text(at_ms: int) -> str:
    """Return an instant as answers show it, such as ``2026-07-08T00:00:00.000Z``."""
    at = datetime.fromtimestamp(at_ms / 1_000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
