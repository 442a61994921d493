"""The runtime's HTTP client, as the configuration wants it."""

from __future__ import annotations

import pytest

from providers.http import HttpClient
from providers.http_pool import HttpLimits
from tests.harness.workbench import OpenWorkbench


@pytest.mark.parametrize("max_concurrency, connections", [(64, 1_000), (1_500, 1_500)])
async def test_there_is_a_connection_for_each_call_that_the_endpoints_allow(
    open_bench: OpenWorkbench,
    monkeypatch: pytest.MonkeyPatch,
    max_concurrency: int,
    connections: int,
) -> None:
    made = []

    class Noted(HttpClient):
        def __init__(self, limits: HttpLimits) -> None:
            super().__init__(limits)
            made.append(limits.connections)

    monkeypatch.setattr("providers.http.HttpClient", Noted)
    async with open_bench(max_concurrency=max_concurrency) as bench:
        assert (await bench.execute()).status == "model"

    assert made == [connections]
