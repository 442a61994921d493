"""The service as a whole: keys, accounts, errors."""

from __future__ import annotations

import pytest

from runtime.api_keys.keys import Scope
from runtime.config import Config
from tests.harness.service import ACTION, OpenService
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


async def test_after_a_reload_models_and_estimates_go_by_the_new_rates(
    open_service: OpenService,
) -> None:
    def dearer(config: Config) -> Config:
        card = config.rate_cards[0]
        writer = card.rates["writer"]
        tripled = {"input_mc": writer.input_mc * 3, "output_mc": writer.output_mc * 3}
        rates = {**card.rates, "writer": writer.model_copy(update=tripled)}
        changed = card.model_copy(update={"version": "2", "rates": rates})
        return config.model_copy(update={"rate_cards": [changed]})

    async with open_service() as served:
        await served.open_account()
        sample = [{"customer": {"message": "Where is my card?"}}]
        body = {
            "account_id": ACCOUNT,
            "people": 1_000,
            "sample": sample,
            "actions": [{"action": ACTION}],
        }

        async def expected_mc() -> int:
            answer = await served.operator.post("/v1/estimates", json=body)
            assert answer.status_code == 200, answer.text
            found: int = answer.json()["cost"]["expected_mc"]
            return found

        before = await expected_mc()
        await served.service.reload(dearer(served.service.config))
        assert await expected_mc() == pytest.approx(3 * before, rel=0.01)
