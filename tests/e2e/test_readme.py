"""Every command and every program in the README and the API page does what it is there for."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from runtime.cli import cli
from tests.harness.command_line import PROCESS_ENV, Ended, end, wait_until
from tests.harness.pages import blocks
from tests.harness.paths import ROOT
from tests.harness.servers import free_ports

PAGES = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLE_PORT = "8377"
SERVED_PORT = "8320"
RUN_ELSEWHERE = {
    "make demo": "tests/e2e/test_demo.py",
    "make test": "this very suite",
}


def commands(page: str) -> list[str]:
    """Return the lines that a page tells its reader to type."""
    found = [line for block in blocks(page, "console") for line in block.splitlines()]
    assert all(line.startswith("$ ") for line in found)
    return [line.removeprefix("$ ") for line in found]


class Reader:
    """Somebody who follows the README in a folder of their own, on a port that is free."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port, self.served_port = map(str, free_ports(2))
        self.key = ""
        self.servers: list[subprocess.Popen[str]] = []
        (folder / "config.example.yaml").write_text(
            (ROOT / "config.example.yaml").read_text("utf-8").replace(EXAMPLE_PORT, self.port),
            "utf-8",
        )
        (folder / "people.csv").write_text(
            'person_id,message\np1,"Where is my card?"\np2,"Top-up failed, why?"\n', "utf-8"
        )

    def start(self, *args: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            args,
            cwd=self.folder,
            env={**os.environ, **PROCESS_ENV},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def type(self, line: str) -> Ended | None:
        """Run a line; ``None`` for a server, which goes on running."""
        line = line.replace(EXAMPLE_PORT, self.port).replace(SERVED_PORT, self.served_port)
        words = shlex.split(line.replace("$KEY", self.key))
        if words[0] == "creditgate":
            words[:1] = [sys.executable, "-m", "runtime.cli"]
        process = self.start(*words)
        if "serve" in words:
            self.servers.append(process)
            self._read_key(process)
            return None
        if "mock-provider" not in words:
            return end(process)
        self.servers.append(process)
        wait_until(self._mock_answers)
        return None

    def _read_key(self, process: subprocess.Popen[str]) -> None:
        """Read what a demo of the service prints, and take the account's key."""
        assert process.stdout is not None
        told = "".join(iter(process.stdout.readline, "Ctrl-C ends it and removes its data.\n"))
        [self.key] = re.findall(r"^  acme's:  (cgk_\S+)$", told, re.MULTILINE)

    def _mock_answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health"):
                return True
        except OSError:
            return False

    def close(self) -> None:
        for server in self.servers:
            server.terminate()
            end(server)


@pytest.fixture
def reader(redis_server_program: None, tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path)
    yield reader
    reader.close()


@pytest.mark.long
@pytest.mark.timeout(240)
def test_every_command_of_the_readme_works_in_its_order(reader: Reader) -> None:
    typed = [line for line in commands("README.md") if line not in RUN_ELSEWHERE]
    assert len(typed) >= 6
    for line in typed:
        ended = reader.type(line)
        assert ended is None or ended.status == 0, f"{line}\n{ended.stderr}"
        if line.startswith("curl "):
            assert ended is not None
            assert ended.json["status"] == "model"

    # The programs of the README and the API page use what the commands above have set up.
    for page in ("README.md", "docs/api.md"):
        for number, program in enumerate(b for b in blocks(page, "python") if "asyncio.run" in b):
            name = f"program{number}.py"
            (reader.folder / name).write_text(program, "utf-8")
            ended = end(reader.start(sys.executable, name))
            assert ended.status == 0, f"{page}\n{ended.stderr}"
            if "execute(" in program:
                assert ended.stdout.startswith(("model ", "mixed ")), ended.stdout
            else:
                assert ended.stdout in blocks(page, "text"), "it prints what the page says"


@pytest.mark.parametrize("line", RUN_ELSEWHERE)
def test_the_two_commands_of_the_readme_are_targets(line: str) -> None:
    assert line in commands("README.md")
    planned = subprocess.run(
        ["make", "--dry-run", line.removeprefix("make ")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert {"make demo": "creditgate demo", "make test": "pytest"}[line] in planned


def anchors(page: Path) -> set[str]:
    """Return the fragments by which GitHub lets a page's headings be linked."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), flags=re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


def test_every_link_to_a_file_leads_somewhere() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^):]+)\)", page.read_text("utf-8")):
            path, _, fragment = target.partition("#")
            found = page.parent / path if path else page
            assert found.exists(), f"{page.name}: {target}"
            assert not fragment or fragment in anchors(found), f"{page.name}: {target}"


def test_every_command_on_a_page_exists_with_its_options() -> None:
    for page in PAGES:
        text = page.read_text("utf-8")
        typed = re.findall(r"`creditgate (-?[a-z][^`]*)`", text)
        typed += re.findall(r"^ *\$ creditgate (.+)$", text, flags=re.MULTILINE)
        for line in typed:
            command: click.Command = cli
            for word in shlex.split(line):
                if word.startswith("--"):
                    known = [option for param in command.params for option in param.opts]
                    assert word in [*known, "--help"], f"{page.name}: {line}"
                elif isinstance(command, click.Group):
                    found = command.get_command(click.Context(command), word)
                    assert found, f"{page.name}: {line}"
                    command = found


def test_every_public_name_is_in_the_api_page() -> None:
    import creditgate

    page = (ROOT / "docs/api.md").read_text("utf-8")
    for name in creditgate.__all__:
        assert re.search(rf"\b{name}\b", page), name
        assert getattr(creditgate, name) is not None
