"""Accounts and their balances."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from runtime.web.access import BillingReader, account_of
from runtime.web.bodies import ACCOUNT_ID, problems
from runtime.web.service import ServiceOf

router = APIRouter(prefix="/v1/accounts", tags=["accounts"])


@router.get("/{account_id}/balance", responses=problems(401, 403, 404, 422, 429, 503))
async def balance(account_id: ACCOUNT_ID, key: BillingReader, service: ServiceOf) -> dict[str, Any]:
    """Return what the account has, by grant in burn order."""
    found = await service.ledger.accounts.balance(account_of(key, account_id))
    return {"account_id": account_id, "available_mc": found.available_mc}
