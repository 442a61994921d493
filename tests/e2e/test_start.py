"""A process that calls no model loads nothing that only calls need."""

from __future__ import annotations

import json

import pytest

from tests.harness.command_line import Home, end
from tests.harness.configs import right

_FOR_CALLS = {"litellm", "openai", "httpx", "aiohttp", "tiktoken"}
_FOR_EXECUTIONS = {"tenacity", "runtime.executions", "runtime.campaigns", "runtime.bootstrap"}


def _loaded(home: Home, *args: str) -> set[str]:
    """Return the modules that a command imported."""
    ended = end(home.start(*args, PYTHONPROFILEIMPORTTIME="1"))
    assert ended.status == 0, ended.stderr
    lines = [line for line in ended.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip() for line in lines}


@pytest.mark.parametrize(
    "args",
    [
        ("balance", "--account", "acme"),
        *(
            pytest.param(args, marks=pytest.mark.long)
            for args in (
                ("account", "open", "other", "--plan", "growth"),
                ("purchase", "--account", "acme", "--credits", "100000", "--reference", "r"),
                ("cap", "list", "--account", "acme"),
                ("sweep",),
            )
        ),
    ],
)
def test_a_command_for_accounts_loads_neither_litellm_nor_what_runs_actions(
    home: Home, args: tuple[str, ...]
) -> None:
    home.open_account("acme", amount_mc=1_000)
    loaded = _loaded(home, *args)
    assert "redis.asyncio" in loaded
    assert not loaded & (_FOR_CALLS | _FOR_EXECUTIONS)


def test_checking_a_config_loads_neither_litellm_nor_redis(home: Home) -> None:
    home.write("embedded.yaml", json.dumps(right()))
    loaded = _loaded(home, "check-config", "--config", "embedded.yaml")
    assert not loaded & (_FOR_CALLS | {"redis"})


@pytest.mark.long
def test_comparing_a_config_with_the_processes_loads_no_litellm(home: Home) -> None:
    assert not _loaded(home, "check-config") & (_FOR_CALLS | _FOR_EXECUTIONS)
