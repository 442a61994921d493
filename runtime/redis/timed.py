"""A transport that tells how long each script call took."""

from __future__ import annotations

from time import perf_counter

from runtime.observing import Observer, ScriptEnded
from runtime.redis.transport import Abandoned, Reply, Request, Transport


class TimedTransport:
    """Runs scripts over another transport, and tells an observer."""

    def __init__(self, transport: Transport, observer: Observer) -> None:
        self._transport = transport
        self._observer = observer

    async def run(self, request: Request, on_abandoned: Abandoned) -> Reply:
        """Run the script and return its answers, as ``ScriptTransport.run`` does."""
        since_s, answered = perf_counter(), False
        try:
            reply = await self._transport.run(request, on_abandoned)
            answered = True
            return reply
        finally:
            self._observer(ScriptEnded(perf_counter() - since_s, answered))

    async def drain(self) -> None:
        """Wait until nothing is under way."""
        await self._transport.drain()
