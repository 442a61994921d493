"""Draw docs/demo.svg: ``python -m tests.capture`` records a real ``creditgate demo``.

The demo runs in a pseudo-terminal. Some moments of its output become the frames of an SVG that
plays by CSS alone: no script, and no font or image from elsewhere.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rich.ansi import AnsiDecoder
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from tests.harness.paths import ROOT

OUT = ROOT / "docs" / "demo.svg"
COLUMNS, ROWS = 100, 25
PROGRESS_S, SUMMARY_S, EXAMPLES_S = 0.75, 7.0, 7.0
_PROGRESS_FRAMES = 12
_EXAMPLES = "\r\n\r\nFor example"

_ERASE_LINE = "\r\x1b[2K"
_CURSOR = re.compile(r"\x1b\[\?25[lh]")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")

_THEME = TerminalTheme(
    (13, 17, 23),
    (201, 209, 217),
    [
        (72, 79, 88),
        (255, 123, 114),
        (86, 211, 100),
        (227, 179, 65),
        (121, 192, 255),
        (210, 168, 255),
        (86, 212, 221),
        (201, 209, 217),
    ],
)
_FRAME = """{styles}\n<!-- cut -->{backgrounds}{matrix}"""
_CELL_WIDTH, _LINE_HEIGHT, _MARGIN, _BAR_HEIGHT = 12.2, 24.4, 24, 52
_PAGE = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" \
width="{width}" height="{height}" role="img" aria-labelledby="title">
<title id="title">creditgate demo: a campaign runs until its credits are used up, and goes on with \
fallback values</title>
<style>
text {{ font: 20px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; \
white-space: pre; }}
{styles}
</style>
<rect width="{width}" height="{height}" rx="10" fill="#0d1117"/>
<rect x="0.5" y="0.5" width="{inner_width}" height="{inner_height}" rx="10" fill="none" \
stroke="#484f58"/>
<circle cx="24" cy="22" r="7" fill="#ff5f57"/>
<circle cx="48" cy="22" r="7" fill="#febc2e"/>
<circle cx="72" cy="22" r="7" fill="#28c840"/>
<text x="{middle}" y="29" text-anchor="middle" fill="#8b949e">creditgate demo</text>
<g transform="translate({margin}, {top})">
{frames}
</g>
</svg>
"""

Chunk = tuple[float, str]
"""Seconds from the start, and what the terminal received then."""


class Frame(NamedTuple):
    """What the terminal had received by a moment, and how long to show it."""

    output: str
    shown_s: float


class CaptureFailed(RuntimeError):
    """The command failed, or printed what cannot be drawn."""


def record(command: list[str]) -> list[Chunk]:
    """Run a command in a pseudo-terminal and return what it printed, piece by piece."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    environment.pop("NO_COLOR", None)
    started_s = time.monotonic()
    with subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        chunks = [(time.monotonic() - started_s, text) for text in _read(ours)]
    if process.returncode != 0:
        raise CaptureFailed("".join(text for _, text in chunks))
    return chunks


def _read(terminal: int) -> Iterator[str]:
    with os.fdopen(terminal, encoding="utf-8", newline="", closefd=True) as stream:
        while True:
            try:
                text = os.read(stream.fileno(), 65536)
            except OSError:  # the last process that wrote to it is gone
                return
            yield text.decode("utf-8")


def screen(output: str) -> list[Text]:
    """Return the lines that a terminal shows after ``output``."""
    lines = [line.rpartition(_ERASE_LINE)[2] for line in _CURSOR.sub("", output).split("\r\n")]
    while lines and not lines[-1]:
        lines.pop()
    rest = _COLOUR.sub("", "".join(lines))
    if "\x1b" in rest or "\r" in rest:
        raise CaptureFailed(f"not understood: {rest!r}")
    return list(AnsiDecoder().decode("\n".join(lines)))


def frames_of(chunks: list[Chunk]) -> list[Frame]:
    """Return frames of the progress, with every alert, then the summary, then the examples."""
    every_s = chunks[-1][0] / _PROGRESS_FRAMES
    frames: list[Frame] = []
    output, next_s = "", 0.0
    for at_s, text in chunks:
        output += text
        alert = "\x1b[1;33m" in text  # the demo prints alerts in bold yellow
        if (alert or at_s >= next_s) and _EXAMPLES not in output:
            frames.append(Frame(output, PROGRESS_S))
            next_s = at_s + every_s
    summary, found, _ = output.partition(_EXAMPLES)
    if not found:
        raise CaptureFailed(f"no examples: {output!r}")
    return [*frames, Frame(summary, SUMMARY_S), Frame(output, EXAMPLES_S)]


def draw(frames: list[Frame], prompt: str) -> str:
    """Return an SVG that shows the frames in turn; where nothing moves, the summary."""
    drawn = [_drawn(number, screen(frame.output), prompt) for number, frame in enumerate(frames)]
    width = round(COLUMNS * _CELL_WIDTH + 2 * _MARGIN)
    height = round(ROWS * _LINE_HEIGHT + _BAR_HEIGHT + _MARGIN)
    return _PAGE.format(
        width=width,
        height=height,
        inner_width=width - 1,
        inner_height=height - 1,
        middle=width // 2,
        margin=_MARGIN,
        top=_BAR_HEIGHT,
        styles="\n".join([*_animation(frames), *(styles for styles, _ in drawn)]),
        frames="\n".join(
            f'<g class="frame" id="frame{number}">{body}</g>'
            for number, (_, body) in enumerate(drawn)
        ),
    )


def _drawn(number: int, lines: list[Text], prompt: str) -> tuple[str, str]:
    """Return a frame's styles and its body: the last rows, as a terminal scrolls."""
    console = Console(
        width=COLUMNS,
        record=True,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        legacy_windows=False,
    )
    typed = Text.assemble(("$ ", "bold green"), (prompt, "bold"))
    rows = [row for line in (typed, *lines) for row in line.wrap(console, COLUMNS)]
    for row in rows[-ROWS:]:
        console.print(row)
    drawn = console.export_svg(theme=_THEME, code_format=_FRAME, unique_id=f"f{number}")
    styles, _, body = drawn.partition("\n<!-- cut -->")
    body = re.sub(r' clip-path="[^"]*"', "", body)
    # A font whose characters are narrower than a cell would leave gaps in the bar.
    body = body.replace(" textLength=", ' lengthAdjust="spacingAndGlyphs" textLength=')
    return styles, re.sub(r"\s*\n\s*", "\n", body)


def _animation(frames: list[Frame]) -> Iterator[str]:
    """Yield the style rules that show each frame for its time, over and over."""
    total_s = sum(frame.shown_s for frame in frames)
    yield ".frame { visibility: hidden; }"
    yield f"#frame{len(frames) - 2} {{ visibility: visible; }}"
    yield "@media (prefers-reduced-motion: no-preference) {"
    begin_s = 0.0
    for number, frame in enumerate(frames):
        begin, end = begin_s / total_s, (begin_s + frame.shown_s) / total_s
        yield (
            f"@keyframes show{number} {{ 0%, 100% {{ visibility: hidden; }} "
            f"{begin:.3%} {{ visibility: visible; }} {end:.3%} {{ visibility: hidden; }} }}"
        )
        yield f"#frame{number} {{ animation: show{number} {total_s:g}s step-end infinite; }}"
        begin_s += frame.shown_s
    yield "}"


def main() -> None:
    """Record the demo and write the file."""
    command = Path(sys.executable).with_name("creditgate")
    OUT.write_text(draw(frames_of(record([str(command), "demo"])), "creditgate demo"), "utf-8")
    sys.stderr.write(f"Written: {OUT.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
