"""Keys of the API from the command line."""

from __future__ import annotations

import re

import pytest

from tests.harness.command_line import Home

KEY = ("keys", "create", "--name", "ops")


def test_the_first_key_is_made_listed_rotated_and_revoked(home: Home) -> None:
    assert "There are no keys." in home.invoke("keys", "list").stdout
    shown = home.invoke(*KEY, "--scope", "admin").stdout
    assert "of the operator, 'ops': admin." in shown
    secret = shown.split()[-1]
    key_id = secret.split("_")[1]
    listed = home.invoke("keys", "list").stdout
    assert key_id in listed
    assert "in force" in listed
    assert secret.split("_", 2)[2] not in listed
    rotated = home.invoke("keys", "rotate", key_id, "--grace", "1h", "--json").json
    assert rotated["key_id"] == key_id
    assert rotated["secret"] != secret
    assert rotated["previous_until_at"] is not None
    assert "is revoked" in home.invoke("keys", "revoke", key_id).stdout
    [found] = home.invoke("keys", "list", "--json").json["keys"]
    assert found["revoked_at"] is not None
    refused = home.invoke("keys", "rotate", key_id)
    assert (refused.status, "was revoked: make another one" in refused.stderr) == (2, True)


def test_a_key_of_an_account_is_its_own(home: Home) -> None:
    home.open_account("acme", amount_mc=1_000)
    made = home.invoke(
        *(*KEY, "--account", "acme", "--scope", "execute", "--scope", "preview", "--json")
    ).json
    assert (made["account_id"], made["scopes"]) == ("acme", ["execute", "preview"])
    refused = home.invoke("keys", "revoke", made["key_id"])
    assert (refused.status, "there is no key" in refused.stderr) == (2, True)
    assert home.invoke("keys", "revoke", made["key_id"], "--account", "acme").status == 0


def test_a_key_that_can_not_be_made_says_why(home: Home) -> None:
    unknown = home.invoke(*KEY, "--account", "nobody", "--scope", "execute")
    assert (unknown.status, "nobody" in unknown.stderr) == (2, True)
    past = home.invoke(*KEY, "--scope", "execute", "--expires-at", "2020-01-01")
    assert (past.status, "is not in the future" in past.stderr) == (2, True)
    assert home.invoke(*KEY).status == 2
    assert home.invoke(*KEY, "--scope", "root").status == 2
    long = home.invoke("keys", "create", "--name", "x" * 201, "--scope", "execute")
    assert (long.status, "--name" in long.stderr) == (2, True)


def test_a_key_can_be_made_before_anything_else(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CREDITGATE_INSTALLATION_KEY", "0123456789abcdef" * 4)
    settings = home.folder / "config.yaml"
    named = "installation_key: {env: CREDITGATE_INSTALLATION_KEY}"
    text = settings.read_text()
    assert f"# {named}" in text
    settings.write_text(
        re.sub("(?m)^data_dir: .*$", "data_dir: new/data", text).replace(f"# {named}", named)
    )
    assert "of the operator" in home.invoke(*KEY, "--scope", "admin").stdout
    assert (home.folder / "new" / "data").stat().st_mode & 0o777 == 0o700
