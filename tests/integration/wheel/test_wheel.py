"""The wheel installs one package, which lives beside a host's own packages of any name."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from hatch_build import FOLDERS
from tests.harness.command_line import wait_until
from tests.harness.pages import blocks
from tests.harness.paths import ROOT
from tests.harness.wheels import Installed, install

EXAMPLE_PORT = "8377"

IMPORT_ALL = """
import importlib, importlib.abc, pkgutil, sys

sys.path.insert(0, sys.argv[1])
OURS = {"runtime", "pricing", "fallback", "providers"}

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in OURS:
            raise ImportError(f"{name} was imported by its name in the checkout")

sys.meta_path.insert(0, Refuse())
import creditgate

imported, missing = ["creditgate"], set()
for found in pkgutil.walk_packages(creditgate.__path__, "creditgate."):
    if not found.name.endswith(("__main__", "migrations.env")):  # Alembic runs that one
        try:
            importlib.import_module(found.name)
            imported.append(found.name)
        except ModuleNotFoundError as error:
            missing.add(error.name)
public = [name for name in creditgate.__all__ if not missing and hasattr(creditgate, name)]
import json
print(json.dumps({"file": creditgate.__file__, "imported": imported, "missing": sorted(missing),
                  "public": public, "all": creditgate.__all__}))
"""

WITHOUT_EXTRAS = """
import importlib.abc, sys

sys.path.insert(0, sys.argv[1])
EXTRAS = {"aiosmtplib", "asyncpg", "fastapi", "opentelemetry", "prometheus_client", "starlette",
          "standardwebhooks", "stripe", "structlog", "uvicorn", "uvloop"}

class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in EXTRAS:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())
import creditgate
from creditgate import *  # every public name
from creditgate.runtime.cli import cli

cli(["--help"], standalone_mode=False)
cli(["serve", "--help"], standalone_mode=False)
cli(["serve", "--demo"])
"""

HOST = """
import fallback, pricing, providers, runtime
import creditgate

assert "site-packages" in creditgate.__file__
for package in (fallback, pricing, providers, runtime):
    assert package.OWNER == f"the host, {package.__name__}"
"""


@pytest.fixture
def mock_port(installed: Installed) -> Iterator[str]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    command = [str(installed.python), "-m", "creditgate", "mock-provider", "--port", port]
    server = subprocess.Popen(
        command, cwd=installed.project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )

    def answers() -> bool:
        assert server.poll() is None, server.stdout and server.stdout.read()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health"):
                return True
        except OSError:
            return False

    wait_until(answers)
    yield port
    server.terminate()
    server.communicate()


def test_checkout_and_source_distribution_give_the_same_wheel(
    wheel: Path, wheel_of_sdist: Path
) -> None:
    assert wheel.read_bytes() == wheel_of_sdist.read_bytes()


def test_the_wheel_holds_every_file_of_the_folders_in_one_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    written = {
        f"creditgate/{path.relative_to(ROOT).as_posix()}"
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    own = {"creditgate/__init__.py", "creditgate/__main__.py", "creditgate/py.typed"}
    assert held == written | own
    for kind in (".lua", "people.csv", "config.example.yaml", "redoc.js", "redoc.LICENSE.txt"):
        assert any(name.endswith(kind) for name in held), kind


@pytest.mark.long
def test_every_module_works_without_the_checkouts_names(unpacked: Path, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", IMPORT_ALL, unpacked],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    run = ("__main__.py", "env.py")
    modules = [p for p in (unpacked / "creditgate").rglob("*.py") if p.name not in run]
    assert found["missing"] == []
    assert len(found["imported"]) == len(modules)
    assert found["public"] == found["all"]
    assert Path(found["file"]).is_relative_to(unpacked)


def interpreters() -> dict[str, str]:
    """Pythons of other versions, on PATH or beside this one as pyenv has them."""
    found = {}
    for version in ("3.11", "3.12", "3.13"):
        beside = Path(sys.base_prefix).parent.glob(f"{version}.*/bin/python3")
        on_path = shutil.which(f"python{version}")
        for python in (*map(str, beside), *filter(None, [on_path])):
            shown = subprocess.run([python, "-V"], check=False, capture_output=True, text=True)
            if shown.stdout.startswith(f"Python {version}."):
                found[version] = python
                break
    return found


@pytest.mark.parametrize(
    "version", ["3.11", *(pytest.param(v, marks=pytest.mark.long) for v in ("3.12", "3.13"))]
)
def test_the_wheel_is_one_for_every_supported_python(
    wheel: Path, tmp_path: Path, version: str
) -> None:
    python = interpreters().get(version)
    if python is None:
        pytest.skip(f"there is no Python {version} here")
    own = install(wheel, python, tmp_path / "venv")
    ended = subprocess.run(
        [own, "-W", "error", "-c", IMPORT_ALL, tmp_path],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    # The dependencies are not there, so what needs none of them is what can be imported.
    ours = {name for name in found["missing"] if name.partition(".")[0] in (*FOLDERS, "creditgate")}
    assert ours == set()
    assert {"creditgate.pricing.quote", "creditgate.fallback.policy"} <= set(found["imported"])
    [packages] = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    installed = {path.name for path in packages.iterdir() if path.suffix != ".dist-info"}
    assert installed - {"__pycache__"} == {"creditgate"}


def test_the_command_line_works_beside_a_hosts_own_packages(installed: Installed) -> None:
    shutil.copy(ROOT / "config.example.yaml", installed.project / "config.yaml")
    script = installed.python.with_name("creditgate")
    for command in ([script], ["-m", "creditgate"]):
        helped = installed.run(*command, "--help")
        assert helped.returncode == 0, helped.stderr
        assert "creditgate demo" in helped.stdout
        checked = installed.run(*command, "check-config")
        assert checked.returncode == 0, checked.stderr


def test_without_the_extras_all_but_the_service_works(unpacked: Path, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", WITHOUT_EXTRAS, unpacked],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2, ended.stderr
    assert "Serve the HTTP API" in ended.stdout
    assert 'pip install "creditgate[serve]"' in ended.stderr


@pytest.mark.long
@pytest.mark.usefixtures("redis_server_program")
def test_the_readmes_program_works_beside_a_hosts_own_packages(
    installed: Installed, mock_port: str
) -> None:
    config = (ROOT / "config.example.yaml").read_text("utf-8").replace(EXAMPLE_PORT, mock_port)
    (installed.project / "config.yaml").write_text(config, "utf-8")
    [program] = [block for block in blocks("README.md", "python") if "asyncio.run" in block]
    (installed.project / "program.py").write_text(HOST + program, "utf-8")

    ended = installed.run("program.py")

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith("model ")


@pytest.mark.long
@pytest.mark.usefixtures("redis_server_program")
def test_the_demo_works_where_it_is_installed(installed: Installed) -> None:
    ended = installed.run("-m", "creditgate", "demo", "--limit", "20", "--json")
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout)["model"] == 20


@pytest.mark.long
@pytest.mark.timeout(400)
def test_a_host_is_type_checked_against_the_installed_package(installed: Installed) -> None:
    shutil.copy(ROOT / "tests" / "typing" / "api.py", installed.project / "host.py")
    (installed.project / "wrong.py").write_text(
        "from creditgate import Nonsense, open_runtime\n\nopen_runtime(5, redis='here')\n"
    )
    # LiteLLM's sources take mypy minutes.
    (installed.project / "mypy.ini").write_text(
        "[mypy]\nstrict = True\n[mypy-litellm.*]\nfollow_imports = skip\n"
    )

    right = installed.run("-m", "mypy", "host.py")
    assert right.returncode == 0, right.stdout
    wrong = installed.run("-m", "mypy", "wrong.py")
    assert 'Module "creditgate" has no attribute "Nonsense"' in wrong.stdout
    assert wrong.stdout.count("[arg-type]") == 2
