"""What is wrong is said clearly, with exit status 2, no trace, and nothing charged."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.harness.command_line import Ended, Home, new_home

MOST = "9007199254740.991"
ESTIMATE = ("estimate", "--action", "route_message", "--people")
RUN = ("run", "--action", "route_message", "--account", "acme", "--people")
GRANT = ("grant", "--account", "acme", "--kind", "plan", "--reference", "r", "--credits")
BUY = ("purchase", "--reference", "r", "--credits")
VOID = ("void", "--account", "acme", "--grant", "g1", "--reason", "why", "--reference")
CAP = ("--account", "acme", "--window", "day", "--reference", "r")
SET_CAP = ("cap", "set", *CAP, "--limit")
REMOVE_CAP = ("cap", "remove", *CAP)
PLAN = ("account", "plan", "acme", "--reference", "r", "--plan")
CLOSE = ("account", "close", "acme", "--reason", "why", "--reference")
SWITCH = ("account", "switch", "acme", "off", "--reference")
PREVIEW = ("preview", "--account", "acme", "--action", "route_message")

# Eight sorts of caps, which an account may have; a day without dimensions is not among them.
SORTS: list[tuple[str, ...]] = [
    *itertools.product(("day", "month"), ("--workspace", "--campaign", "--action"), ("x",)),
    ("month",),
    ("total",),
]

FILES: dict[str, str | bytes] = {
    "good.csv": "person_id,message\np1,hello\n",
    "empty.csv": "",
    "header.csv": "person_id,message\n",
    "no_id.csv": "personid,message\np1,hello\n",
    "column.csv": "person_id,mesage\np1,hello\np2,hello\n",
    "latin.csv": b"person_id,message\np1,na\xefve\n",
    "twice.csv": "person_id,message\np1,a\np2,b\np1,c\n",
    "cells.csv": "person_id,message\np1,a,b\n",
    "broken.jsonl": '{"person_id": "p1", "message": "a"}\n{"person_id": \n',
    "long.jsonl": json.dumps({"person_id": "p" * 201, "message": "a"}) + "\n",
    "control.jsonl": json.dumps({"person_id": "p\t1", "message": "a"}) + "\n",
    "people.txt": "p1\n",
    "misspelt.yaml": "version: 1\nplanz: {}\nplans: {growth: {ai_credits: true}}\n",
}

CASES: list[tuple[tuple[str, ...], list[str]]] = [
    ((*RUN, "missing.csv"), ["missing.csv", "no such file"]),
    ((*ESTIMATE, "missing.csv"), ["missing.csv", "no such file"]),
    ((*ESTIMATE, "header.csv"), ["header.csv", "no people"]),
    ((*ESTIMATE, "latin.csv"), ["latin.csv", "UTF-8"]),
    ((*ESTIMATE, "control.jsonl"), ["control.jsonl, line 1", "person_id"]),
    ((*ESTIMATE, "column.csv"), ["customer.message", "did you mean 'customer.mesage'"]),
    ((*ESTIMATE, "good.csv", "--sample", "1"), ["--sample"]),
    ((*ESTIMATE, "good.csv", "--account", "nosuch"), ["nosuch", "creditgate account open"]),
    (
        ("estimate", "--action", "route_mesage", "--people", "good.csv"),
        ["--action", "did you mean 'route_message'"],
    ),
    ((*RUN, "."), ["*.csv, *.jsonl"]),
    ((*RUN, "people.txt"), ["people.txt", "*.csv, *.jsonl"]),
    ((*RUN, "empty.csv"), ["empty.csv", "is empty"]),
    ((*RUN, "header.csv"), ["header.csv", "no people"]),
    ((*RUN, "no_id.csv"), ["line 1", "'person_id'", "did you mean 'personid'"]),
    (
        (*RUN, "column.csv"),
        ["customer.message", "route_message", "did you mean 'customer.mesage'"],
    ),
    ((*RUN, "latin.csv"), ["line 2", "byte 23", "UTF-8"]),
    ((*RUN, "twice.csv"), ["person_id", "lines 2 and 4"]),
    ((*RUN, "cells.csv"), ["line 2", "3 cells"]),
    ((*RUN, "broken.jsonl"), ["line 2", "column", "JSON"]),
    ((*RUN, "long.jsonl"), ["line 1", "person_id", "200 characters"]),
    ((*RUN, "control.jsonl"), ["line 1", "person_id", "control characters"]),
    ((*RUN, "good.csv", "--campaign", "a.b"), ["--campaign", "'a.b'"]),
    ((*RUN, "good.csv", "--workspace", ""), ["workspace_id"]),
    ((*RUN, "good.csv", "--out", "good.csv"), ["--out", "people file"]),
    ((*RUN, "good.csv", "--concurrency", "0"), ["--concurrency", "1<=x<=1000"]),
    ((*RUN, "good.csv", "--limit", "-1"), ["--limit"]),
    (
        ("run", "--action", "route_mesage", "--account", "acme", "--people", "good.csv"),
        ["'route_mesage'", "did you mean 'route_message'"],
    ),
    (
        ("run", "--action", "route_message", "--account", "nobody", "--people", "good.csv"),
        ["'nobody'", "creditgate account open"],
    ),
    (("run", "--action", "route_message", "--people", "good.csv"), ["--account"]),
    ((*PREVIEW, "--person", "{"), ["--person", "JSON"]),
    ((*PREVIEW, "--person", "[]"), ["--person", "object"]),
    ((*PREVIEW, "--attribute", "message"), ["--attribute", "first_name=Ann"]),
    ((*PREVIEW, "--attribute", "a=1", "--attribute", "a.b=2"), ["customer.a.b"]),
    ((*PREVIEW, "--people", "good.csv", "--person-id", "p9"), ["--person-id", "good.csv"]),
    (
        ("preview", "--account", "nobody", "--action", "route_message"),
        ["'nobody'", "creditgate account open"],
    ),
    (("balance", "--account", "nobody"), ["'nobody'", "creditgate account open"]),
    (("balance", "--account", "no body"), ["account_id", "'no body'"]),
    (("account", "open", "acme", "--plan", "growht"), ["plan", "'growht'", "growth"]),
    (("account", "open", "acme", "--plan", "trial"), ["acme", "exists already", "growth"]),
    (("account", "open", "x", "--plan", "growth", "--timezone", "Mars"), ["timezone", "'Mars'"]),
    (
        ("account", "open", "x", "--plan", "growth", "--paying-since", "2026-02-30"),
        ["--paying-since", "2026-02-30"],
    ),
    ((*GRANT, "-5"), ["--credits", "-5", "0.001"]),
    ((*GRANT, "0"), ["--credits", "0.001"]),
    ((*GRANT, "0.0001"), ["--credits", "three decimals"]),
    ((*GRANT, "lots"), ["--credits", "'lots'"]),
    ((*GRANT, "nan"), ["--credits", "'nan'"]),
    ((*GRANT, "9007199254740.992"), ["--credits", "9,007,199,254,740.991"]),
    # The account has some already.
    ((*GRANT, MOST), ["acme", "all grants together"]),
    ((*GRANT, "5", "--expires-at", "tomorrow"), ["--expires-at", "'tomorrow'"]),
    ((*GRANT, "5", "--expires-at", "2026-12-31T12:00:00"), ["--expires-at", "offset"]),
    ((*GRANT, "5", "--priority", "1001"), ["--priority"]),
    (
        ("grant", "--account", "acme", "--kind", "plan", "--reference", "", "--credits", "5"),
        ["reference"],
    ),
    (
        ("grant", "--account", "trial", "--kind", "plan", "--reference", "r", "--credits", "5"),
        ["'trial'", "no AI credits"],
    ),
    ((*BUY, "150000", "--account", "acme"), ["150,000", "multiples of 100,000"]),
    ((*BUY, "-100000", "--account", "acme"), ["-100000", "multiples of 100,000"]),
    ((*BUY, "9007199300000", "--account", "acme"), ["9,007,199,300,000", "at most"]),
    ((*BUY, "100000", "--account", "trial"), ["'trial'", "no AI credits"]),
    ((*BUY, "100000", "--account", "nobody"), ["'nobody'", "creditgate account open"]),
    ((*BUY, "100000", "--account", "closed"), ["'closed'", "the account is closed"]),
    ((*VOID, "v", "--account", "nobody"), ["'nobody'", "creditgate account open"]),
    ((*VOID, "test"), ["'test'", "used before", "kind adjustment"]),
    ((*VOID, "v", "--grant", "g99"), ["no grant 'g99'", "creditgate balance"]),
    ((*VOID, "v", "--grant", "test"), ["no grant 'test'", "creditgate balance"]),
    ((*VOID, "v", "--reason", ""), ["reason", "1 to 200"]),
    (("void", "--account", "acme", "--grant", "g1", "--reference", "v"), ["--reason"]),
    ((*SET_CAP, "5", "--account", "nobody"), ["'nobody'", "creditgate account open"]),
    ((*SET_CAP, "5", "--reference", "test"), ["'test'", "used before", "kind adjustment"]),
    ((*SET_CAP, "5", "--window", "week"), ["--window", "'week'", "'month'"]),
    ((*SET_CAP, "-1"), ["--limit", "-1", "allowed are 0 to"]),
    ((*SET_CAP, "0.0001"), ["--limit", "three decimals"]),
    ((*SET_CAP, "all"), ["--limit", "'all'"]),
    ((*SET_CAP, "5", "--used", "-1"), ["--used", "-1"]),
    ((*SET_CAP, "5", "--source", "lvie"), ["--source", "'lvie'", "'live'"]),
    ((*SET_CAP, "5", "--workspace", ""), ["workspace_id", "1 to 1,000 characters"]),
    ((*SET_CAP, "5", "--action", "a\tb"), ["control character"]),
    ((*SET_CAP, "5", "--account", "capped", "--reference", "9th"), ["'capped'", "8 sorts"]),
    ((*REMOVE_CAP, "--account", "nobody"), ["'nobody'", "creditgate account open"]),
    ((*REMOVE_CAP, "--reference", "test"), ["'test'", "used before", "kind adjustment"]),
    (
        (*REMOVE_CAP, "--workspace", "retail"),
        ["no cap day;workspace_id=retail", "creditgate cap list"],
    ),
    ((*REMOVE_CAP, "--window", "week"), ["--window", "'week'"]),
    (("cap", "list", "--account", "nobody"), ["'nobody'", "creditgate account open"]),
    (("cap", "list", "--account", "no body"), ["account_id", "'no body'"]),
    (("account", "plan", "nobody", *PLAN[3:], "trial"), ["'nobody'", "creditgate account open"]),
    (("account", "plan", "closed", *PLAN[3:], "trial"), ["'closed'", "can't be changed"]),
    ((*PLAN, "trial", "--reference", "test"), ["'test'", "used before", "kind adjustment"]),
    ((*PLAN, "growht"), ["plan", "'growht'", "growth"]),
    ((*PLAN, "trial", "--paying-since", "June"), ["--paying-since", "June"]),
    (
        ("account", "close", "nobody", *CLOSE[3:], "c"),
        ["'nobody'", "creditgate account open nobody"],
    ),
    ((*CLOSE, "test"), ["'test'", "used before", "kind adjustment"]),
    ((*CLOSE, ""), ["reference", "1 to 200"]),
    (("account", "close", "acme", "--reference", "c"), ["--reason"]),
    (("account", "switch", "nobody", *SWITCH[3:], "s"), ["'nobody'", "creditgate account open"]),
    ((*SWITCH, "test"), ["'test'", "used before", "kind adjustment"]),
    (
        (*SWITCH, "s", "--workspace", "w", "--action", "a"),
        ["workspace_id, campaign_id, action", "one of them"],
    ),
    ((*SWITCH, "s", "--action", "a\tb"), ["control character"]),
    (("account", "switch", "acme", "of", "--reference", "s"), ["'of'", "'off'"]),
    (("mock-provider", "--error-rate", "2"), ["--error-rate", "0<=x<=1"]),
    (("mock-provider", "--scenario", "explode"), ["explode"]),
    (("mock-provider", "--host", "203.0.113.1"), ["can't listen on 203.0.113.1:8377: "]),
    (("demo", "--limit", "0"), ["--limit"]),
    (("ballance",), ["ballance", "balance"]),
    (("check-config", "--config", "misspelt.yaml"), ["misspelt.yaml:2:1", "planz", "plans"]),
    ((*RUN, "good.csv", "--config", "misspelt.yaml"), ["misspelt.yaml:2:1", "planz", "plans"]),
    *(
        ((*command, "--config", "absent.yaml"), ["absent.yaml", "cp ", "config.example.yaml"])
        for command in (
            ("check-config",),
            (*RUN, "good.csv"),
            PREVIEW,
            ("balance", "--account", "acme"),
            ("account", "open", "x", "--plan", "growth"),
            (*GRANT, "5"),
            (*BUY, "100000", "--account", "acme"),
            (*VOID, "v"),
            (*SET_CAP, "5"),
            REMOVE_CAP,
            ("cap", "list", "--account", "acme"),
            (*PLAN, "trial"),
            (*CLOSE, "c"),
            (*SWITCH, "s"),
        )
    ),
]


@pytest.fixture(scope="module")
def home(redis_url: str, mock_url: str, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """One home for all: what it is asked for here changes nothing."""
    made = new_home(tmp_path_factory.mktemp("home"), redis_url, mock_url)
    made.open_account("acme", amount_mc=5_000_000)
    made.open_account("trial", plan="trial")
    made.open_account("closed")
    assert made.invoke("account", "close", "closed", *CLOSE[3:], "c").status == 0
    made.open_account("capped")
    for number, (window, *named) in enumerate(SORTS):
        setting = ("cap", "set", "--account", "capped", "--window", window, *named)
        assert made.invoke(*setting, "--limit", "1", "--reference", f"{number}").status == 0
    for name, content in FILES.items():
        made.write(name, content)
    return made


@contextmanager
def nothing_changes(home: Home) -> Iterator[None]:
    def state() -> list[int]:
        accounts = home.balances("acme", "trial", "closed", "capped")
        return [home.calls(), *(account.journal_seq for account in accounts)]

    before = state()
    yield
    assert state() == before


def is_told(ended: Ended, words: list[str]) -> None:
    assert ended.status == 2, ended.stderr
    assert ended.stdout == ""
    for word in words:
        assert word in " ".join(ended.stderr.split()), f"no {word!r} in: {ended.stderr}"
    assert "Traceback" not in ended.stderr


def name_of(args: tuple[str, ...]) -> str:
    return " ".join(args)[:70]


@pytest.mark.parametrize("args, words", CASES, ids=[name_of(args) for args, _ in CASES])
def test_bad_input_is_told_and_changes_nothing(
    home: Home, args: tuple[str, ...], words: list[str]
) -> None:
    with nothing_changes(home):
        is_told(home.invoke(*args), words)


@pytest.mark.parametrize("args, words", CASES[::9], ids=[name_of(args) for args, _ in CASES[::9]])
def test_a_process_tells_bad_input_by_its_exit_status(
    home: Home, args: tuple[str, ...], words: list[str]
) -> None:
    with nothing_changes(home):
        is_told(home.run(*args), words)


def test_with_json_an_error_is_an_object_on_stdout(home: Home) -> None:
    unknown = home.run("balance", "--account", "nobody", "--json")
    assert unknown.status == 2
    assert unknown.json["error"]["kind"] == "AccountUnknown"
    assert "'nobody'" in unknown.json["error"]["message"]

    wrong = home.run("balance", "--account", "acme", "--config", "misspelt.yaml", "--json")
    [mistake] = wrong.json["error"]["mistakes"]
    assert (mistake["line"], mistake["column"]) == (2, 1)

    absent = home.run("balance", "--account", "acme", "--config", "absent.yaml", "--json")
    assert absent.json["error"]["kind"] == "BadInput"

    usage = home.run("balance", "--json")
    assert "--account" in usage.json["error"]["message"]


def test_redis_that_is_away_is_told_in_a_sentence(home: Home) -> None:
    config = (home.folder / "config.yaml").read_text("utf-8")
    away = re.sub(
        "^  url: .*$", "  url: unix:///nowhere/redis.sock", config, count=1, flags=re.MULTILINE
    )
    home.write("away.yaml", away)
    ended = home.run("balance", "--account", "acme", "--config", "away.yaml")
    assert ended.status == 2
    assert "can't use the ledger's Redis" in ended.stderr
    assert "Traceback" not in ended.stderr
