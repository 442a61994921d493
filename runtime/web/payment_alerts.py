"""Hands the events of payments to alerts."""

from __future__ import annotations

from collections.abc import Mapping

from runtime.alerts.alerts import Alerts
from runtime.alerts.events import Event
from runtime.payments.events import OnEvent
from runtime.wording.payments import payment_text

_EVENTS = {
    "top_up_stopped": Event.TOP_UP_STOPPED,
    "top_up_limit_reached": Event.TOP_UP_STOPPED,
    "payment_reversed": Event.PAYMENT_REVERSED,
    "payment_not_credited": Event.PAYMENT_WAITS,
    "payment_mismatch": Event.PAYMENT_WAITS,
    "payment_unknown": Event.PAYMENT_WAITS,
}
_TELLING_APART = ("payment_id", "month", "how", "settings")
_OF_THE_OPERATOR = frozenset(("payment_mismatch", "payment_unknown"))


def telling(alerts: Alerts) -> OnEvent:
    """Return what tells accounts, or the operator, of a payment's event; each once."""

    async def tell(account_id: str, kind: str, details: Mapping[str, object]) -> None:
        subject, message = payment_text(kind, account_id, details)
        occurrence = ":".join(str(details.get(name, "")) for name in _TELLING_APART)
        await alerts.tell(
            None if kind in _OF_THE_OPERATOR else account_id,
            _EVENTS[kind],
            {**details, "subject": subject, "message": message},
            f"{kind}:{account_id}:{occurrence}",
        )

    return tell
