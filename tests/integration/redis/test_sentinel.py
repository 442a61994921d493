"""Finding the primary: what the configuration names, and what is said where it can't be found."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from runtime.config import Config, parse_config
from runtime.credits.results import LedgerError, LedgerUnavailable
from runtime.ledger_opening import open_ledger
from tests.harness.sentinels import MASTER, SentinelGroup, SentinelProcess
from tests.harness.servers import (
    NEWER,
    OLDEST,
    VALKEY,
    Server,
    ServerProgramMissing,
    free_ports,
    program,
    refuse_or_skip,
)

pytestmark = pytest.mark.long

PASSWORD = "a-password-of-its-own"
SECRETS = {"env": "PASSWORD"}


@pytest.fixture(scope="module", params=[OLDEST, NEWER, VALKEY])
def group(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SentinelGroup]:
    """Servers behind sentinels, all of which want a password."""
    try:
        made = SentinelGroup(
            tmp_path_factory.mktemp("sentinels"), replicas=1, kind=request.param, password=PASSWORD
        )
    except ServerProgramMissing as error:
        refuse_or_skip(error)
        raise
    made.start()
    yield made
    made.stop()


def config_of(folder: Path, where: list[str] | str, prefix: str, **redis: Any) -> Config:
    """A configuration that names sentinels, or one address."""
    section = {"password": SECRETS, "key_prefix": prefix}
    if isinstance(where, str):
        section |= {"url": where}
    else:
        sentinel = {"master": MASTER, "nodes": where, "password": SECRETS}
        section |= {"sentinel": sentinel | redis.pop("sentinel", {})}
    written = {
        "version": 1,
        "data_dir": str(folder / "data"),
        "redis": section | redis,
        "plans": {"growth": {"ai_credits": True}},
    }
    environ = {"PASSWORD": PASSWORD, "OTHER": "wrong"}
    return parse_config(json.dumps(written), base_dir=folder, environ=environ)


async def open_account(config: Config) -> int:
    async with open_ledger(config) as ledger:
        await ledger.accounts.open_account("acme", plan="growth")
        return (await ledger.accounts.balance("acme")).available_mc


async def test_the_configured_sentinels_lead_to_the_primary(
    group: SentinelGroup, key_prefix: str, tmp_path: Path
) -> None:
    assert await open_account(config_of(tmp_path, group.nodes, key_prefix)) == 0
    with Redis(port=group.primary.port, password=PASSWORD) as client:
        assert client.exists(f"{key_prefix}:installation")


async def test_a_sentinel_that_hangs_and_one_that_is_gone_stop_nobody(
    group: SentinelGroup, key_prefix: str, tmp_path: Path
) -> None:
    nodes = [f"127.0.0.1:{free_ports(1)[0]}", *group.nodes]
    group.sentinels[0].pause()
    try:
        assert await open_account(config_of(tmp_path, nodes, key_prefix)) == 0
    finally:
        group.sentinels[0].resume()


async def test_without_sentinels_a_process_does_not_start_and_one_that_runs_goes_on(
    group: SentinelGroup, key_prefix: str, tmp_path: Path
) -> None:
    config = config_of(tmp_path, group.nodes, key_prefix)
    async with open_ledger(config) as ledger:
        await ledger.accounts.open_account("acme", plan="growth")
        for sentinel in group.sentinels:
            sentinel.stop(signal.SIGKILL)
        try:
            await asyncio.sleep(2.1)  # what was told before is no longer taken for granted
            for _ in range(3):
                assert (await ledger.accounts.balance("acme")).available_mc == 0
                await ledger.watch.look()
            with pytest.raises(LedgerUnavailable, match=f"no sentinel tells where {MASTER} is"):
                await open_account(config)
        finally:
            for sentinel in group.sentinels:
                sentinel.start()
        assert (await ledger.accounts.balance("acme")).available_mc == 0


@pytest.mark.parametrize(
    "redis, told",
    [
        ({"sentinel": {"master": "another"}}, "No such master"),
        ({"sentinel": {"password": {"env": "OTHER"}}}, "(?i)invalid|auth|pass"),
        ({"password": {"env": "OTHER"}}, "(?i)invalid|auth|pass"),
        ({"password": None}, "(?i)auth"),
    ],
)
async def test_what_is_wrong_with_the_configuration_is_said_without_its_secrets(
    group: SentinelGroup, key_prefix: str, tmp_path: Path, redis: dict[str, Any], told: str
) -> None:
    with pytest.raises(LedgerUnavailable, match=told) as refused:
        await open_account(config_of(tmp_path, group.nodes, key_prefix, **redis))
    assert PASSWORD not in str(refused.value)


async def test_a_sentinel_that_is_configured_as_a_server_is_refused_with_the_right_key(
    group: SentinelGroup, key_prefix: str, tmp_path: Path
) -> None:
    config = config_of(tmp_path, f"redis://{group.nodes[0]}", key_prefix)
    with pytest.raises(LedgerError, match=r"is a sentinel: name it under redis\.sentinel"):
        await open_account(config)


@pytest.fixture
def over_tls(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A sentinel's address over TLS, and the certificate of it and of its server."""
    openssl = shutil.which("openssl")
    try:
        path = program(NEWER)
    except ServerProgramMissing as error:
        refuse_or_skip(error)
        raise
    if openssl is None:
        pytest.skip("no openssl")
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    data_port, plain_port, sentinel_port = free_ports(3)
    tls = {
        "tls-cert-file": str(certificate),
        "tls-key-file": str(key),
        "tls-ca-cert-file": str(certificate),
        "tls-auth-clients": "no",
        "tls-replication": "yes",
    }
    server = Server(path, tmp_path / "server", 0, {"tls-port": str(data_port), **tls})
    lines = [f"{name} {value}" for name, value in {"tls-port": sentinel_port, **tls}.items()]
    lines += [f"sentinel monitor {MASTER} 127.0.0.1 {data_port} 1"]
    sentinel = SentinelProcess(path, tmp_path / "sentinel", plain_port, lines)
    try:
        server.start()
        sentinel.start()
        yield f"127.0.0.1:{sentinel_port}", certificate
    finally:
        sentinel.stop()
        server.stop()


async def test_sentinel_and_server_are_reached_over_tls_and_their_certificates_checked(
    over_tls: tuple[str, Path], key_prefix: str, tmp_path: Path
) -> None:
    node, certificate = over_tls
    trusting = {"tls": True, "ca_file": str(certificate), "password": None}
    config = config_of(tmp_path, [node], key_prefix, sentinel=trusting, password=None)
    assert await open_account(config) == 0

    distrusting = {"tls": True, "password": None}
    config = config_of(tmp_path, [node], key_prefix, sentinel=distrusting, password=None)
    with pytest.raises(LedgerUnavailable, match=r"(?i)certificate"):
        await open_account(config)
