"""Law 15 for alerts: no receiver, and nobody who does not listen, stops the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from typing import Any

import pytest

from runtime.alerts import email, webhooks
from runtime.alerts.addresses import AllowedAddresses
from runtime.alerts.destinations import MOST_DESTINATIONS, DestinationRefused
from runtime.alerts.email import EmailSender
from runtime.alerts.webhooks import SendingFailed, WebhookSender
from runtime.config.alerts import EmailSection
from runtime.redis.keys import Keys, bucket_of
from tests.harness.alerts import AlertBench

pytestmark = pytest.mark.asyncio(loop_scope="module")


@asynccontextmanager
async def answering(beginning: bytes, then: bytes) -> AsyncIterator[str]:
    """A receiver whose answers begin so, and never end."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(beginning)
        try:
            while then:
                writer.write(then)
                await writer.drain()
            await asyncio.sleep(60)
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()


@asynccontextmanager
async def sending() -> AsyncIterator[WebhookSender]:
    sender = WebhookSender(AllowedAddresses(["127.0.0.0/8"]))
    yield sender
    await sender.aclose()


SECRETS = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]


@pytest.mark.parametrize(
    "beginning, then",
    [
        (b"", b""),
        (b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 10_000),
        (b"HTTP/1.1 200 OK\r\nX: ", b"y" * 65_536),
    ],
)
async def test_law_15_a_receiver_that_never_ends_takes_ten_seconds_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, beginning: bytes, then: bytes
) -> None:
    assert webhooks.LONGEST_ATTEMPT_S == 10
    monkeypatch.setattr(webhooks, "LONGEST_ATTEMPT_S", 0.5)
    async with answering(beginning, then) as url, sending() as sender, asyncio.timeout(5):
        with pytest.raises(SendingFailed):
            await sender.send(url, "msg_1", "{}", SECRETS)


async def test_law_15_the_body_of_an_answer_is_not_read() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n"
    async with answering(head, b"x" * 65_536) as url, sending() as sender, asyncio.timeout(5):
        await sender.send(url, "msg_1", "{}", SECRETS)


async def test_law_15_a_mail_server_that_never_answers_takes_thirty_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert email.LONGEST_ATTEMPT_S == 30
    monkeypatch.setattr(email, "LONGEST_ATTEMPT_S", 0.5)

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            await asyncio.sleep(2)

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    async with server, asyncio.timeout(5):
        port = server.sockets[0].getsockname()[1]
        settings = EmailSection(host="127.0.0.1", port=port, tls="none", sender="a@example.com")
        with pytest.raises(SendingFailed, match="took more than"):
            await EmailSender(settings).send("b@example.com", "msg_1", "Subject", ["Text."])


async def test_law_15_an_account_has_a_bounded_number_of_destinations(told: AlertBench) -> None:
    add = told.alerts.destinations.add
    for _ in range(MOST_DESTINATIONS):
        await add(told.account, "email", "ops@example.com", [])
    with pytest.raises(DestinationRefused, match="50 destinations"):
        await add(told.account, "email", "ops@example.com", [])
    assert (await add(None, "email", "ops@example.com", [])).account_id is None


async def test_law_15_alerts_that_nobody_takes_are_bounded(told: AlertBench) -> None:
    client: Any = told.client
    key = Keys(told.config.redis.key_prefix).bucket(bucket_of(told.account), "alerts")
    pipeline = client.pipeline(transaction=False)
    for _ in range(10_500):
        pipeline.xadd(key, {"account": "another", "mark": "p20"})
    await pipeline.execute()
    await told.open_account(1_000_000)
    await told.void()

    assert await client.xlen(key) <= 10_200
    last = await client.xrevrange(key, count=2)
    assert {fields[b"account"].decode() for _, fields in last} == {told.account}
    await client.delete(key)


async def test_alerts_that_were_committed_and_not_removed_are_not_told_twice(
    told: AlertBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    await told.open_account(1_000_000)
    await told.contacts("ana@example.com")
    await told.void()

    async def killed(self: object, entries: object) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patch:
        patch.setattr("runtime.alerts.stream.AlertStreams.remove", killed)
        with pytest.raises(asyncio.CancelledError):
            await told.alerts.reader.run_once()
    await told.send()

    assert await told.deliver() == 2
    assert len(told.mailbox.mails) == 2
