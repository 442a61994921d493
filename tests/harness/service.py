"""A whole service on real parts: real HTTP, a real Redis, SQLite and the mock provider."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from pricing.offers import GrantKind
from providers.mock.options import MockOptions
from providers.mock.server import MockServer, start
from runtime.api_keys.keys import Scope
from runtime.config import Config
from runtime.web.app import create_app
from runtime.web.service import Service, open_service
from runtime.web.serving import listen, serving
from tests.harness.workbench import ACCOUNT, OUTPUTS, Change, make_config

ACTION = "route"


@dataclass
class Served:
    """A service that listens, and clients of it with keys of several kinds."""

    url: str
    service: Service
    mock: MockServer
    operator: httpx.AsyncClient
    """Holds a key of the operator's that may do everything."""

    async def client(self, *scopes: Scope, account_id: str | None = ACCOUNT) -> httpx.AsyncClient:
        """A client with a new key; by default one of the account's. Close it, or leave it open."""
        _, text = await self.service.keys.make(
            account_id=account_id, name="test", scopes=scopes, created_by="test"
        )
        return httpx.AsyncClient(base_url=self.url, headers={"Authorization": f"Bearer {text}"})

    async def open_account(self, account_id: str = ACCOUNT, amount_mc: int = 10_000_000) -> None:
        """Open an account on a paid plan, and give it credits."""
        accounts = self.service.ledger.accounts
        await accounts.open_account(account_id, plan="growth")
        await accounts.grant(
            account_id, amount_mc=amount_mc, kind=GrantKind.PROMOTIONAL, reference="start"
        )


def request_body(number: int = 1, **changes: Any) -> dict[str, Any]:
    """The body of an execution of the person of that number."""
    return {
        "execution_id": f"journey-{number}:route:1",
        "account_id": ACCOUNT,
        "workspace_id": "retail",
        "campaign_id": "welcome",
        "person_id": f"person-{number}",
        "action": ACTION,
        "data": {"customer": {"message": f"Where is my card? I am number {number}."}},
        **changes,
    }


def _with_action(config: dict[str, Any]) -> None:
    config["actions"] = {
        ACTION: {
            "model": "writer",
            "user": "{{ customer.message }}",
            "outputs": OUTPUTS,
            "limits": {"max_output_tokens": 120, "deadline_ms": 30_000, "attempts": 1},
        }
    }


OpenService = Callable[..., AbstractAsyncContextManager[Served]]


@asynccontextmanager
async def open_served(
    data_dir: Path,
    redis_url: str,
    key_prefix: str,
    change: Change = lambda config: None,
    mock_options: MockOptions | None = None,
    **how: Any,
) -> AsyncIterator[Served]:
    """Serve on a free port of loopback; ``how`` is as ``make_config`` has it."""

    def changed(config: dict[str, Any]) -> None:
        _with_action(config)
        change(config)

    async with AsyncExitStack() as stack:
        mock = await start(mock_options or MockOptions())
        stack.push_async_callback(mock.aclose)
        config: Config = make_config(
            data_dir, redis_url, key_prefix, f"{mock.url}/v1", change=changed, **how
        )
        service = await stack.enter_async_context(open_service(config))
        _, text = await service.keys.make(
            account_id=None, name="operator", scopes=[Scope.ADMIN], created_by="test"
        )
        url = await stack.enter_async_context(serving(create_app(service), listen("127.0.0.1", 0)))
        headers = {"Authorization": f"Bearer {text}"}
        operator = await stack.enter_async_context(httpx.AsyncClient(base_url=url, headers=headers))
        yield Served(url, service, mock, operator)
