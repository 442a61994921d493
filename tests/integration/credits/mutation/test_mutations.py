"""Every fault of the catalogue is noticed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue

import pytest

from runtime.redis.embedded import EmbeddedRedis
from tests.harness.mutation.catalog import MUTATIONS
from tests.harness.mutation.mutation import Mutation
from tests.harness.mutation.sandbox import Copy, Runs, Verdict, judge, those_that_notice

AT_ONCE = 2

pytestmark = [pytest.mark.long, pytest.mark.timeout(1_200)]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """The project without a fault."""
    return Copy.of_project(tmp_path_factory.mktemp("mutation") / "sound")


@pytest.fixture(scope="module")
def warmed(sound: Copy) -> Iterator[SimpleQueue[Runs]]:
    """Processes to run tests in, of which each is taken by one at a time."""
    modules = sound.compile()
    processes = [Runs(modules) for _ in range(AT_ONCE)]
    idle: SimpleQueue[Runs] = SimpleQueue()
    for process in processes:
        idle.put(process)
    yield idle
    for process in processes:
        process.close()


@pytest.fixture(scope="module")
def verdict_on(
    request: pytest.FixtureRequest,
    sound: Copy,
    warmed: SimpleQueue[Runs],
    redis_server: EmbeddedRedis,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[Mutation], Verdict]]:
    """Tells what the tests say of a fault; those that this session asks for are tried ahead."""
    folder = tmp_path_factory.mktemp("faults")

    def tried(mutation: Mutation, name: str) -> Verdict:
        process = warmed.get()
        try:
            return judge(process, sound, mutation, folder / name, redis_server.url)
        finally:
            warmed.put(process)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        verdicts: dict[str, Future[Verdict]] = {}
        for item in request.session.items:
            if isinstance(item, pytest.Function) and item.originalname == "test_a_fault_is_noticed":
                mutation = item.callspec.params["mutation"]
                assert isinstance(mutation, Mutation)
                verdicts[mutation.name] = pool.submit(tried, mutation, str(len(verdicts)))
        yield lambda mutation: verdicts[mutation.name].result()
        pool.shutdown(cancel_futures=True)


def test_without_a_fault_the_same_tests_pass(sound: Copy, warmed: SimpleQueue[Runs]) -> None:
    process = warmed.get()
    verdict = process.test(sound, *those_that_notice(MUTATIONS))
    warmed.put(process)

    assert verdict.exit_code == 0, verdict.output


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_fault_is_noticed(
    mutation: Mutation,
    verdict_on: Callable[[Mutation], Verdict],
    record_property: Callable[[str, object], None],
) -> None:
    verdict = verdict_on(mutation)

    record_property("noticed_by", verdict.failed)
    assert verdict.found_a_fault, f"nobody notices: {mutation.breaks}\n{verdict.output}"
