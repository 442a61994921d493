"""Which of the sentinels' answers counts, and for how long."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from runtime.redis.sentinel import Following, PrimaryDown, PrimaryUnknown, Sentinels

OLD, NEW = ("10.0.0.1", 6379), ("10.0.0.2", 6379)
TIMEOUT_S = 0.2


class FakeSentinel:
    """A sentinel that says what it is told to say, or nothing at all."""

    def __init__(self, at: tuple[str, int] = OLD, epoch: int = 1, **flags: bool) -> None:
        self.connection_pool = SimpleNamespace(connection_kwargs={"host": "s", "port": 26379})
        self.told: Any = {
            "ip": at[0],
            "port": at[1],
            "config-epoch": epoch,
            "is_sdown": False,
            "is_odown": False,
            **flags,
        }

    async def sentinel_master(self, name: str) -> Any:
        if self.told is None:
            await asyncio.Event().wait()
        if isinstance(self.told, Exception):
            raise self.told
        return self.told


def of(*sentinels: FakeSentinel) -> Sentinels:
    clients: Any = sentinels
    return Sentinels(clients, "mymaster", TIMEOUT_S)


def silent() -> FakeSentinel:
    sentinel = FakeSentinel()
    sentinel.told = None
    return sentinel


def refusing(error: str = "refused") -> FakeSentinel:
    sentinel = FakeSentinel()
    sentinel.told = RedisConnectionError(error)
    return sentinel


async def test_law_15_a_sentinel_that_hangs_or_is_gone_delays_nobody() -> None:
    for one in (silent(), refusing()):
        async with asyncio.timeout(TIMEOUT_S / 2):
            assert await of(one, FakeSentinel(), FakeSentinel()).find() == OLD


async def test_the_newest_answer_counts_whoever_is_first() -> None:
    assert await of(FakeSentinel(OLD, 1), FakeSentinel(NEW, 2), silent()).find() == NEW


async def test_a_single_sentinel_that_is_left_is_believed() -> None:
    assert await of(silent(), FakeSentinel(NEW), refusing()).find() == NEW


@pytest.mark.parametrize(
    "flags",
    [({"is_odown": True}, {}, {}), ({"is_sdown": True}, {"is_sdown": True}, {"is_sdown": True})],
)
async def test_a_primary_that_they_call_down_is_none(flags: tuple[dict[str, Any], ...]) -> None:
    with pytest.raises(PrimaryDown, match="say that mymaster is down"):
        await of(*(FakeSentinel(**each) for each in flags)).find()


async def test_one_sentinel_that_calls_it_down_is_not_enough() -> None:
    sentinels = of(FakeSentinel(is_sdown=True), FakeSentinel(), FakeSentinel())
    assert await sentinels.find() == OLD


async def test_who_cannot_be_asked_is_told_with_the_reason() -> None:
    with pytest.raises(PrimaryUnknown, match=r"s:26379: ConnectionError: refused; no answer of 1"):
        await of(refusing(), silent()).find()


class Answers:
    """Finds what it is told to find, and counts how often it is asked."""

    def __init__(self) -> None:
        self.found: tuple[str, int] | Exception = OLD
        self.asked = 0

    async def find(self) -> tuple[str, int]:
        self.asked += 1
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


async def test_an_answer_holds_for_a_moment_and_is_asked_for_again_behind_the_caller() -> None:
    answers = Answers()
    following = Following(answers.find)
    assert await following.current() == await following.current() == OLD
    assert answers.asked == 1
    answers.found = NEW
    await asyncio.sleep(1.1)
    assert await following.current() == OLD, "nobody waits for it"
    await following.drain()
    assert await following.current() == NEW
    assert not following.is_current(SimpleNamespace(host=OLD[0], port=OLD[1]))
    assert following.is_current(SimpleNamespace(host=NEW[0], port=NEW[1]))


async def test_an_older_answer_is_confirmed_before_it_is_used() -> None:
    answers = Answers()
    following = Following(answers.find)
    await following.current()
    answers.found = NEW
    await asyncio.sleep(2.1)
    assert await following.current() == NEW


async def test_after_a_doubt_the_sentinels_are_asked_and_nothing_is_used_while_it_is_down() -> None:
    answers = Answers()
    following = Following(answers.find)
    await following.current()
    answers.found = PrimaryDown("down")
    following.doubt()
    for _ in range(20):
        with pytest.raises(PrimaryUnknown, match="down"):
            await following.current()
    assert answers.asked == 2, "callers share an answer"
    answers.found = NEW
    await asyncio.sleep(0.06)
    assert await following.current() == NEW


async def test_a_known_primary_is_used_on_while_no_sentinel_answers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answers = Answers()
    following = Following(answers.find)
    await following.current()
    answers.found = PrimaryUnknown("none answers")
    for _ in range(3):
        following.doubt()
        assert await following.current() == OLD
    assert caplog.text.count("none answers") == 1


async def test_without_an_answer_ever_there_is_no_primary() -> None:
    answers = Answers()
    answers.found = PrimaryUnknown("none answers")
    with pytest.raises(PrimaryUnknown, match="none answers"):
        await Following(answers.find).current()
