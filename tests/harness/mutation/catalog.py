"""All faults."""

from __future__ import annotations

from tests.harness.mutation import (
    balances,
    books,
    caps,
    client,
    executions,
    rebuilding,
    releases,
    trust,
)

MUTATIONS = (
    *balances.MUTATIONS,
    *executions.MUTATIONS,
    *caps.MUTATIONS,
    *books.MUTATIONS,
    *client.MUTATIONS,
    *trust.MUTATIONS,
    *releases.MUTATIONS,
    *rebuilding.MUTATIONS,
)
