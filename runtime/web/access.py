"""Access: the key of a request, and what it allows."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPBearer

from runtime.api_keys.keys import ApiKey, Scope
from runtime.web.problems import Problem, account_not_found, invalid
from runtime.web.rate_headers import take_turn
from runtime.web.service import ServiceOf

_bearer = HTTPBearer(auto_error=False, scheme_name="key", description="A key of the API.")


def caller(scope: Scope, *, operator: bool = False) -> Callable[..., Awaitable[ApiKey]]:
    """Return a dependency that gives the caller's key, if that has the scope.

    Args:
        operator: keys of accounts are refused, whatever they may do otherwise.
    """

    async def find(
        request: Request, service: ServiceOf, _: Annotated[object, Depends(_bearer)]
    ) -> ApiKey:
        kind, _, text = request.headers.get("authorization", "").partition(" ")
        key = await service.keys.verify(text.strip()) if kind.lower() == "bearer" else None
        if key is None:
            raise Problem(
                401,
                "unauthorized",
                "No valid key",
                "Send a key that is in force: Authorization: Bearer KEY",
                headers={"WWW-Authenticate": "Bearer"},
            )
        take_turn(request, service.rates, key.key_id)
        request.state.key_id = key.key_id
        if not key.allows(scope):
            raise Problem(
                403,
                "forbidden",
                "The key does not allow this",
                f"This takes a key with the scope {scope}.",
            )
        if operator and key.account_id is not None:
            raise Problem(
                403,
                "forbidden",
                "The key does not allow this",
                "This takes a key of the operator's.",
            )
        return key

    return find


def account_of(key: ApiKey, account_id: str | None) -> str:
    """Return the account that a request is about.

    A key of an account need not name it, and may name no other one.

    Raises:
        Problem: it is not the key's, or a key of the operator's names none.
    """
    if key.account_id is None:
        if account_id is None:
            raise invalid("account_id", "a key of the operator's must name the account")
        return account_id
    if account_id not in (None, key.account_id):
        raise account_not_found(str(account_id))
    return key.account_id


def actor_of(key: ApiKey) -> str:
    """Return the name under which the journal keeps what a key changed."""
    return f"key {key.key_id}"


may_execute = caller(Scope.EXECUTE)
Executing = Annotated[ApiKey, Depends(may_execute)]
Previewing = Annotated[ApiKey, Depends(caller(Scope.PREVIEW))]
BillingReader = Annotated[ApiKey, Depends(caller(Scope.BILLING_READ))]
BillingWriter = Annotated[ApiKey, Depends(caller(Scope.BILLING_WRITE))]
Admin = Annotated[ApiKey, Depends(caller(Scope.ADMIN))]
OperatorBilling = Annotated[ApiKey, Depends(caller(Scope.BILLING_WRITE, operator=True))]
"""A key of the operator's: nobody gives credits to themselves."""
OperatorAdmin = Annotated[ApiKey, Depends(caller(Scope.ADMIN, operator=True))]
"""A key of the operator's that may do everything."""
