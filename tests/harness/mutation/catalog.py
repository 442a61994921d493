"""All faults."""

from __future__ import annotations

from tests.harness.mutation import balances, books, caps, client, executions

MUTATIONS = (
    *balances.MUTATIONS,
    *executions.MUTATIONS,
    *caps.MUTATIONS,
    *books.MUTATIONS,
    *client.MUTATIONS,
)
