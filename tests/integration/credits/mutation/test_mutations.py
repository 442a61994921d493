"""Every fault of the catalogue is noticed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from runtime.redis.embedded import EmbeddedRedis
from tests.harness.mutation.catalog import MUTATIONS
from tests.harness.mutation.mutation import Mutation
from tests.harness.mutation.sandbox import Copy, Verdict, judge, those_that_notice

AT_ONCE = 2

pytestmark = [pytest.mark.long, pytest.mark.timeout(1_200)]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """The project without a fault."""
    return Copy.of_project(tmp_path_factory.mktemp("mutation") / "sound")


@pytest.fixture(scope="module")
def verdict_on(
    request: pytest.FixtureRequest,
    sound: Copy,
    redis_server: EmbeddedRedis,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[Mutation], Verdict]]:
    """Tells what the tests say of a fault; those that this session asks for are tried ahead."""
    folder = tmp_path_factory.mktemp("faults")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        verdicts: dict[str, Future[Verdict]] = {}
        for item in request.session.items:
            if isinstance(item, pytest.Function) and item.originalname == "test_a_fault_is_noticed":
                mutation = item.callspec.params["mutation"]
                assert isinstance(mutation, Mutation)
                verdicts[mutation.name] = pool.submit(
                    judge, sound, mutation, folder / str(len(verdicts)), redis_server.url
                )
        yield lambda mutation: verdicts[mutation.name].result()
        pool.shutdown(cancel_futures=True)


def test_without_a_fault_the_same_tests_pass(sound: Copy) -> None:
    verdict = sound.test(*those_that_notice(MUTATIONS))

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
