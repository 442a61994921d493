"""Events of payments, which somebody has to act on."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping

OnEvent = Callable[[str, str, Mapping[str, object]], Awaitable[None]]
"""Takes an account, the kind of event, and its details. It may be told the same twice."""

_log = logging.getLogger("creditgate.payments")


class Alarm:
    """Logs what a person has to look at, and hands it on."""

    def __init__(self, on_event: OnEvent | None = None) -> None:
        self._on_event = on_event

    def connect(self, on_event: OnEvent) -> None:
        """Hand events to this from now on."""
        self._on_event = on_event

    async def tell(self, account_id: str, kind: str, **details: object) -> None:
        """Log an error, and hand the event on."""
        told = " ".join(f"{name}={value}" for name, value in details.items())
        _log.error("%s account=%s %s", kind, account_id, told)
        if self._on_event is not None:
            await self._on_event(account_id, kind, details)
