"""Sums of entries for reports, added to as the entries are archived."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncConnection


class Rollup:
    """Sums that a batch of entries adds to."""

    def add(
        self,
        account_no: int,
        kind: str,
        at_ms: int,
        effective_ms: int,
        dims: int,
        columns: Sequence[str],
        sign: int = 1,
    ) -> None:
        """Add one entry; ``columns`` are those of its body."""

    async def write(self, connection: AsyncConnection, is_postgres: bool) -> None:
        """Write the sums in the transaction that adds the entries."""
