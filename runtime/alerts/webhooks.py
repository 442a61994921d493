"""Sends messages by webhook, as the Standard Webhooks convention says."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime

import aiohttp
from standardwebhooks import Webhook

from runtime.alerts.addresses import AddressRefused, AllowedAddresses

LONGEST_ATTEMPT_S = 10.0
"""From looking up the host's name to the end of the answer's headers."""

CONNECTIONS = 64
_MOST_HEADER_BYTES = 8_190
_GONE = 410


class SendingFailed(Exception):
    """One attempt failed; ``for_good`` if no later one can succeed."""

    def __init__(self, fault: str, *, for_good: bool = False, gone: bool = False) -> None:
        super().__init__(fault)
        self.for_good, self.gone = for_good, gone


class WebhookSender:
    """Posts messages. Redirects are not followed, and the bodies of answers are not read.

    Args:
        addresses: those that may be connected to.
    """

    def __init__(self, addresses: AllowedAddresses) -> None:
        self._addresses = addresses
        self._session: aiohttp.ClientSession | None = None

    async def send(self, url: str, delivery_id: str, body: str, secrets: Sequence[str]) -> None:
        """Post one message, signed by each of the secrets.

        Raises:
            SendingFailed: the answer was not 2xx, or there was none.
        """
        headers = signed(delivery_id, body, secrets)
        try:
            async with self._opened().post(
                url, data=body.encode(), headers=headers, allow_redirects=False
            ) as answer:
                status = answer.status
                answer.close()  # not read: whatever it holds, and however long it is
        except TimeoutError:
            raise SendingFailed(f"no answer within {LONGEST_ATTEMPT_S:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as exc:
            raise SendingFailed(_reason(exc)) from exc
        if 300 <= status < 400:
            raise SendingFailed(f"status {status}: redirects are not followed")
        if status == _GONE:
            raise SendingFailed("status 410: the receiver wants no more", for_good=True, gone=True)
        if not 200 <= status < 300:
            raise SendingFailed(f"status {status}")

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    socket_factory=self._addresses.socket,
                    limit=CONNECTIONS,
                    force_close=True,
                    use_dns_cache=False,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=LONGEST_ATTEMPT_S),
                trust_env=False,
                auto_decompress=False,
                max_line_size=_MOST_HEADER_BYTES,
                max_field_size=_MOST_HEADER_BYTES,
            )
        return self._session


def signed(delivery_id: str, body: str, secrets: Sequence[str]) -> dict[str, str]:
    """Return the headers of a message: its id, when it is sent, and a signature for each secret."""
    now = datetime.fromtimestamp(int(time.time()), UTC)
    signatures = [Webhook(secret).sign(delivery_id, now, body) for secret in secrets]
    return {
        "Content-Type": "application/json",
        "User-Agent": "creditgate",
        "webhook-id": delivery_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


def _reason(exc: BaseException) -> str:
    """Return why there was no answer, without what the other side wrote."""
    cause: BaseException | None = exc
    while cause is not None:
        if isinstance(cause, AddressRefused):
            return str(cause)
        cause = getattr(cause, "os_error", None) or cause.__cause__ or cause.__context__
    return f"could not be reached: {type(exc).__name__}"
