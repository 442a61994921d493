"""Nothing is trimmed that is not archived, whatever has the archived numbers by now."""

from __future__ import annotations

from typing import Any

from runtime.archive.streams import Streams
from runtime.redis.keys import Keys
from tests.harness.archive import fill
from tests.harness.ledger.desk import connect, make_ledger


async def test_law_1a_a_branch_that_is_not_archived_is_not_trimmed(
    redis_url: str, key_prefix: str
) -> None:
    client: Any = connect(redis_url)
    keys = Keys(key_prefix)
    await fill(make_ledger(client, key_prefix), "acme", 10)
    journal = keys.part("acme", "journal")
    streams = Streams(client, keys, 10_000)
    entries = await client.xrange(journal)
    seq = len(entries) - 3
    chain = entries[seq - 1][1][b"c"].decode()

    # Another entry has the number; the branch has not come as far as what is archived.
    assert await streams.trim([("acme", seq, "0" * 12)]) == {}
    assert await streams.trim([("acme", len(entries) + 5, chain)]) == {}
    assert await client.xlen(journal) == len(entries)

    assert await streams.trim([("acme", seq, chain)]) == {}
    assert await client.xlen(journal) == 3
    # Again, when it is done already.
    assert await streams.trim([("acme", seq, chain)]) == {}
    assert await client.xlen(journal) == 3
    await client.aclose()
