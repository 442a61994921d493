"""Accounts and their credits from the command line."""

from __future__ import annotations

import json
import signal

from tests.harness.command_line import Home, end

GRANT = ("grant", "--account", "acme", "--kind", "promotional", "--credits", "2500.125")


def test_an_account_is_opened_given_credits_and_sells_some(home: Home) -> None:
    opened = home.run(
        *("account", "open", "acme", "--plan", "growth", "--timezone", "Europe/Berlin", "--json")
    )
    assert opened.json["new"] is True
    assert opened.json["balance"]["granted_mc"] == 0
    assert (
        "was already open"
        in home.invoke(
            *("account", "open", "acme", "--plan", "growth", "--timezone", "Europe/Berlin")
        ).stdout
    )

    expiring = (*GRANT, "--reference", "spring", "--expires-at", "2099-07-08")
    assert "received 2,500.125 credits" in home.invoke(*expiring).stdout
    assert "nothing was added" in home.invoke(*expiring).stdout
    bought = ("purchase", "--account", "acme", "--credits", "200000", "--reference", "invoice-7")
    assert home.invoke(*bought, "--json").json["available_mc"] == 202_500_125
    assert home.invoke(*bought, "--json").json["new"] is False
    other = home.invoke(*bought[:4], "300000", *bought[5:])
    assert other.status == 2
    assert "'invoice-7' was used before, for 200,000 credits" in other.stderr

    shown = home.invoke("balance", "--account", "acme").stdout
    assert "available  202,500.125" in shown
    assert "The books balance" in shown
    spring, invoice = (line.split() for line in shown.splitlines()[-2:])
    assert spring[:5] == ["g1", "spring", "promotional", "2,500.125", "2,500.125"]
    assert spring[-2:] == ["2099-07-08", "00:00"], "by the account's time zone"
    assert (invoice[0], invoice[1], invoice[-1]) == ("g2", "invoice-7", "never")

    found = home.invoke("balance", "--account", "acme", "--json").json
    assert [grant["expires_at"] for grant in found["grants"]] == ["2099-07-07T22:00:00+00:00", None]
    assert found["available_mc"] == 202_500_125


def test_a_sweep_ends_what_is_due_once_or_until_it_is_stopped(home: Home) -> None:
    home.open_account("acme", amount_mc=1_000)
    assert home.invoke("sweep", "--json").json["accounts"] >= 0
    assert home.invoke("sweep").stdout.startswith("Swept ")
    refused = home.invoke("sweep", "--every", "0")
    assert refused.status == 2

    process = home.start("sweep", "--every", "1", "--json")
    assert process.stdout is not None
    assert json.loads(process.stdout.readline()) == {"accounts": 0}
    process.send_signal(signal.SIGTERM)
    ended = end(process)
    assert (ended.status, ended.stderr.strip()) == (130, "Stopped.")
