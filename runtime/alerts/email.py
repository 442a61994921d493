"""Sends messages by email: plain text, and the same as simple HTML."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Sequence
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate

import aiosmtplib

from runtime.alerts.webhooks import SendingFailed
from runtime.config.alerts import EmailSection

LONGEST_ATTEMPT_S = 30.0
"""From connecting to the end of the conversation."""

_STEP_S = 10.0
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_LONGEST_SUBJECT = 200
_URL = re.compile(r"https?://[^\s<>\"']+")


class EmailSender:
    """Sends each message over a connection of its own.

    Args:
        settings: ``None`` where no mail server is configured.
    """

    def __init__(self, settings: EmailSection | None) -> None:
        self._settings = settings

    async def send(
        self, address: str, delivery_id: str, subject: str, paragraphs: Sequence[str]
    ) -> None:
        """Send one message to one address.

        Raises:
            SendingFailed: the mail server refused it, or can't be reached.
        """
        settings = self._settings
        if settings is None:
            raise SendingFailed("the config has no section email")
        message = composed(settings.sender, address, delivery_id, subject, paragraphs)
        password = None if settings.password is None else settings.password.get_secret_value()
        try:
            async with asyncio.timeout(LONGEST_ATTEMPT_S):
                await aiosmtplib.send(
                    message,
                    hostname=settings.host,
                    port=settings.port,
                    username=settings.username,
                    password=password,
                    use_tls=settings.tls == "tls",
                    start_tls=settings.tls == "starttls",
                    timeout=_STEP_S,
                )
        except TimeoutError:
            raise SendingFailed(f"the mail server took more than {LONGEST_ATTEMPT_S:g} s") from None
        except aiosmtplib.SMTPRecipientsRefused as exc:
            codes = sorted({each.code for each in exc.recipients})
            raise SendingFailed(f"the mail server refused the address: {codes}") from exc
        except aiosmtplib.SMTPResponseException as exc:
            raise SendingFailed(f"the mail server answered {exc.code}") from exc
        except (aiosmtplib.SMTPException, OSError, ValueError) as exc:
            raise SendingFailed(f"could not be sent: {type(exc).__name__}") from exc


def composed(
    sender: str, address: str, delivery_id: str, subject: str, paragraphs: Sequence[str]
) -> EmailMessage:
    """Return a message. Nothing in its texts can begin another header.

    The id is the same in every attempt, so that a mail that came twice can be told.
    """
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = address
    message["Subject"] = _one_line(subject)[:_LONGEST_SUBJECT]
    message["Date"] = formatdate()
    message["Message-ID"] = f"<{delivery_id}@{sender.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    lines = [_one_line(paragraph) for paragraph in paragraphs]
    message.set_content("\n\n".join(lines) + "\n")
    body = "\n".join(f"<p>{_linked(line)}</p>" for line in lines)
    message.add_alternative(f"<!doctype html>\n<html><body>\n{body}\n</body></html>\n", "html")
    return message


def _one_line(text: str) -> str:
    return _UNPRINTABLE.sub(" ", text)


def _linked(line: str) -> str:
    """Return a paragraph as HTML, its addresses as links."""
    parts, at = [], 0
    for found in _URL.finditer(line):
        url = html.escape(found[0])
        parts += [html.escape(line[at : found.start()]), f'<a href="{url}">{url}</a>']
        at = found.end()
    return "".join([*parts, html.escape(line[at:])])
