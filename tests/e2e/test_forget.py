"""``creditgate forget`` as an operator has it."""

from __future__ import annotations

import signal
import subprocess
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from runtime.config import load_config
from runtime.redis.keys import Keys
from tests.harness.command_line import Home, end, wait_until

WHY = ("--reason", "request of 12 May", "--actor", "ann@example.com")
FORGET = ("forget", "--account", "acme", *WHY)
WORDS = "Where is my new card"


@pytest.fixture
def redis(redis_url: str) -> Iterator[Any]:
    """The server of all homes."""
    with Redis.from_url(redis_url) as client:
        yield client


def prefix_of(home: Home) -> str:
    return load_config(home.folder / "config.yaml").redis.key_prefix


def run_people(home: Home, campaign: str = "cards") -> dict[str, dict[str, object]]:
    """Run the action for two people with an id like no other's; return the results by id."""
    mark = uuid.uuid4().hex
    rows = [f'{name}-{mark}@example.com,"{WORDS} {mark}?"' for name in ("ada", "bob")]
    people = home.write("people.csv", "\n".join(["person_id,message", *rows]))
    ran = home.run(
        "run",
        "--action",
        "route_message",
        "--people",
        people,
        "--account",
        "acme",
        "--campaign",
        campaign,
        "--out",
        "results.jsonl",
        "--force",
    )
    assert ran.status == 0, ran.stderr
    return home.results()


def next_key(redis: Any, prefix: str, process: subprocess.Popen[str]) -> bytes:
    """Wait until an erasure has begun; return the name of the hash that says how far it came."""
    name = Keys(prefix).forgetting("acme", "request-31")
    wait_until(lambda: bool(redis.exists(name)) or process.poll() is not None)
    return name.encode()


def everything_in(redis: Any, prefix: str) -> bytes:
    """Every key of a prefix, by its name and with its content."""
    found = []
    for name in redis.scan_iter(f"{prefix}:*", count=1_000):
        match redis.type(name):
            case b"string":
                content: object = redis.get(name)
            case b"hash":
                content = redis.hgetall(name)
            case b"set":
                content = redis.smembers(name)
            case b"zset":
                content = redis.zrange(name, 0, -1, withscores=True)
            case _:
                content = redis.xrange(name)
        found.append(f"{name!r} {content!r}")
    return "\n".join(found).encode()


def test_law_3f_a_person_is_forgotten_everywhere_and_the_charge_stays(
    home: Home, redis: Any
) -> None:
    home.open_account("acme", amount_mc=100_000_000)
    results = run_people(home)
    ada = next(name for name in results if name.startswith("ada"))
    mark = ada.partition("-")[2].partition("@")[0]
    prefix = prefix_of(home)
    assert everything_in(redis, prefix).count(b'"v":') == 2
    charged_mc = home.balance("acme").charged_mc
    (home.folder / "results.jsonl").unlink()
    (home.folder / "people.csv").unlink()

    done = home.run(*FORGET, "--person", ada, "--reference", "request-31", "--json")
    assert done.status == 0, done.stderr
    assert done.json["removed"] == {"outcomes": 1, "queue": 0, "spool": 0}
    assert done.json["reference"] == "request-31"
    assert mark not in done.stdout + done.stderr
    again = home.invoke(*FORGET, "--person", ada, "--reference", "request-31")
    assert again.status == 0
    assert again.stdout == (
        "Removed the person's values: 1 in outcomes, 0 in queue, 0 in spool. The charges stay. "
        "Recorded in the journal of account acme as forget:request-31.\n"
    )

    left = everything_in(redis, prefix)
    assert left.count(b"forgotten;1;request of 12 May") == 1
    assert left.count(b'"v":') == 1  # Bob's
    assert b"ada-" not in left
    assert home.invoke("archive").status == 0
    files = [path for path in home.folder.rglob("*") if path.is_file()]
    assert any(b"forgotten;1;" in path.read_bytes() for path in files), "it is archived"
    for path in files:
        assert b"ada-" not in path.read_bytes(), path
    assert home.invoke("audit").status == 0
    assert home.balance("acme").charged_mc == charged_mc > 0


def test_what_can_not_be_forgotten_is_refused_and_changes_nothing(home: Home, redis: Any) -> None:
    home.open_account("acme", amount_mc=1_000)
    person = ("--person", "ada")
    used = home.invoke(*FORGET, *person, "--reference", "r-1")
    assert used.status == 0
    before = everything_in(redis, prefix_of(home))
    for args, words in (
        (("forget", "--account", "nobody", *WHY, *person), "creditgate account open nobody"),
        (("forget", "--account", "a b", *WHY, *person), "account_id"),
        ((*FORGET, "--person", ""), "person_id: what was given is not text of 1 to 200"),
        ((*FORGET, "--person", "a\tb"), "person_id"),
        ((*FORGET, "--person", "x" * 201), "person_id"),
        (("forget", "--account", "acme", *person), "Missing option '--reason'"),
        ((*FORGET, *person, "--reason", ""), "reason"),
        ((*FORGET, *person, "--actor", "a\nb"), "actor"),
        ((*FORGET, *person, "--reference", ""), "reference"),
        ((*FORGET, "--person", "bob", "--reference", "r-1"), "was used before, for another person"),
        ((*FORGET, *person, "--config", "nowhere.yaml"), "nowhere.yaml"),
    ):
        refused = home.invoke(*args)
        assert refused.status == 2, args
        assert words in refused.stderr, args
        assert "Traceback" not in refused.stderr
    assert everything_in(redis, prefix_of(home)) == before


def test_without_redis_nothing_is_forgotten_and_the_status_says_so(home: Home) -> None:
    config = home.folder / "config.yaml"
    url = load_config(config).redis.url
    config.write_text(config.read_text().replace(url, "redis://127.0.0.1:1/0"))
    away = home.invoke(*FORGET, "--person", "ada", "--json")
    assert away.status == 2
    assert "can't use the ledger's Redis" in away.json["error"]["message"]


@pytest.mark.parametrize(
    "number, status",
    [
        (signal.SIGKILL, -9),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.long),
    ],
)
def test_law_3f_an_erasure_that_was_stopped_midway_goes_on_under_its_reference(
    home: Home, redis: Any, number: signal.Signals, status: int
) -> None:
    home.open_account("acme", amount_mc=100_000_000)
    people = home.people(1)
    prefix = prefix_of(home)
    ran = home.invoke("run", "--action", "route_message", "--people", people, "--account", "acme")
    assert ran.status == 0
    [outcome] = redis.scan_iter(f"{prefix}:*:o:*", count=1_000)
    others = [outcome + b"%d" % copy for copy in range(200)]
    value = redis.get(outcome)
    for name in others:
        redis.set(name, value, px=3_600_000)
    fillers = "for i = 1, 80000 do redis.call(ARGV[1], KEYS[1] .. i, ARGV[2]) end"
    redis.eval(fillers, 1, f"{prefix}:filler:", "SET", "")
    try:
        args = (*FORGET, "--person", "p0000", "--reference", "request-31")
        stopped = home.start(*args)
        progress = next_key(redis, prefix, stopped)
        wait_until(lambda: bool(redis.hget(progress, "cursor")))
        stopped.send_signal(number)
        ended = end(stopped)
        assert ended.status == status
        assert redis.hget(progress, "cursor") != b"end", "it was too quick to be stopped"
        if number is signal.SIGINT:
            assert "--reference request-31" in ended.stderr
        done = home.run(*args, "--json")
    finally:
        redis.eval(fillers.replace(", ARGV[2]", ""), 1, f"{prefix}:filler:", "UNLINK")
    assert done.status == 0, done.stderr
    assert done.json["removed"]["outcomes"] == 201
    assert all(redis.get(name).endswith(b"\n") for name in [outcome, *others])
    assert everything_in(redis, prefix).count(b"forgotten;201;") == 1
    assert home.balance("acme").conserved
