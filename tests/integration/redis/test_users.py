"""A server with access control lists lets in the user that the config names, and nobody else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from redis import Redis

from runtime.config import Config, parse_config
from runtime.credits.results import LedgerUnavailable
from runtime.ledger_opening import open_ledger
from tests.harness.servers import (
    CLUSTER,
    CLUSTER_SCHEME,
    NEWER,
    OLDEST,
    VALKEY,
    Cluster,
    Server,
    ServerProgramMissing,
    free_ports,
    program,
    refuse_or_skip,
)

USER, PASSWORD = "worker", "a-password-of-its-own"


@pytest.fixture(scope="module", params=[OLDEST, NEWER, CLUSTER, VALKEY])
def address(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The address of a server that lets one user in, and not the one without a name."""
    folder = tmp_path_factory.mktemp("users")
    try:
        server = (
            Cluster(folder)
            if request.param == CLUSTER
            else Server(program(request.param), folder, free_ports(1)[0])
        )
    except ServerProgramMissing as error:
        refuse_or_skip(error)
        raise
    server.start()
    try:
        for node in server.servers if isinstance(server, Cluster) else [server]:
            with Redis.from_url(node.url) as admin:
                admin.execute_command(
                    "ACL", "SETUSER", USER, "on", f">{PASSWORD}", "~*", "&*", "+@all"
                )
                admin.execute_command("ACL", "SETUSER", "default", "off")
        yield server.url
    finally:
        server.stop()


def config_with(folder: Path, address: str, *lines: str) -> Config:
    is_cluster = address.startswith(CLUSTER_SCHEME)
    lines = (
        f"url: {address.removeprefix(CLUSTER_SCHEME)}",
        f"cluster: {str(is_cluster).lower()}",
        *lines,
    )
    text = "\n".join(
        ["version: 1", "data_dir: data", "plans: {growth: {ai_credits: true}}", "redis:"]
        + [f"  {line}" for line in lines]
    )
    return parse_config(text, base_dir=folder, environ={"PASSWORD": PASSWORD, "OTHER": "wrong"})


async def open_account(config: Config) -> int:
    async with open_ledger(config) as ledger:
        await ledger.accounts.open_account("acme", plan="growth")
        return (await ledger.accounts.balance("acme")).available_mc


async def test_the_named_user_gets_in(tmp_path: Path, address: str) -> None:
    config = config_with(tmp_path, address, f"username: {USER}", "password: {env: PASSWORD}")
    assert await open_account(config) == 0


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ("password: {env: PASSWORD}",),
        (f"username: {USER}", "password: {env: OTHER}"),
        ("username: somebody", "password: {env: PASSWORD}"),
    ],
)
async def test_others_are_told_that_redis_refuses_them(
    tmp_path: Path, address: str, lines: tuple[str, ...]
) -> None:
    with pytest.raises(LedgerUnavailable) as caught:
        await open_account(config_with(tmp_path, address, *lines))
    assert PASSWORD not in str(caught.value)
