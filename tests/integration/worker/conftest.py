"""Workers on a real Redis 7: streaq needs its functions."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.harness.servers import NEWER, LedgerServers
from tests.harness.workers import Crew, OpenCrew, open_crew


@pytest.fixture
def newer_url(ledger_servers: LedgerServers) -> str:
    """The address of a Redis 7."""
    return ledger_servers.url(NEWER)


@pytest.fixture
def open_a_crew(
    imported_litellm: None, newer_url: str, key_prefix: str, tmp_path: Path
) -> OpenCrew:
    """Open a crew: ``async with open_a_crew(change=...) as crew``."""

    def open_it(**how: Any) -> AbstractAsyncContextManager[Crew]:
        return open_crew(tmp_path, how.pop("redis_url", newer_url), key_prefix, **how)

    return open_it
