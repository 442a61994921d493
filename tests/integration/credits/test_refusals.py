"""Law 5: what a server's answer says about whether the script ran. The servers are made up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import BusyLoadingError

from runtime.redis.cluster import transport_to
from runtime.redis.connections import PooledConnection, Server
from runtime.redis.errors import NotReached, RedisUnavailable, ScriptRefused, UnknownOutcome
from runtime.redis.script import Script
from runtime.redis.transport import Request, bulk
from tests.harness.ledger.desk import Desk, connect, make_ledger, raises_not_booked
from tests.harness.private_redis import PrivateRedis

REQUEST = Request(Script("return 1", "sha"), 1, 1, bulk("{b1}:key", "argument"))
DONE = b"*2\r\n*0\r\n*0\r\n"


@dataclass
class MadeUp:
    """A server that answers each script call by the next of its lines, and whatever else by OK."""

    answers: list[bytes]
    url: str = ""
    connections: int = 0
    calls: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        while command := await _command(reader):
            if command not in (b"EVALSHA", b"EVAL"):
                writer.write(b"+OK\r\n")
                continue
            self.calls.append(command)
            if not (answer := self.answers.pop(0)):
                break
            writer.write(answer)
        writer.close()


async def _command(reader: asyncio.StreamReader) -> bytes:
    """The name of the next command."""
    if not (head := await reader.readline()):
        return b""
    words = []
    for _ in range(int(head[1:])):
        length = int((await reader.readline())[1:])
        words.append((await reader.readexactly(length + 2))[:-2])
    return words[0].upper()


OpenMadeUp = Callable[..., AbstractAsyncContextManager[MadeUp]]


@pytest.fixture
def open_made_up(tmp_path_factory: pytest.TempPathFactory) -> OpenMadeUp:
    @asynccontextmanager
    async def opened(*answers: bytes) -> AsyncIterator[MadeUp]:
        path: Path = tmp_path_factory.mktemp("s") / "socket"
        made_up = MadeUp(list(answers), f"unix://{path}")
        async with await asyncio.start_unix_server(made_up.serve, path):
            yield made_up

    return opened


async def run(made_up: MadeUp, times: int = 1) -> list[Any]:
    """What each of so many calls after one another comes to."""
    client = connect(made_up.url, protocol=2)  # connecting is the same few commands everywhere
    transport = transport_to(client, 1_000)
    results = [
        (await asyncio.gather(transport.run(REQUEST, lambda _: None), return_exceptions=True))[0]
        for _ in range(times)
    ]
    await transport.drain()
    await client.aclose()
    return results


@pytest.mark.parametrize(
    "answer, kind",
    [
        (b"-LOADING Redis is loading the dataset in memory\r\n", NotReached),
        (b"-READONLY You can't write against a read only replica.\r\n", NotReached),
        (b"-MASTERDOWN Link with MASTER is down\r\n", NotReached),
        (b"-NOAUTH Authentication required.\r\n", NotReached),
        (b"-CREDITGATE_FAILED READONLY You can't write against a replica\r\n", NotReached),
        (b"-CREDITGATE_DAMAGED acme:refs READONLY payment: not a record\r\n", ScriptRefused),
        (b"-OOM command not allowed when used memory > 'maxmemory'.\r\n", ScriptRefused),
        (b"-BUSY Redis is busy running a script.\r\n", ScriptRefused),
        (b"-CLUSTERDOWN Hash slot not served\r\n", ScriptRefused),
        (b"", UnknownOutcome),
    ],
)
async def test_law_5_a_refusal_is_told_from_a_call_whose_outcome_is_unknown(
    answer: bytes, kind: type[RedisUnavailable], open_made_up: OpenMadeUp
) -> None:
    async with open_made_up(answer, DONE) as made_up:
        refused, done = await run(made_up, times=2)

    assert type(refused) is kind
    assert done == [[], []]


@pytest.mark.parametrize(
    "answer, connections",
    [
        (b"-LOADING Redis is loading the dataset in memory\r\n", 1),
        (b"-OOM command not allowed when used memory > 'maxmemory'.\r\n", 1),
        # The primary is elsewhere by now, at the same name.
        (b"-READONLY You can't write against a read only replica.\r\n", 2),
        (b"-CREDITGATE_FAILED READONLY You can't write against a replica\r\n", 2),
    ],
)
async def test_a_server_that_takes_no_writes_is_left_and_connected_to_anew(
    answer: bytes, connections: int, open_made_up: OpenMadeUp
) -> None:
    async with open_made_up(answer, DONE, DONE) as made_up:
        await run(made_up, times=3)

    assert made_up.connections == connections


async def test_a_script_that_a_server_does_not_know_is_sent_to_it_whole(
    open_made_up: OpenMadeUp,
) -> None:
    async with open_made_up(b"-NOSCRIPT No matching script.\r\n", DONE, DONE) as made_up:
        assert await run(made_up, times=2) == [[[], []]] * 2

    assert made_up.calls == [b"EVALSHA", b"EVAL", b"EVALSHA"]


async def test_a_replica_refuses_and_a_primary_that_it_becomes_does_not(
    private_redis: PrivateRedis,
) -> None:
    client: Any = connect(private_redis.url)
    desk = Desk(client, "t", make_ledger(client, "t"))
    await desk.open(1_000)
    await client.execute_command("REPLICAOF", "127.0.0.1", "1")
    before = await desk.state()

    with raises_not_booked(match=r"READONLY|read only"):
        await desk.ledger.reserve(desk.attempt(), 10, 1_000)
    assert await desk.state() == before
    await client.execute_command("REPLICAOF", "NO", "ONE")
    await desk.reserve(10)

    await desk.ledger.drain()
    await client.aclose()
    await asyncio.sleep(0)


# A caller who is cancelled while other answers stand around the one that counts.


class SlowConnection:
    """Answers come one by one, when the test lets them."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)
        self.may_answer = asyncio.Semaphore(0)

    async def send_packed_command(self, packed: bytes, check_health: bool) -> None:
        await asyncio.sleep(0)

    async def read_response(self, disable_decoding: bool, disconnect_on_error: bool) -> object:
        await self.may_answer.acquire()
        if isinstance(answer := self.answers.pop(0), Exception):
            raise answer
        return answer


REFUSED = BusyLoadingError("Redis is loading the dataset in memory")


@pytest.mark.parametrize("read_before", [0, 1, 2])
@pytest.mark.parametrize("asking", [b"OK", REFUSED])
@pytest.mark.parametrize("answer", [[b"the answer"], REFUSED])
@pytest.mark.parametrize("waited", [2, REFUSED])
async def test_an_answer_is_read_to_the_end_though_its_caller_has_gone(
    read_before: int, asking: object, answer: object, waited: object
) -> None:
    slow = SlowConnection(asking, answer, waited)
    async with Redis() as client:
        server = Server(client.connection_pool, lambda work: None, shared=True)
        connection = PooledConnection(server, slow)
        caller = asyncio.create_task(connection.ask(b"ASKING, a script, WAIT", before=1, wait=True))
        for _ in range(read_before):
            slow.may_answer.release()
        for _ in range(5):
            await asyncio.sleep(0)
        caller.cancel()
        await asyncio.gather(caller, return_exceptions=True)

        for _ in range(3 - read_before):
            slow.may_answer.release()
        (found,) = await asyncio.gather(connection.answer(), return_exceptions=True)
        assert found == answer
        assert connection.acknowledged == (waited if waited == 2 else 0)
        assert slow.answers == []
