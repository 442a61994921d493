"""The service as a whole: keys, accounts, errors."""

from __future__ import annotations

from runtime.api_keys.keys import Scope
from tests.harness.service import OpenService
from tests.harness.workbench import ACCOUNT


async def test_a_key_of_an_account_reads_its_balance(open_service: OpenService) -> None:
    async with open_service() as served:
        await served.open_account()
        client = await served.client(Scope.BILLING_READ)
        answer = await client.get(f"/v1/accounts/{ACCOUNT}/balance")
        assert (answer.status_code, answer.json()["available_mc"]) == (200, 10_000_000)
        other = await client.get("/v1/accounts/other/balance")
        assert (other.status_code, other.json()["type"]) == (
            404,
            "urn:creditgate:problem:account_not_found",
        )
        client.headers.pop("Authorization")
        without = await client.get(f"/v1/accounts/{ACCOUNT}/balance")
        assert without.status_code == 401
        await client.aclose()
