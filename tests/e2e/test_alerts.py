"""``creditgate alerts`` on a real database and a real mail server; a warning of check-config."""

from __future__ import annotations

from collections.abc import Iterator
from email.message import Message

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Message as MessageHandler

from tests.harness.command_line import Home
from tests.harness.servers import free_ports


class _Mails(MessageHandler):
    def __init__(self) -> None:
        super().__init__()
        self.mails: list[Message] = []

    def handle_message(self, message: Message) -> None:
        self.mails.append(message)


@pytest.fixture
def mails() -> _Mails:
    return _Mails()


@pytest.fixture
def home(home: Home, mails: _Mails) -> Iterator[Home]:
    """A home whose operator has an address on a mail server of the test's own."""
    (port,) = free_ports(1)
    controller = Controller(mails, hostname="127.0.0.1", port=port)
    controller.start()
    config = (home.folder / "config.yaml").read_text(encoding="utf-8")
    operator = "alerts:\n  operator: {emails: [ops@example.com]}\n"
    email = f"email: {{host: 127.0.0.1, port: {port}, tls: none, sender: credits@example.com}}\n"
    home.write("config.yaml", config.replace("alerts:\n", operator) + email)
    yield home
    controller.stop()


def test_a_test_arrives_is_listed_and_is_sent_again(home: Home, mails: _Mails) -> None:
    shown = home.invoke("alerts", "test", "--json")
    assert shown.status == 0, shown.stderr
    (delivery,) = shown.json["deliveries"]
    assert (delivery["state"], delivery["target"]) == ("delivered", "ops@example.com")
    assert [mail["Subject"] for mail in mails.mails] == ["A test of alerts"]

    listed = home.invoke("alerts", "list")
    assert delivery["delivery_id"] in listed.stdout
    assert "delivered" in listed.stdout
    assert home.invoke("alerts", "list", "--state", "dead").stdout == "No alerts.\n"

    again = home.invoke("alerts", "resend", delivery["delivery_id"])
    assert again.status == 0, again.stderr
    assert [mail["Message-ID"] for mail in mails.mails] == [mails.mails[0]["Message-ID"]] * 2


def test_a_test_that_does_not_arrive_says_why(home: Home) -> None:
    config = (home.folder / "config.yaml").read_text(encoding="utf-8")
    home.write("config.yaml", config.replace("tls: none", "tls: starttls"))
    shown = home.invoke("alerts", "test", "--account", "acme")
    assert shown.status == 2
    assert "waiting" in shown.stdout
    assert "could not be sent" in shown.stdout


@pytest.mark.parametrize(
    "arguments",
    [("resend", "msg_unknown"), ("list", "--cursor", "nonsense"), ("list", "--state", "lost")],
)
def test_what_is_not_there_is_refused_by_name(home: Home, arguments: tuple[str, ...]) -> None:
    shown = home.invoke("alerts", *arguments)
    assert shown.status == 2
    assert arguments[-1] in shown.stderr


def test_check_config_warns_where_nobody_is_told(home: Home) -> None:
    assert "alerts.operator" not in home.invoke("check-config").stderr
    config = (home.folder / "config.yaml").read_text(encoding="utf-8")
    home.write("config.yaml", config.replace("emails: [ops@example.com]", "emails: []"))
    assert "warning" in (shown := home.invoke("check-config")).stderr
    assert "alerts of accounts without contacts reach nobody" in shown.stderr
    assert shown.status == 0
