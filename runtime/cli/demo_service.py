"""``creditgate serve --demo``: a whole service on a bare machine, with sample data and keys."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from shlex import quote

import click

from pricing.offers import GrantKind
from providers.mock.options import MockOptions
from providers.mock.server import start
from runtime.actions.requests import ExecutionResult
from runtime.api_keys.keys import Scope
from runtime.campaigns.campaign import Campaign
from runtime.campaigns.people import PeopleFile
from runtime.cli.config_file import EXAMPLE, find_action
from runtime.cli.ledger import print_json, run_async
from runtime.cli.service_logs import begin_logs
from runtime.cli.serving import Listeners, listeners_of, run_service
from runtime.config import Config, load_config
from runtime.web.service import Service

ACCOUNT = "acme"
LOW_ACCOUNT = "corner-shop"
_ACTION = "route_message"
_PLAN = "growth"
_CREDITS_MC = 100_000_000
_LOW_CREDITS_MC = 1_000_000
# Alerts say that credits run low at 20%, as the example config has it.
_LOW_SHARE = 0.2
_PEOPLE = 12
_MOST_LOW_PEOPLE = 60
_LATENCY_MS = 120
_MADE_BY = "serve --demo"


@dataclass(frozen=True, slots=True)
class DemoAccess:
    """The address, the keys and the accounts, which the demo tells once."""

    url: str
    operator_key: str
    account_key: str
    account_id: str
    low_account_id: str
    action: str


def serve_demo(host: str | None, port: int | None, *, as_json: bool) -> None:
    """Serve the demo until a signal, and remove its data.

    Raises:
        BadInput: the address can't be listened on.
        EmbeddedRedisUnavailable: there is no server program for the ledger.
        KeyboardInterrupt: a second signal ended it at once, or a first one before it was ready.
    """
    folder = Path(tempfile.mkdtemp(prefix="creditgate-serve-"))
    try:
        shutil.copy(EXAMPLE, folder / "config.yaml")
        config = _at_home(load_config(folder / "config.yaml"))
        listeners = listeners_of(config, host, port)
        begin_logs()
        click.echo("Starting a Redis server, a mock model and the service ...", err=True)
        run_async(_serve(config, listeners, as_json=as_json))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _at_home(config: Config) -> Config:
    """Return the example config for one person at one machine: no offers, no wait at the end."""
    service = config.service.model_copy(update={"drain_delay_ms": 0})
    return config.model_copy(update={"offers": {}, "service": service})


async def _serve(config: Config, listeners: Listeners, *, as_json: bool) -> None:
    async with AsyncExitStack() as stack:
        mock = await start(MockOptions(port=0, latency_median_ms=_LATENCY_MS, latency_sigma=0.3))
        stack.push_async_callback(mock.aclose)
        endpoint = config.models[find_action(config, _ACTION).model].endpoint
        config = config.with_api_base(endpoint, f"{mock.url}/v1")

        async def tell(service: Service, url: str) -> None:
            await _run_samples(service, config)
            access = await _make_keys(service, url)
            if as_json:
                print_json(asdict(access))
            else:
                click.echo("\n".join(_lines(access)))

        await run_service(config, listeners, None, tell)


async def _run_samples(service: Service, config: Config) -> None:
    """Open two accounts, and run the action until the second one's credits are low."""
    accounts = service.runtime.accounts
    for account_id, amount_mc in ((ACCOUNT, _CREDITS_MC), (LOW_ACCOUNT, _LOW_CREDITS_MC)):
        await accounts.open_account(account_id, plan=_PLAN)
        await accounts.grant(
            account_id, amount_mc=amount_mc, kind=GrantKind.PROMOTIONAL, reference="demo"
        )
    file = PeopleFile(Path(__file__).parents[1] / "demo_data" / "banking77" / "people.csv")
    people = list(islice(file.read(), _MOST_LOW_PEOPLE))
    action = find_action(config, _ACTION)
    campaign = Campaign(ACCOUNT, "demo", "welcome", action)
    requests = [campaign.request(person) for person in people[:_PEOPLE]]
    await asyncio.gather(*map(service.runtime.execute, requests))
    campaign = Campaign(LOW_ACCOUNT, "demo", "welcome", action)
    for person in people:
        if _is_low(await service.runtime.execute(campaign.request(person))):
            break


def _is_low(result: object) -> bool:
    if not isinstance(result, ExecutionResult) or result.available_after_mc is None:
        return False
    return result.available_after_mc < _LOW_SHARE * _LOW_CREDITS_MC


async def _make_keys(service: Service, url: str) -> DemoAccess:
    _, operator = await service.keys.make(
        account_id=None, name="operator", scopes=[Scope.ADMIN], created_by=_MADE_BY
    )
    _, account = await service.keys.make(
        account_id=ACCOUNT,
        name="back end",
        scopes=[Scope.EXECUTE, Scope.PREVIEW, Scope.BILLING_READ],
        created_by=_MADE_BY,
    )
    return DemoAccess(url, operator, account, ACCOUNT, LOW_ACCOUNT, _ACTION)


def _lines(access: DemoAccess) -> list[str]:
    body = {
        "execution_id": "journey-1:route:1",
        "workspace_id": "demo",
        "campaign_id": "welcome",
        "person_id": "p1",
        "action": access.action,
        "data": {"customer": {"message": "Where is my new card?"}},
    }
    return [
        "",
        f"creditgate serves {access.url}; its documentation is {access.url}/docs",
        "",
        f"Accounts: {access.account_id} has credits, {access.low_account_id} has just run low.",
        "Keys, which are shown only now and end with the demo:",
        f"  the operator's:  {access.operator_key}",
        f"  {access.account_id}'s:  {access.account_key}",
        "",
        "Run an action for a person:",
        f"  curl -s {access.url}/v1/executions \\",
        f"    -H 'Authorization: Bearer {access.account_key}' \\",
        "    -H 'Content-Type: application/json' \\",
        f"    -d {quote(json.dumps(body))}",
        "See what is left:",
        f"  curl -s {access.url}/v1/accounts/{access.low_account_id}/balance \\",
        f"    -H 'Authorization: Bearer {access.operator_key}'",
        "",
        "Ctrl-C ends it and removes its data.",
    ]
