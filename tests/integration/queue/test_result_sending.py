"""Results by webhook: signed, in order, tried again, given up, and never in the queue's way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from standardwebhooks import Webhook

from runtime.alerts.addresses import AllowedAddresses
from runtime.alerts.webhooks import WebhookSender
from runtime.worker.result_sending import ResultSending
from tests.harness.alerts import Receiver, open_receiver
from tests.harness.queues import ACCOUNT, Bench, request_of, result_of

SECRET = "whsec_" + "c2VjcmV0" * 5 + "czMy"


@pytest_asyncio.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver on loopback."""
    async with open_receiver() as opened:
        yield opened


def sending(
    bench: Bench, receiver: Receiver, pauses_s: tuple[float, ...] = (0.01, 0.01), **how: Any
) -> ResultSending:
    """A sender that may call loopback; rounds are the test's."""
    addresses = AllowedAddresses(how.get("networks", ["127.0.0.0/8"]))
    return ResultSending(bench.queue, WebhookSender(addresses), receiver.url, SECRET, pauses_s)


async def rounds(sender: ResultSending, number: int = 1) -> None:
    """Let a sender make so many rounds."""
    for _ in range(number):
        sender.note(ACCOUNT)
        await sender.run_once()
        await sender.drain()
        await asyncio.sleep(0.02)


async def end_people(bench: Bench, *numbers: int) -> None:
    await bench.add(*numbers)
    await bench.finish(await bench.take(count=len(numbers)))


def people_in(receiver: Receiver) -> list[list[str]]:
    """The people of each message, each verified as a receiver would."""
    found = []
    for _, headers, body in receiver.posts:
        message = Webhook(SECRET).verify(body, headers)
        assert message["type"] == "execution.results"
        assert message["data"]["account_id"] == ACCOUNT
        found.append([each["person_id"] for each in message["data"]["results"]])
    return found


async def test_every_result_is_sent_once_and_signed(one_bench: Bench, receiver: Receiver) -> None:
    sender = sending(one_bench, receiver)
    await end_people(one_bench, 1, 2)
    await rounds(sender)
    await end_people(one_bench, 3)
    await rounds(sender, 2)
    assert people_in(receiver) == [["p1", "p2"], ["p3"]]
    result = json.loads(receiver.posts[0][2])["data"]["results"][0]["result"]
    assert result == result_of(request_of(1)).to_json()
    await sender.aclose()


async def test_what_fails_is_sent_again_under_the_same_id_with_the_same_results(
    one_bench: Bench, receiver: Receiver
) -> None:
    sender = sending(one_bench, receiver)
    receiver.answers = [500, 302]
    await end_people(one_bench, 1)
    await rounds(sender)
    await end_people(one_bench, 2)
    await rounds(sender, 3)
    assert people_in(receiver) == [["p1"], ["p1"], ["p1"], ["p2"]]
    ids = [headers["webhook-id"] for _, headers, _ in receiver.posts]
    assert len(set(ids[:3])) == 1
    assert ids[3] not in ids[:3]
    await sender.aclose()


async def test_law_15_what_fails_for_ever_is_given_up_and_the_next_results_are_sent(
    one_bench: Bench, receiver: Receiver
) -> None:
    sender = sending(one_bench, receiver)
    receiver.answers = [500] * 3
    await end_people(one_bench, 1)
    await rounds(sender, 3)
    await end_people(one_bench, 2)
    await rounds(sender)
    assert people_in(receiver) == [["p1"], ["p1"], ["p1"], ["p2"]]
    assert len(await one_bench.queue.results(ACCOUNT)) == 2
    await sender.aclose()


async def test_a_private_address_is_not_called(
    one_bench: Bench, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    sender = sending(one_bench, receiver, networks=[])
    await end_people(one_bench, 1)
    await rounds(sender)
    assert receiver.posts == []
    assert "private address" in caplog.text
    await sender.aclose()


async def test_two_senders_send_each_batch_once(one_bench: Bench, receiver: Receiver) -> None:
    both = [sending(one_bench, receiver), sending(one_bench, receiver)]
    await end_people(one_bench, *range(1, 251))
    for _ in range(3):
        await asyncio.gather(*(rounds(each) for each in both))
    people = [name for names in people_in(receiver) for name in names]
    assert people == [f"p{number}" for number in range(1, 251)]
    for each in both:
        await each.aclose()


async def test_a_receiver_that_hangs_holds_up_neither_the_queue_nor_other_accounts(
    one_bench: Bench, receiver: Receiver
) -> None:
    receiver.hangs = asyncio.Event()
    sender = ResultSending(
        one_bench.queue,
        WebhookSender(AllowedAddresses(["127.0.0.0/8"])),
        receiver.url.replace("/hook", "/slow"),
        SECRET,
    )
    await end_people(one_bench, 1)
    sender.note(ACCOUNT)
    await sender.run_once()
    await end_people(one_bench, 2, 3)
    other = request_of(4, account_id="other")
    await one_bench.queue.add("other", "retail", "welcome", [other])
    taken = await one_bench.queue.take("other", "worker")
    assert taken is not None
    await one_bench.finish(taken)
    sender.note("other")
    await sender.run_once()
    async with asyncio.timeout(5):
        while len(receiver.posts) < 2:  # noqa: ASYNC110 - the receiver tells nobody
            await asyncio.sleep(0.01)
    receiver.hangs.set()
    await sender.aclose()


async def test_a_forgotten_person_is_not_sent(one_bench: Bench, receiver: Receiver) -> None:
    sender = sending(one_bench, receiver)
    receiver.answers = [500]
    await end_people(one_bench, 1, 2)
    await rounds(sender)
    await one_bench.queue.forget(ACCOUNT, "p1")
    await rounds(sender)
    assert people_in(receiver) == [["p1", "p2"], ["p2"]]
    await one_bench.queue.forget(ACCOUNT, "p2")
    await end_people(one_bench, 3)
    await rounds(sender, 2)
    assert people_in(receiver)[2:] == [["p3"]]
    await sender.aclose()
