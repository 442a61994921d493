"""All faults."""

from __future__ import annotations

from tests.harness.mutation import balances, books, client, executions, limits

MUTATIONS = (
    *balances.MUTATIONS,
    *executions.MUTATIONS,
    *limits.MUTATIONS,
    *books.MUTATIONS,
    *client.MUTATIONS,
)
