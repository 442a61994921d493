"""Draw docs/load.png: ``python -m tests.capture_load`` takes a picture of `make load`'s report.

It needs Chromium, which opens the page as a reader would: from its file, with no network.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.harness.paths import ROOT

REPORT = ROOT / ".creditgate" / "load" / "load.html"
OUT = ROOT / "docs" / "load.png"
WIDTH, HEIGHT = 1_280, 1_330
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "chrome")


class CaptureFailed(RuntimeError):
    """There is no report or no browser, or the browser drew nothing."""


def take(page: Path, picture: Path, width: int, height: int) -> None:
    """Take a picture of a page.

    Raises:
        CaptureFailed: there is no Chromium, or it drew nothing.
    """
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        raise CaptureFailed(f"none of {', '.join(_PROGRAMS)} was found")
    with tempfile.TemporaryDirectory() as profile:
        drawn = Path(profile) / "picture.png"
        done = subprocess.run(
            [
                *(program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"),
                *(f"--user-data-dir={profile}", f"--screenshot={drawn}"),
                *(f"--window-size={width},{height}", page.absolute().as_uri()),
            ],
            capture_output=True,
            timeout=60,
            check=False,
        )
        if not drawn.is_file():
            raise CaptureFailed(done.stderr.decode(errors="replace")[-500:])
        picture.write_bytes(drawn.read_bytes())


def main() -> None:
    """Take the picture and write the file."""
    if not REPORT.is_file():
        raise CaptureFailed(f"there is no {REPORT.relative_to(ROOT)}: run make load")
    take(REPORT, OUT, WIDTH, HEIGHT)
    sys.stderr.write(f"Written: {OUT.relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
