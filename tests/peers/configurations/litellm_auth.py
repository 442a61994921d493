"""The hook that LiteLLM Proxy asks who calls, and with which budget: docs, proxy/custom_auth."""

import os

from litellm.proxy._types import UserAPIKeyAuth
from litellm.proxy.hooks.proxy_track_cost_callback import ProxyDBLogger

_MAX_BUDGET = float(os.environ["PEERS_BUDGET_USD"])


async def user_api_key_auth(request, api_key):
    """Return the one key that there is, with its budget."""
    return UserAPIKeyAuth(api_key=api_key, user_id="bench", max_budget=_MAX_BUDGET)


settlement = ProxyDBLogger()
