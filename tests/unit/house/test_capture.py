"""The picture of the demo shows what the terminal showed, and needs nothing from elsewhere."""

from __future__ import annotations

import re
import sys
from xml.etree import ElementTree

import pytest

from tests.capture import OUT, CaptureFailed, draw, frames_of, record, screen

BAR = "\r\x1b[2K\x1b[32m{0}/2\x1b[0m people"
ALERT = "\r\x1b[2K\x1b[1;33mCredits are running low.\x1b[0m\r\n"
RUN = [
    (0.0, "Starting\r\n\x1b[?25l"),
    (1.0, BAR.format(1)),
    (1.1, ALERT + BAR.format(1)),
    (4.0, BAR.format(2) + "\r\n\x1b[?25h"),
    (4.1, "\r\nThe books balance\r\n\r\nFor example\r\n  reply = Thank you < & >\r\n"),
]


def shown(output: str) -> list[str]:
    return [line.plain for line in screen(output)]


def test_a_line_that_was_erased_is_not_shown() -> None:
    assert shown("".join(text for _, text in RUN[:3])) == [
        "Starting",
        "Credits are running low.",
        "1/2 people",
    ]


def test_a_sequence_that_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(CaptureFailed, match="not understood"):
        screen("one\x1b[1Atwo")


def test_every_alert_has_a_frame_and_the_examples_come_last() -> None:
    frames = frames_of(RUN)
    assert [shown(frame.output)[-1] for frame in frames[-2:]] == [
        "The books balance",
        "  reply = Thank you < & >",
    ]
    assert any(shown(frame.output)[-2:] == shown(RUN[2][1]) for frame in frames)


def test_a_command_that_fails_is_not_drawn() -> None:
    with pytest.raises(CaptureFailed, match="no such luck"):
        record([sys.executable, "-c", "raise SystemExit('no such luck')"])


@pytest.mark.parametrize("picture", ["drawn now", "in the docs"])
def test_the_picture_fetches_nothing_and_can_be_read(picture: str) -> None:
    svg = draw(frames_of(RUN), "creditgate demo") if picture == "drawn now" else OUT.read_text()
    root = ElementTree.fromstring(svg)  # noqa: S314 -- our own file
    texts = "".join(root.itertext()).replace("\N{NO-BREAK SPACE}", " ")
    assert "$ creditgate demo" in re.sub(r"\s+", " ", texts)
    assert "The books balance" in texts
    assert not re.search(r"@font-face|@import|url\(|href|<script", svg)
