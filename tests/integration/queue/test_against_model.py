"""The queue against a model of it, by whatever calls in whatever order."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fallback.reasons import FallbackReason, ReasonGroup
from runtime.queue.entries import CampaignState, DeadReason, Ended, QueueSettings, Slice
from runtime.queue.errors import CampaignStopped, CampaignUnknown
from tests.harness.ledger.desk import connect
from tests.harness.queues import ACCOUNT, CAMPAIGN, Bench, result_of
from tests.harness.servers import OLDEST, LedgerServers

LEASE_MS = 10_000
MOST_DELIVERIES = 3
REASONS = {
    "credits": FallbackReason.CAP_REACHED,  # limits
    "model": FallbackReason.CONTENT_REFUSED,
    "service": FallbackReason.LEDGER_UNAVAILABLE,
}

CALLS = st.one_of(
    st.tuples(st.just("add"), st.integers(1, 4)),
    st.tuples(st.just("take"), st.integers(1, 4)),
    st.tuples(st.just("finish"), st.sampled_from(["answer", "dead", *REASONS])),
    st.tuples(st.just("finish again"), st.just("answer")),
    st.tuples(st.just("give back"), st.booleans()),
    st.tuples(st.just("wait"), st.just(LEASE_MS + 1_000)),
    st.tuples(st.just("change"), st.sampled_from(["pause", "resume", "stop"])),
    st.tuples(st.just("rerun"), st.sampled_from(["all", "limits", "model"])),
    st.tuples(st.just("forget"), st.integers(0, 12)),
)


@dataclass
class Waiting:
    """A request that waits or runs: its person, how often it was taken, until when and by whom."""

    person: str
    taken: int = 0
    until_ms: int = 0
    was_taken: bool = False
    holder: str = ""


@dataclass
class Model:
    """The campaign as it should be. ``queue`` is in the order in which requests were added."""

    now_ms: int = 0
    state: str | None = None
    queue: list[Waiting] = field(default_factory=list)
    missed: list[tuple[str, str]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)

    def count(self, name: str, by: int = 1) -> None:
        self.counts[name] = self.counts.get(name, 0) + by

    def takeable(self) -> list[Waiting]:
        """First what was taken and is due, then what is new."""
        due = [one for one in self.queue if one.was_taken and one.until_ms <= self.now_ms]
        return [
            *sorted(due, key=lambda one: one.until_ms),
            *(one for one in self.queue if not one.was_taken),
        ]

    def empty_stopped(self) -> None:
        """Move what nobody runs to the missed ones."""
        for one in self.takeable():
            self.queue.remove(one)
            self.missed.append((one.person, "limits"))
            self.count("stopped")

    def take(self, most: int) -> list[str]:
        """Take requests, as one call does that goes on behind dead letters."""
        if self.state == "stopped":
            self.empty_stopped()
        if self.state != "running":
            return []
        while found := self.takeable()[:most]:
            alive = [one for one in found if one.taken < MOST_DELIVERIES]
            for one in found:
                if one not in alive:
                    self.queue.remove(one)
                    self.count("dead")
            for one in alive:
                one.taken, one.was_taken, one.until_ms = one.taken + 1, True, self.now_ms + LEASE_MS
            if alive:
                return [one.person for one in alive]
        return []


@dataclass
class Course:
    """One course of calls, made of both."""

    bench: Bench
    model: Model = field(default_factory=Model)
    people: int = 0
    held: list[Slice] = field(default_factory=list)

    async def do(self, name: str, value: object) -> None:
        """Make one call of both, and compare them."""
        await getattr(self, name.replace(" ", "_"))(value)
        await self.compare()

    async def add(self, number: int) -> None:
        numbers = range(self.people, self.people + number)
        try:
            await self.bench.add(*numbers)
        except CampaignStopped:
            assert self.model.state == "stopped"
            return
        self.people += number
        self.model.state = self.model.state or "running"
        self.model.queue += [Waiting(f"p{each}") for each in numbers]
        self.model.count("added", number)

    async def take(self, most: int) -> None:
        taken = await self.bench.queue.take(ACCOUNT, "worker", most, LEASE_MS)
        found = [] if taken is None else [each.request.person_id for each in taken.entries]
        assert sorted(found) == sorted(self.model.take(most))
        if taken is not None:
            self.held.append(taken)
            for one in self.model.queue:
                if one.person in found:
                    one.holder = taken.token

    async def finish(self, how: str) -> None:
        if self.held:
            await self._finish(self.held.pop(0), how)

    async def finish_again(self, how: str) -> None:
        if self.held:
            await self._finish(self.held[0], how)
            await self._finish(self.held.pop(0), how)

    async def _finish(self, taken: Slice, how: str) -> None:
        reason = REASONS.get(how)
        ended = [
            Ended(each, dead=DeadReason.FAILED)
            if how == "dead"
            else Ended(each, result_of(each.request, reason))
            for each in taken.entries
        ]
        counted = 0
        for each in taken.entries:
            for one in self.model.queue:
                if one.person == each.request.person_id and one.was_taken:
                    self.model.queue.remove(one)
                    self.model.count({"answer": "model", "dead": "dead"}.get(how, "fallback"))
                    if reason is not None:
                        self.model.missed.append((one.person, reason.group.value))
                    counted += 1
                    break
        assert await self.bench.queue.finish(taken, ended) == counted

    async def give_back(self, counts: bool) -> None:
        if not self.held:
            return
        taken = self.held.pop()
        given = await self.bench.queue.give_back(taken, taken.entries, counts=counts)
        expected = 0
        people = [each.request.person_id for each in taken.entries]
        for one in self.model.queue:
            if one.holder == taken.token and one.person in people:
                one.until_ms, one.holder = self.model.now_ms, ""
                one.taken -= not counts
                expected += 1
        assert given == expected

    async def wait(self, milliseconds: int) -> None:
        self.model.now_ms += milliseconds
        self.bench.ahead_ms += milliseconds

    async def change(self, how: str) -> None:
        try:
            await getattr(self.bench.queue, how)(ACCOUNT, CAMPAIGN)
        except CampaignUnknown:
            assert self.model.state is None
            return
        self.model.state = {"pause": "paused", "resume": "running", "stop": "stopped"}[how]
        if how == "stop":
            self.model.empty_stopped()

    async def rerun(self, what: str) -> None:
        groups = [] if what == "all" else [ReasonGroup(what)]
        try:
            done = await self.bench.queue.rerun(ACCOUNT, CAMPAIGN, groups)
        except (CampaignStopped, CampaignUnknown):
            assert self.model.state in ("stopped", None)
            return
        again = [one for one in self.model.missed if what in ("all", one[1])]
        self.model.missed = [one for one in self.model.missed if one not in again]
        self.model.queue += [Waiting(person) for person, _ in again]
        self.model.count("rerun", len(again))
        assert (done.put_back, done.gone, done.left) == (len(again), 0, 0)

    async def forget(self, number: int) -> None:
        person = f"p{number}"
        _ = await self.bench.queue.forget(ACCOUNT, person)
        waiting = [one for one in self.model.queue if one.person == person]
        self.model.count("forgotten", len(waiting))
        self.model.queue = [one for one in self.model.queue if one.person != person]
        self.model.missed = [one for one in self.model.missed if one[0] != person]

    async def compare(self) -> None:
        """Assert that the queue says of itself what the model says."""
        model = self.model
        if model.state is None:
            return
        status = await self.bench.status()
        assert status.state == CampaignState(model.state)
        running = sum(one.was_taken for one in model.queue)
        assert (status.running, status.waiting) == (running, len(model.queue) - running)
        for name in ("added", "rerun", "model", "fallback", "dead", "stopped", "forgotten"):
            assert getattr(status, name) == model.counts.get(name, 0), name
        assert sum(status.missed.values()) == len(model.missed)
        assert status.missed_gone == 0
        missed = await self.bench.queue.missed(ACCOUNT, CAMPAIGN, count=1_000)
        people = sorted(each.request.person_id for each in missed if each.request is not None)
        assert people == sorted(person for person, _ in model.missed)


def compare(redis_url: str, calls: list[tuple[str, object]]) -> None:
    """Make the calls of both."""

    async def run() -> None:
        async with connect(redis_url) as client:
            day_ms = 86_400_000
            kept = QueueSettings(MOST_DELIVERIES, missed_ms=90 * day_ms, dead_ms=90 * day_ms)
            bench = Bench(client, f"t{uuid.uuid4().hex[:12]}", kept)
            course = Course(bench)
            for name, value in calls:
                await course.do(name, value)
            await bench.aclose()

    asyncio.run(run())


@given(calls=st.lists(CALLS, min_size=5, max_size=25))
@settings(max_examples=15)
def test_law_3_the_queue_does_what_its_model_does(
    ledger_servers: LedgerServers, calls: list[tuple[str, object]]
) -> None:
    compare(ledger_servers.url(OLDEST), calls)


@pytest.mark.long
@given(calls=st.lists(CALLS, min_size=20, max_size=80))
@settings(max_examples=40)
def test_law_3_the_queue_does_what_its_model_does_for_long(
    ledger_servers: LedgerServers, calls: list[tuple[str, object]]
) -> None:
    compare(ledger_servers.url(OLDEST), calls)
