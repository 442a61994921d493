"""The events that are told, and one message about one of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any


class Event(StrEnum):
    """An event that a destination may ask for."""

    LOW = "credits.low"
    EXHAUSTED = "credits.exhausted"
    EXPIRING = "credits.expiring"
    FORECAST = "credits.forecast"
    CAP = "cap.reached"
    RETIRING = "model.retiring"
    RATES = "rates.changing"
    ARCHIVE_LAG = "archive.lag"
    PAYMENT_REVERSED = "payment.reversed"
    TOP_UP_STOPPED = "top_up.stopped"
    PAYMENT_WAITS = "payment.not_credited"
    TEST = "test"


@dataclass(frozen=True, slots=True)
class Message:
    """One event, in words and as data.

    Args:
        account_id: ``None`` for the operator alone.
        once_key: names the occurrence: of two messages with the same one, one is sent.
        details: further members of the webhook's ``data``.
    """

    event: Event
    account_id: str | None
    once_key: str
    at_ms: int
    subject: str
    paragraphs: tuple[str, ...]
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def body(self) -> str:
        """The message as webhooks get it, and as it is stored."""
        return json.dumps(
            {
                "type": self.event,
                "timestamp": instant_text(self.at_ms),
                "data": {
                    "account_id": self.account_id,
                    "subject": self.subject,
                    "message": "\n\n".join(self.paragraphs),
                    **self.details,
                },
            },
            ensure_ascii=False,
        )

    def delivery_id(self, destination_id: str) -> str:
        """Return the id of its delivery to a destination, the same in every process."""
        text = f"{self.once_key}\0{destination_id}"
        return "msg_" + hashlib.sha256(text.encode()).hexdigest()[:32]


def instant_text(at_ms: int) -> str:
    """Return an instant as the API writes it."""
    at = datetime.fromtimestamp(at_ms / 1000, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
