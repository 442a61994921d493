"""A person is forgotten while executions of theirs run, wait on disk or have ended."""

from __future__ import annotations

import asyncio
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from creditgate import open_runtime
from fallback.reasons import FallbackReason
from runtime.credits.endings import Settlement
from runtime.credits.erasure import Forgetting
from runtime.credits.results import Existing
from runtime.executions import outbox as outboxes
from runtime.executions.forgetting import forget
from runtime.executions.spool import Spool
from runtime.executions.spool_erasure import SpooledValues
from tests.harness.executions.processes import start_worker
from tests.harness.executions.spooled import spooled_outcomes, until
from tests.harness.private_redis import PrivateRedis
from tests.harness.workbench import ACCOUNT, OpenWorkbench, Workbench, reasons

PERSON = "ada@example.com"
SECRET = b"Dear Ada, about your loan"


async def forgotten(bench: Workbench, person_id: str = PERSON) -> Forgetting:
    return await forget(
        bench.ledger.erasure,
        [SpooledValues(bench.spool.folder)],
        account_id=ACCOUNT,
        person_id=person_id,
        reference="r-1",
        reason="a request",
        actor="ann",
    )


async def outcomes(bench: Workbench) -> list[bytes]:
    """The values of all outcomes of the account."""
    redis: Any = bench.redis  # redis-py types answers by what its settings could make of them
    names = [name async for name in redis.scan_iter(f"{bench.keys.prefix}:*:o:*")]
    return [(await redis.get(name)).partition(b"\n")[2] for name in names]


async def test_law_3f_asking_again_for_a_forgotten_person_answers_outcome_lost_without_a_call(
    bench: Workbench,
) -> None:
    request = bench.request(person_id=PERSON)
    first = await bench.run(request)
    other = bench.request()
    kept = await bench.run(other)

    assert (await forgotten(bench)).removed == {"outcomes": 1, "spool": 0}

    calls, charged_mc = await bench.calls(), (await bench.books()).charged_mc
    again = await bench.run(request)
    assert first.status == "model"
    assert again.status == "fallback"
    assert reasons(again) == {FallbackReason.OUTCOME_LOST}
    assert (again.charged_mc, again.kept, again.replayed) == (first.charged_mc, False, True)
    assert (await bench.run(other)).values == kept.values
    assert (await bench.calls(), (await bench.books()).charged_mc) == (calls, charged_mc)


async def test_law_3f_an_answer_that_comes_after_the_erasure_is_charged_and_not_stored(
    open_bench: OpenWorkbench,
) -> None:
    async with open_bench(latency_median_ms=500) as bench:
        request = bench.request(person_id=PERSON)
        running = asyncio.create_task(bench.run(request))
        await bench.until_reserved()
        assert (await forgotten(bench)).removed == {"outcomes": 0, "spool": 0}
        result = await running

        assert result.status == "model"
        assert await outcomes(bench) == [b""]
        assert (await bench.books()).charged_mc == result.charged_mc
        assert reasons(await bench.run(request)) == {FallbackReason.OUTCOME_LOST}
        # The person is back: what begins now is kept again.
        anew = bench.request(person_id=PERSON)
        assert (await bench.run(anew)).values == (await bench.run(anew)).values


async def test_law_3f_an_execution_that_waited_for_its_turn_during_the_erasure_stores_nothing(
    open_bench: OpenWorkbench,
) -> None:
    async with open_bench(latency_median_ms=300, max_concurrency=1) as bench:
        first = asyncio.create_task(bench.execute())
        await bench.until_reserved()
        waiting = asyncio.create_task(bench.execute(person_id=PERSON))
        await asyncio.sleep(0.05)
        await forgotten(bench)
        assert (await first).status == (await waiting).status == "model"

        kept = sorted(await outcomes(bench))
        assert kept[0] == b""
        assert b'"v"' in kept[1]


@pytest.mark.long
@pytest.mark.timeout(180)
async def test_law_3f_a_spool_on_another_machine_stores_no_values_once_it_is_replayed(
    open_bench: OpenWorkbench, private_redis: PrivateRedis, tmp_path: Path
) -> None:
    async with open_bench(url=private_redis.url, latency_median_ms=1_500) as bench:
        there = tmp_path / "another-machine"
        there.mkdir(mode=0o700)
        shutil.copy2(bench.config.data_dir / "installation.key", there)
        api_base = f"{bench.mock.url}/v1"
        worker = await start_worker(
            str(there), private_redis.url, bench.keys.prefix, api_base, "ada", "3"
        )
        assert worker.stdin is not None
        worker.stdin.write(b"go\n")
        await bench.until_reserved()
        async with asyncio.timeout(20):
            while await bench.calls() < 3:  # noqa: ASYNC110 - the server's count
                await asyncio.sleep(0.02)
        await private_redis.stop()
        await until(lambda: len(list((there / "spool").glob("*.json"))) == 3)
        worker.send_signal(signal.SIGKILL)
        await worker.wait()
        await private_redis.start()
        assert all(b"v" in each for each in spooled_outcomes(there / "spool"))

        done = await forgotten(bench, "ada-1")
        assert done.removed == {"outcomes": 0, "spool": 0}  # nothing of it is in this folder
        config = bench.config.model_copy(update={"data_dir": there})
        async with open_runtime(config):
            await until(lambda: not list((there / "spool").glob("*.json")))

        kept = sorted(await outcomes(bench))
        assert kept[0] == b""
        assert all(b'"v"' in each for each in kept[1:])
        assert len(kept) == 3
        assert (await bench.books()).charged_mc > 0


async def test_law_3f_dead_endings_of_a_running_process_are_erased_within_a_round(
    open_bench: OpenWorkbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outboxes, "ERASE_EVERY_S", 0.1)
    async with open_bench() as bench:
        attempt = bench.ledger.attempt(
            account_id=ACCOUNT,
            execution_id="j:s:1",
            workspace_id="retail",
            campaign_id="welcome",
            person_id=PERSON,
            action="route",
            source="live",
        )
        dead = Spool(bench.spool.folder, max_age_ms=-1)
        await dead.put(Settlement(attempt, 70, 100, 1, "1", "v1", outcome=SECRET))
        await until(lambda: bool(list(dead.folder.glob("dead/*.json"))))
        assert spooled_outcomes(dead.folder) == [SECRET]

        await bench.ledger.erasure.begin(ACCOUNT, PERSON, "r-1")

        await until(lambda: spooled_outcomes(dead.folder) == [b""])
        assert isinstance(await bench.ledger.look_up(attempt), Existing | None)
