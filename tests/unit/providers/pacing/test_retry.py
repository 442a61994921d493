"""Retries, on a clock of the tests' own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.base import Completion, CompletionRequest, Endpoint, FinishReason
from providers.errors import FailureKind, NotSent, PossiblyExecuted, ProviderError, Rejected
from providers.pacing.deadline import Deadline
from providers.pacing.retry import RetriedCall
from tests.harness.virtual_time import now_s, run

REQUEST = CompletionRequest(
    "openai/m", Endpoint("main"), [{"role": "user", "content": "Hi"}], max_output_tokens=10
)
ANSWER = Completion("Hello", FinishReason.STOP, usage=None)
LATENESS_S = 1e-6
"""Timers may run a clock tick late."""


@dataclass(frozen=True)
class Step:
    """What happens to one attempt: after ``takes_s``, an answer or an error."""

    takes_s: float = 0.1
    error: ProviderError | None = None


def failing(*, retryable: bool = True, retry_after_ms: int | None = None) -> Step:
    return Step(
        error=Rejected(
            FailureKind.ERROR, "failed", retryable=retryable, retry_after_ms=retry_after_ms
        )
    )


@dataclass
class Script:
    """A provider that does as it is told, and remembers when it was asked."""

    steps: list[Step]
    began_s: list[float] = field(default_factory=list)
    ended_s: list[float] = field(default_factory=list)
    records: list[tuple[int, ProviderError | None]] = field(default_factory=list)
    announced_s: list[float] = field(default_factory=list)

    async def complete(self, request: CompletionRequest) -> Completion:
        assert request is REQUEST
        step = self.steps[len(self.began_s)]
        self.began_s.append(now_s())
        try:
            await asyncio.sleep(step.takes_s)
        finally:
            self.ended_s.append(now_s())
        if step.error is not None:
            raise step.error
        return ANSWER

    async def aclose(self) -> None:
        raise AssertionError("it is not for the retries to close a provider")

    def record(self, number: int, error: ProviderError | None, latency_ms: int) -> None:
        assert latency_ms >= 0
        self.records.append((number, error))

    async def ask(
        self,
        *,
        attempts: int = 2,
        deadline_s: float = 30,
        attempt_timeout_ms: int | None = None,
        before_attempt: Callable[[float], None] | None = None,
        may_retry: Callable[[], Awaitable[bool]] | None = None,
    ) -> Completion:
        return await RetriedCall(
            self,
            REQUEST,
            attempts=attempts,
            deadline=Deadline(deadline_s),
            attempt_timeout_ms=attempt_timeout_ms,
            before_attempt=before_attempt or self.announced_s.append,
            record=self.record,
            **({} if may_retry is None else {"may_retry": may_retry}),
        ).complete()


def ask_and_fail(script: Script, **limits: float | None) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        run(script.ask(**limits))  # type: ignore[arg-type]  # a test's own words for its limits
    return caught.value


def test_an_answer_at_once_is_one_attempt() -> None:
    script = Script([Step()])

    assert run(script.ask()) is ANSWER
    assert script.records == [(1, None)]


def test_what_may_pass_is_tried_again() -> None:
    first, second = failing(), failing()
    script = Script([first, second, Step()])

    assert run(script.ask(attempts=3)) is ANSWER
    assert script.records == [(1, first.error), (2, second.error), (3, None)]


@pytest.mark.parametrize("attempts", [1, 2, 3])
def test_the_last_error_stands_when_attempts_run_out(attempts: int) -> None:
    steps = [failing() for _ in range(attempts)]
    script = Script(steps)

    assert ask_and_fail(script, attempts=attempts) is steps[-1].error
    assert script.records == [(n, step.error) for n, step in enumerate(steps, 1)]


def test_what_can_not_pass_is_not_tried_again() -> None:
    lasting = failing(retryable=False)
    script = Script([failing(), lasting])

    assert ask_and_fail(script, attempts=5) is lasting.error
    assert len(script.records) == 2


def test_a_provider_is_left_alone_for_as_long_as_it_asked() -> None:
    script = Script([failing(retry_after_ms=7_000), Step()])

    assert run(script.ask()) is ANSWER
    assert script.began_s[1] - script.ended_s[0] >= 7


def test_a_wait_beyond_the_deadline_is_not_begun() -> None:
    script = Script([failing(retry_after_ms=7_000)])
    started: list[float] = []

    async def ask() -> None:
        started.append(now_s())
        with pytest.raises(Rejected):
            await script.ask(deadline_s=now_s() + 5)
        assert now_s() - started[0] < 0.2

    run(ask())
    assert len(script.records) == 1


def test_callers_that_failed_at_once_come_back_at_different_times() -> None:
    scripts = [Script([failing(), Step()]) for _ in range(50)]

    async def ask() -> None:
        await asyncio.gather(*(script.ask() for script in scripts))

    run(ask())
    assert len({round(script.began_s[1], 6) for script in scripts}) > 40


def test_the_deadline_ends_an_attempt_whose_fate_is_then_unknown() -> None:
    script = Script([Step(takes_s=60)])

    error = ask_and_fail(script, deadline_s=3)

    assert (type(error), error.kind) == (PossiblyExecuted, FailureKind.TIMEOUT)
    assert script.ended_s == [pytest.approx(3)]
    assert script.records == [(1, error)]


def test_an_attempt_that_hangs_leaves_time_for_another() -> None:
    script = Script([Step(takes_s=60), Step()])

    assert run(script.ask(attempt_timeout_ms=9_000)) is ANSWER
    (_, hung), (_, answered) = script.records
    assert isinstance(hung, PossiblyExecuted)
    assert hung.kind is FailureKind.TIMEOUT
    assert answered is None
    assert script.ended_s[0] == pytest.approx(9)


def test_without_time_nothing_is_sent() -> None:
    script = Script([])

    error = ask_and_fail(script, deadline_s=-1)

    assert (type(error), error.kind) == (NotSent, FailureKind.TIMEOUT)
    assert script.records == []


def test_each_attempt_is_announced_with_its_end() -> None:
    script = Script([failing(), Step()])

    run(script.ask(attempt_timeout_ms=20_000, deadline_s=20.05))

    assert script.announced_s == [pytest.approx(20), pytest.approx(20.05)]


@pytest.mark.parametrize("at", [1, 2])
def test_an_attempt_that_is_forbidden_ends_it(at: int) -> None:
    script = Script([failing()])
    announced: list[float] = []
    forbidden = NotSent(FailureKind.TIMEOUT, "the reservation would expire first")

    def before_attempt(ends_s: float) -> None:
        announced.append(ends_s)
        if len(announced) == at:
            raise forbidden

    async def ask() -> None:
        with pytest.raises(NotSent) as caught:
            await script.ask(attempts=3, before_attempt=before_attempt)
        assert caught.value is forbidden

    run(ask())
    assert len(script.began_s) == at - 1


@pytest.mark.parametrize("allowed", [0, 1, 2])
def test_each_retry_is_asked_for_and_without_leave_the_last_error_stands(allowed: int) -> None:
    steps = [failing(retry_after_ms=1_000 * number) for number in (1, 2, 3, 4)]
    script = Script(steps)
    asked_s: list[float] = []

    async def may_retry() -> bool:
        asked_s.append(now_s())
        await asyncio.sleep(0.5)
        return len(asked_s) <= allowed

    async def ask() -> None:
        with pytest.raises(ProviderError) as caught:
            await script.ask(attempts=4, may_retry=may_retry)
        assert caught.value is steps[allowed].error

    run(ask())
    assert len(script.began_s) == allowed + 1
    assert len(asked_s) == allowed + 1
    for number, (ended_s, at_s) in enumerate(zip(script.ended_s, asked_s, strict=True), 1):
        assert at_s - ended_s >= number, "it is asked after the back-off"


def test_leave_that_comes_with_the_deadline_is_of_no_use() -> None:
    script = Script([failing()])

    async def may_retry() -> bool:
        await asyncio.sleep(60)
        return True

    # Not one of the numbers that the other tests set.
    error = ask_and_fail(script, deadline_s=30, may_retry=may_retry)  # type: ignore[arg-type]  # no limit, a function

    assert isinstance(error, NotSent)
    assert len(script.began_s) == 1


@pytest.mark.parametrize("at_s", [0.05, 5], ids=["in an attempt", "in a back-off"])
def test_a_cancelled_caller_gets_its_cancellation(at_s: float) -> None:
    script = Script([failing(retry_after_ms=20_000)])

    async def cancel() -> None:
        asking = asyncio.create_task(script.ask())
        await asyncio.sleep(at_s)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    run(cancel())
    assert len(script.began_s) == 1


def test_an_adapters_own_failure_is_neither_hidden_nor_retried() -> None:
    class Broken(Script):
        async def complete(self, request: CompletionRequest) -> Completion:
            raise KeyError("a bug")

    with pytest.raises(KeyError):
        run(Broken([]).ask())


STEPS = st.builds(
    Step,
    takes_s=st.floats(0, 20),
    error=st.none()
    | st.builds(
        Rejected,
        st.just(FailureKind.ERROR),
        st.just("failed"),
        retryable=st.booleans(),
        retry_after_ms=st.none() | st.integers(0, 20_000),
    ),
)


@given(
    steps=st.lists(STEPS, min_size=5, max_size=5),
    attempts=st.integers(1, 5),
    deadline_s=st.floats(0.001, 60),
    attempt_timeout_ms=st.none() | st.integers(1, 30_000),
)
def test_whatever_happens_the_rules_hold(
    steps: list[Step], attempts: int, deadline_s: float, attempt_timeout_ms: int | None
) -> None:
    script = Script(steps)

    async def ask() -> tuple[Completion | ProviderError, float]:
        outcome: Completion | ProviderError
        try:
            outcome = await script.ask(
                attempts=attempts, deadline_s=deadline_s, attempt_timeout_ms=attempt_timeout_ms
            )
        except ProviderError as error:
            outcome = error
        return outcome, now_s()

    outcome, ended_s = run(ask())

    assert ended_s <= deadline_s + LATENESS_S
    assert 1 <= len(script.began_s) <= attempts
    assert [number for number, _ in script.records] == list(range(1, len(script.began_s) + 1))
    assert all(began_s < deadline_s for began_s in script.began_s)
    errors = [error for _, error in script.records]
    assert outcome is (errors[-1] or ANSWER)
    for number, error in enumerate(errors[:-1]):
        assert error is not None
        assert error.retryable
        waited_s = script.began_s[number + 1] - script.ended_s[number]
        assert waited_s >= (error.retry_after_ms or 0) / 1000 - LATENESS_S
    for began_s, ended_s in zip(script.began_s, script.ended_s, strict=True):
        assert ended_s - began_s <= (attempt_timeout_ms or 60_000) / 1000 + LATENESS_S
