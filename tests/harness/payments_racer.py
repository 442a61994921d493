"""A process that tops up the account again and again, until it is killed.

Usage: python -m tests.harness.payments_racer DATABASE_URL REDIS_URL PREFIX STRIPE_URL
"""

from __future__ import annotations

import asyncio
import sys

from pricing.errors import CreditgateError
from runtime.payments import payments as rounds
from runtime.payments import stored_settings
from runtime.store.database import database_url
from tests.harness.payments import open_till
from tests.harness.stripe import FakeStripe


async def main(url: str, redis_url: str, prefix: str, stripe_url: str) -> None:
    """Go on with what is due, and look, without a pause."""
    rounds.RETRY_MS = 200  # what a killed process left need not wait
    vars(stored_settings)["MOST_AN_HOUR"] = 1_000  # nobody waits an hour
    fake = FakeStripe(url=stripe_url)
    async with open_till(database_url(url), redis_url, prefix, fake) as till:
        print("ready", flush=True)  # noqa: T201 - for the test
        while True:
            try:
                await till.payments.round()
            except CreditgateError as error:
                print(error, file=sys.stderr)  # noqa: T201 - for who reads the test
            await asyncio.sleep(0.01)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
