"""House rules of the Lua files."""

from __future__ import annotations

import re
from importlib.resources import files

import pytest

from runtime.credits import scripts
from runtime.redis.keys import Keys

LUA = files("runtime.credits").joinpath("lua")
NAMES = sorted(path.name for path in LUA.iterdir())
CALL = re.compile(r"(?:redis\.p?call|fetch|add|in_chunks)\(\s*'(\w+)',?\s*([^,)]*)")


@pytest.mark.parametrize("name", NAMES)
def test_a_lua_file_is_small_and_opens_by_saying_what_it_does(name: str) -> None:
    lines = LUA.joinpath(name).read_text("utf-8").splitlines()

    assert lines[0].startswith("-- ")
    assert len(lines) <= 160
    assert max(map(len, lines)) <= 108


def test_every_lua_file_is_in_a_script() -> None:
    found = scripts.assemble()

    for name in NAMES:
        first = LUA.joinpath(name).read_text("utf-8").partition("\n")[0]
        assert first in found.executions.source or first in found.accounts.source


@pytest.mark.parametrize("name", NAMES)
def test_no_key_is_made_in_lua(name: str) -> None:
    """In Cluster, a key that is not declared may be in another slot, found out after a write."""
    calls = CALL.findall(LUA.joinpath(name).read_text("utf-8"))

    for command, key in calls:
        if command != "TIME":
            assert re.fullmatch(r"K\.\w+|key|unpack\(keys", key), (command, key)


def test_every_key_is_declared_in_the_order_in_which_the_client_sends_them() -> None:
    table = re.search(
        r"local K = \{(.*?)\}", LUA.joinpath("state.lua").read_text("utf-8"), re.DOTALL
    )
    assert table is not None
    named = re.findall(r"(\w+) = KEYS\[(\d+)\],", table[1])

    assert re.sub(r"\w+ = KEYS\[\d+\],|\s", "", table[1]) == ""
    assert [int(number) for _, number in named] == [*range(1, len(named) + 1)]
    sent = [name.rpartition(":")[2] for name in Keys("cg1").of_account("acme")]
    assert [name.removeprefix("bucket_") for name, _ in named] == sent
    for name in NAMES:
        text = LUA.joinpath(name).read_text("utf-8")
        assert re.search(r"\bK(\.\w+|\[.*?\]) = ", text) is None
        if name not in ("state.lua", "main.lua"):
            assert "KEYS[" not in text


def test_only_the_files_before_the_last_one_write() -> None:
    writing = re.compile(r"'(HSET|HDEL|ZADD|ZREM|XADD|SET|SADD|SREM|DEL|UNLINK|EXPIRE)'")

    found = [name for name in NAMES if writing.search(LUA.joinpath(name).read_text("utf-8"))]
    assert found == ["write.lua", "write_alerts.lua", "write_rebuilt.lua"]


def test_the_clock_can_be_another_and_changes_the_scripts_name() -> None:
    shipped = scripts.batch_scripts()
    other = scripts.assemble("local function server_ms() return 5 end")

    for of_shipped, of_other in (
        (shipped.executions, other.executions),
        (shipped.accounts, other.accounts),
    ):
        assert "'TIME'" in of_shipped.source
        assert "'TIME'" not in of_other.source
        assert of_shipped.sha != of_other.sha
    assert scripts.batch_scripts() is shipped
