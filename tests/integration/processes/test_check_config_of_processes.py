"""``check-config`` compares the file with what processes run, and never fails for it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from redis import Redis

from runtime.cli.commands.check_config import check_config
from runtime.config import load_config
from runtime.config.version import config_version
from runtime.processes.running import Running
from runtime.redis.keys import Keys
from tests.harness.configs import right
from tests.harness.servers import free_ports

OLD = "a" * 12
SINCE_MS = 1_795_780_800_000


@pytest.fixture
def file(tmp_path: Path, redis_url: str, key_prefix: str) -> Path:
    return written(tmp_path, url=redis_url, key_prefix=key_prefix)


def written(folder: Path, **redis: Any) -> Path:
    path = folder / "config.yaml"
    told = {
        "alerts": {"operator": {"emails": ["ops@example.com"]}},
        "email": {"host": "smtp.example.com", "sender": "credits@example.com"},
    }
    path.write_text(json.dumps({**right(), **told, "redis": redis}), encoding="utf-8")
    return path


def check(file: Path, *arguments: str) -> Result:
    result = CliRunner().invoke(check_config, ["--config", str(file), *arguments])
    assert result.exit_code == 0, result.output
    return result


def runs(url: str, keys: Keys, *versions: str) -> None:
    with Redis.from_url(url) as redis:
        for number, version in enumerate(versions):
            member = Running(f"{number:016x}", version, SINCE_MS + number, "web-1").member
            redis.zadd(keys.processes(), {member: time.time() * 1000})


def test_processes_with_another_configuration_are_told(
    file: Path, redis_url: str, key_prefix: str
) -> None:
    own = config_version(load_config(file))
    runs(redis_url, Keys(key_prefix), OLD, OLD, own)
    result = check(file)
    assert result.stderr == (
        f"warning: 2 processes run configuration {OLD} (on web-1), {file} is {own} "
        "(since 2026-11-27T12:00:00Z): reload or restart them\n"
    )
    assert f"{file}: OK" in result.stdout

    found = json.loads(check(file, "--json").stdout)
    assert found["ok"] is True
    assert found["version"] == own
    assert found["processes"] == {
        "same": 1,
        "others": [
            {
                "version": OLD,
                "processes": 2,
                "hosts": ["web-1"],
                "since": "2026-11-27T12:00:00Z",
            }
        ],
        "not_seen_because": None,
    }


def test_processes_with_the_same_configuration_are_no_news(
    file: Path, redis_url: str, key_prefix: str
) -> None:
    runs(redis_url, Keys(key_prefix), config_version(load_config(file)))
    assert check(file).stderr == ""


def test_what_others_wrote_under_the_key_does_no_harm(
    file: Path, redis_url: str, key_prefix: str
) -> None:
    key = Keys(key_prefix).processes()
    with Redis.from_url(redis_url) as redis:
        redis.zadd(key, {b"\xff{": time.time() * 1000, "x" * 100_000: time.time() * 1000})
        assert check(file).stderr == ""
        redis.delete(key)
        redis.set(key, "a text")
    assert "which configuration runs is not known: " in check(file).stderr


def test_without_redis_it_says_that_it_does_not_know(tmp_path: Path) -> None:
    [port] = free_ports(1)
    file = written(tmp_path, url=f"redis://127.0.0.1:{port}", timeout_ms=500)
    assert check(file).stderr.startswith("note: which configuration runs is not known: ")
    found = json.loads(check(file, "--json").stdout)["processes"]
    assert found["same"] is None
    assert found["not_seen_because"]


def test_no_server_is_started_to_look(tmp_path: Path) -> None:
    file = written(tmp_path, url="embedded")
    assert check(file).stderr == ""
    found = json.loads(check(file, "--json").stdout)["processes"]
    assert found["not_seen_because"] == "redis.url is embedded"
    assert not list(tmp_path.glob("**/redis"))
