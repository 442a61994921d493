"""What executions find: other processes' publications, damaged records, Redis away."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from sqlalchemy import URL

from runtime.actions.source import ActionSourceUnavailable, ConfigActions, UnknownAction
from runtime.actions.spec import ActionSpec
from runtime.library import source as source_module
from runtime.library.records import MOST_CONTENT_BYTES
from runtime.redis.keys import bucket_of
from tests.harness.library import ACTION, LibraryDesk, draft, open_desk
from tests.harness.private_redis import PrivateRedis
from tests.harness.workbench import ACCOUNT

pytestmark = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)


async def test_a_publication_reaches_another_process_within_a_second(desk: LibraryDesk) -> None:
    await desk.publish("One")
    other = desk.source()
    assert await desk.prompt_of(other) == "One"
    await desk.publish("Two")
    since_s = time.monotonic()
    while await desk.prompt_of(other) == "One":  # noqa: ASYNC110 - of other processes
        await asyncio.sleep(0.01)
    assert time.monotonic() - since_s < 1


async def test_a_new_action_of_the_account_reaches_another_process_within_a_second(
    desk: LibraryDesk,
) -> None:
    await desk.republishing.run_once()
    configured = ActionSpec.model_validate({"id": ACTION, **draft(user="Shared")})
    other = desk.source().above(ConfigActions({ACTION: configured}))
    assert (await other.get(ACCOUNT, ACTION)).user == "Shared"
    await desk.publish("Own")
    async with asyncio.timeout(1):
        while (await other.get(ACCOUNT, ACTION)).user != "Own":  # noqa: ASYNC110 - of other processes
            await asyncio.sleep(0.01)
    assert (await other.get("another", ACTION)).user == "Shared"


async def test_memory_answers_without_redis_most_of_the_time(
    desk: LibraryDesk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.publish("One")
    asked = 0
    ask = desk.records.pointer

    async def counted(account_id: str, action_id: str) -> object:
        nonlocal asked
        asked += 1
        return await ask(account_id, action_id)

    monkeypatch.setattr(desk.records, "pointer", counted)
    other = desk.source()
    await asyncio.gather(*(desk.prompt_of(other) for _ in range(500)))
    assert asked == 1


async def test_an_unknown_action_is_unknown_once_redis_is_known_to_have_all(
    desk: LibraryDesk,
) -> None:
    with pytest.raises(ActionSourceUnavailable):
        await desk.source().get(ACCOUNT, ACTION)
    assert desk.gaps == [(ACCOUNT, ACTION)]
    assert await desk.republishing.run_once()
    with pytest.raises(UnknownAction):
        await desk.source().get(ACCOUNT, ACTION)


@pytest.mark.parametrize("record", ["pointer", "content"])
@pytest.mark.parametrize(
    "damage",
    [b"", b"x" * 200, b"\xff\xfe", b"1;zz", b"{}", b"[" * 10_000, b"9" * 15 + b";0123456789ab"],
)
async def test_a_damaged_record_is_a_clear_error_and_is_written_again(
    desk: LibraryDesk,
    record: str,
    damage: bytes,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(source_module, "FRESH_S", 0.02)
    await desk.republishing.run_once()
    published = await desk.publish("One")
    running = desk.source()
    await desk.prompt_of(running)
    key = desk.keys.action(ACCOUNT, ACTION)
    if record == "content":
        key = desk.keys.action_version(ACCOUNT, ACTION, published.version.version)
    await desk.client.set(key, damage)
    if (record, damage) == ("pointer", b""):
        await desk.client.delete(desk.keys.library(bucket_of(ACCOUNT)))
    with pytest.raises(ActionSourceUnavailable):
        await desk.source().get(ACCOUNT, ACTION)
    assert desk.gaps
    assert caplog.records
    await asyncio.sleep(source_module.FRESH_S + 0.05)
    assert await desk.prompt_of(running) == "One"
    if damage.startswith(b"9"):
        return  # a revision from the future stays, until somebody publishes after it
    assert await desk.republishing.run_once()
    assert await desk.prompt_of(desk.source()) == "One"


async def test_law_15_records_of_another_kind_and_size_end_no_process(desk: LibraryDesk) -> None:
    await desk.republishing.run_once()
    published = await desk.publish("One")
    pointer = desk.keys.action(ACCOUNT, ACTION)
    content = desk.keys.action_version(ACCOUNT, ACTION, published.version.version)
    for key in (pointer, content):
        await desk.client.delete(key)
        await desk.client.rpush(key, "x")
        with pytest.raises(ActionSourceUnavailable):
            await desk.source().get(ACCOUNT, ACTION)
        assert await desk.republishing.run_once()
        assert await desk.prompt_of(desk.source()) == "One"
    await desk.client.set(content, b"x" * (MOST_CONTENT_BYTES + 1))
    with pytest.raises(ActionSourceUnavailable, match="more than"):
        await desk.source().get(ACCOUNT, ACTION)


@pytest.mark.long
async def test_law_4_what_memory_has_goes_on_while_redis_is_away_and_nothing_else(
    store_url: URL, private_redis: PrivateRedis, key_prefix: str, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    async with open_desk(store_url, private_redis.url, key_prefix, folder, timeout_ms=300) as desk:
        await desk.republishing.run_once()
        await desk.publish("One")
        running, fresh = desk.source(), desk.source()
        assert await desk.prompt_of(running) == "One"
        for outage in ("stop", "pause"):
            if outage == "stop":
                await private_redis.stop()
            else:
                private_redis.pause()
            await asyncio.sleep(source_module.FRESH_S + 0.05)
            since_s = time.monotonic()
            for _ in range(20):
                assert await desk.prompt_of(running) == "One"
            assert time.monotonic() - since_s < 0.6
            with pytest.raises(ActionSourceUnavailable):
                await fresh.get(ACCOUNT, ACTION)
            later = await desk.publish(f"After {outage}")
            assert not later.in_force
            if outage == "stop":
                await private_redis.start()
            else:
                private_redis.resume()
            async with asyncio.timeout(5):
                while not await desk.republishing.run_once():  # noqa: ASYNC110 - of other processes
                    await asyncio.sleep(0.05)
                while await desk.prompt_of(running) != f"After {outage}":  # noqa: ASYNC110 - of other processes
                    await asyncio.sleep(0.05)
            await desk.publish("One")
            await asyncio.sleep(source_module.FRESH_S + 0.05)
            await desk.prompt_of(running)
