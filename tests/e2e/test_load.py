"""``creditgate load``: what it measures, finds where a promise is broken, and refuses."""

from __future__ import annotations

import json
import re
import shlex
import signal
import time
import urllib.request
from pathlib import Path

import pytest
import redis

from tests.harness.command_line import Home, end, wait_until
from tests.harness.doctoring import (
    Doctor,
    Doctoring,
    charge_twice,
    drop_settlement,
    give_for_nothing,
    leak,
)
from tests.harness.pages import blocks
from tests.harness.servers import free_ports

SHORT = ("--rate", "15", "--duration", "3s", "--latency-ms", "30")


@pytest.mark.long
@pytest.mark.parametrize(
    "doctor, amount, broken",
    [
        (give_for_nothing, "300", "overspent_mc"),
        (leak, "100000", "leaks"),
        (charge_twice, "100000", "double_charges"),
        (drop_settlement, "100000", "lost_settlements"),
    ],
)
def test_each_promise_that_is_broken_is_found_and_exits_with_1(
    home: Home, redis_url: str, doctor: Doctor, amount: str, broken: str
) -> None:
    with Doctoring(redis_url, "load-*:{b*}:load-*", doctor) as doctoring:
        ended = home.run(
            *("load", "--config", "config.yaml", *SHORT, "--accounts", "1", "--credits", amount),
            "--json",
        )
    assert doctoring.done, ended.stderr
    assert ended.status == 1, ended.stderr
    verdict = ended.json["verdict"]
    assert verdict["holds"] is False
    assert verdict[broken] > 0
    assert verdict["details"]
    if doctor in (leak, charge_twice):
        assert verdict["audit_differences"] == 0, "these books balance; the comparison finds it"
    others = {"overspent_mc", "leaks", "double_charges", "lost_settlements"} - {broken}
    assert {name: verdict[name] for name in others} == dict.fromkeys(others, 0), verdict
    page = (home.folder / "load-report" / "load.html").read_text("utf-8")
    assert "Not every promise was kept" in page


@pytest.mark.long
def test_a_load_keeps_its_promises_and_leaves_nothing_in_the_redis_that_it_used(
    home: Home, redis_url: str
) -> None:
    client = redis.Redis.from_url(redis_url)
    before = set(client.scan_iter("*"))
    ended = home.run(
        *("load", "--config", "config.yaml", "--concurrency", "8", "--duration", "4s"),
        *("--processes", "2", "--accounts", "5", "--scenario", "top-up", "--credits", "400"),
        *("--latency-ms", "30", "--error-rate", "0.05", "--out", "out"),
    )
    assert ended.status == 0, ended.stderr + ended.stdout
    assert "Every promise was kept." in ended.stdout
    assert "executions, " in ended.stderr, "plain lines where there is no terminal"
    assert "\x1b" not in ended.stderr
    report = json.loads((home.folder / "out" / "load.json").read_text("utf-8"))
    executions, provider = report["executions"], report["provider"]
    assert executions["started"] == executions["ended"] > 20
    assert executions["failed"] == executions["pending"] == 0
    assert provider["answers"] == executions["model"]
    assert provider["requests"] >= provider["answers"]
    assert report["credits"]["charged_mc"] == report["credits"]["told_mc"] > 0
    assert report["credits"]["top_ups"] > 0
    assert report["latency_ms"]["max"] >= 10, "some waited for the provider"
    assert sum(one["ended"] for one in report["intervals"]) == executions["ended"]
    assert {"Redis", "load processes", "mock provider"} <= report["cpu_ms_per_execution"].keys()
    assert set(client.scan_iter("*")) == before, "its keys are its own, and are removed"
    client.close()
    assert [path.name for path in home.folder.iterdir() if path.is_dir()] == ["out"]


@pytest.mark.long
def test_ctrl_c_ends_a_load_early_with_a_report_of_what_was(home: Home) -> None:
    started = home.start("load", "--rate", "20", "--duration", "10m", "--json")
    reports = home.folder / "load-report" / "load.json"
    assert started.stderr is not None
    line = ""
    wait_until(reports.exists)
    while not re.search(r"^5 s|^[1-9]\d* s: [1-9]", line):
        line = started.stderr.readline()
        assert line, "it ended"
    started.send_signal(signal.SIGINT)
    began_s = time.monotonic()
    ended = end(started)
    assert ended.status == 130, ended.stderr
    assert time.monotonic() - began_s < 30
    assert ended.json["interrupted"] is True
    assert ended.json["verdict"]["holds"] is True
    assert 0 < ended.json["executions"]["ended"] < 10 * 60 * 20
    assert json.loads(reports.read_text("utf-8")) == ended.json


@pytest.mark.parametrize(
    "options, message",
    [
        (("--rate", "0"), "--rate: found 0, allowed are 0.01 to 100,000"),
        (("--rate", "-3"), "--rate: found -3"),
        (("--rate", "nan"), "--rate: found nan"),
        (("--rate", "many"), "'many' is not a valid float"),
        (("--concurrency", "0"), "--concurrency: found 0, allowed are 1 to 10,000"),
        (("--rate", "5", "--concurrency", "5"), "give one of --rate and --concurrency"),
        (("--skew", "nan"), "--skew: found nan, allowed are 0 to 10"),
        (("--skew", "-1"), "--skew: found -1"),
        (("--skew", "inf"), "--skew: found inf"),
        (("--accounts", "0"), "--accounts: found 0"),
        (("--duration", "0"), "--duration: found 0"),
        (("--duration", "soon"), "found 'soon'; write it like 30s"),
        (("--rate", "100000", "--duration", "1h"), "at most 10,000,000 are allowed"),
        (("--rate", "0.1", "--duration", "1s"), "not even one execution"),
        (("--prompt-tokens", "600-200"), "--prompt-tokens: found 600-200"),
        (("--prompt-tokens", "long"), "--prompt-tokens: found 'long'; write it like 400"),
        (("--answer-tokens", "1"), "--answer-tokens: found 1, allowed are 10 to 5,000"),
        (("--processes", "65"), "--processes: found 65"),
        (("--concurrency", "1", "--processes", "2"), "2 processes can't share 1 caller;"),
        (("--error-rate", "1.5"), "1.5 is not in the range 0<=x<=1"),
        (("--error-rate", "nan"), "--error-rate: found nan"),
        (("--concurrency", "2", "--scenario", "run-dry"), "say with --credits"),
        (("--config", "none.yaml"), "there is no config file none.yaml"),
        (("--url", "http://127.0.0.1:1"), "--url and --action belong together"),
        (("--url", "http://127.0.0.1:1", "--action", "route_message"), "--url needs"),
        (("--out", "config.yaml"), "--out: config.yaml: File exists"),
    ],
)
def test_a_load_that_can_not_be_run_is_refused_before_anything_starts(
    home: Home, options: tuple[str, ...], message: str
) -> None:
    ended = home.invoke("load", *options)
    assert ended.status == 2
    assert message in " ".join(ended.stderr.split())
    assert ended.stdout == ""


def service_options(url: str, action: str = "route_message") -> tuple[str, ...]:
    return ("load", "--config", "config.yaml", "--url", url, "--action", action)


def test_a_service_that_does_not_answer_is_refused(home: Home) -> None:
    [port] = free_ports(1)
    ended = home.invoke(*service_options(f"http://127.0.0.1:{port}"))
    assert ended.status == 2
    assert f"can't reach a service at http://127.0.0.1:{port}" in ended.stderr


def test_a_service_is_refused_if_a_model_is_called_at_its_providers_own_address(home: Home) -> None:
    config = (home.folder / "config.yaml").read_text("utf-8")
    before, after = config.split("endpoints:\n", 1)
    moved = re.sub(r"    api_base: http://127\S+\n", "", after, count=1)
    home.write("config.yaml", f"{before}endpoints:\n{moved}")
    ended = home.invoke(*service_options("http://127.0.0.1:1"))
    assert ended.status == 2
    assert "is called at its provider's own address" in ended.stderr


def test_a_load_of_an_unknown_action_is_refused(home: Home) -> None:
    ended = home.invoke(*service_options("http://127.0.0.1:1", "route_mesage"))
    assert ended.status == 2
    assert "no action 'route_mesage'; did you mean 'route_message'?" in ended.stderr


@pytest.mark.long
def test_a_redis_that_is_away_is_told(home: Home, tmp_path: Path) -> None:
    [port] = free_ports(1)
    config = (home.folder / "config.yaml").read_text("utf-8")
    away = re.sub(r"  url: unix://\S+", f"  url: redis://127.0.0.1:{port}", config)
    assert away != config
    home.write("config.yaml", away)
    ended = home.invoke("load", "--config", "config.yaml", *SHORT)
    assert ended.status == 2
    assert "can't use the ledger's Redis" in ended.stderr


def page_commands() -> list[str]:
    """Return the commands of the page on load tests, each for a second or two."""
    lines = [line for block in blocks("docs/load.md", "console") for line in block.splitlines()]
    return [re.sub(r"--duration \S+", "--duration 2s", line.removeprefix("$ ")) for line in lines]


@pytest.mark.long
def test_every_command_of_the_page_does_what_it_says(home: Home) -> None:
    [port] = free_ports(1)
    text = (home.folder / "config.yaml").read_text("utf-8")
    home.write("config.yaml", text.replace("port: 8320", f"port: {port}"))
    servers = []
    for line in page_commands():
        program, *words = shlex.split(line.replace("8320", str(port)))
        assert program == "creditgate"
        if words[0] == "serve":
            servers.append(home.start(*words))
            wait_until(lambda: answers(port))
            continue
        ended = home.run(*words)
        assert ended.status == 0, f"{line}\n{ended.stderr}"
        assert "Every promise was kept." in ended.stdout
    report = json.loads((home.folder / "load-report" / "load.json").read_text("utf-8"))
    assert report["where"] == f"at http://127.0.0.1:{port}"
    assert report["executions"]["model"] > 10
    assert "service" in report["cpu_ms_per_execution"]
    run_id = report["run_id"]
    assert home.balance(f"load-{run_id}-0").state == "closed"
    keys = home.invoke("keys", "list", "--json").json["keys"]
    assert [key["revoked_at"] is not None for key in keys if key["name"] == f"load {run_id}"] == [
        True
    ]
    [server] = servers
    server.terminate()
    assert end(server).status == 0


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz"):
            return True
    except OSError:
        return False
