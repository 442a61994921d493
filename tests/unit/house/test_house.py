"""The locks, the Makefile and the set-up script."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.harness.paths import ROOT

LOCKS = ("requirements.lock", "requirements-dev.lock", ".ci/requirements-uv.lock")
STOLEN_LITELLM = ("1.82.7", "1.82.8")

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
CORE = [Requirement(line) for line in PROJECT["dependencies"]]
EXTRAS = [
    Requirement(line) for lines in PROJECT["optional-dependencies"].values() for line in lines
]
DEV = [wanted for wanted in EXTRAS if wanted.name != PROJECT["name"]]


def load_bootstrap() -> Any:
    spec = importlib.util.spec_from_file_location("bootstrap", ROOT / ".ci" / "bootstrap.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def entries(lock: str) -> dict[str, str]:
    """Each package of a lock with all that is written about it."""
    text = (ROOT / lock).read_text()
    found = re.findall(r"(?m)^([a-z0-9-]+)==(\S+.*(?:\n +.*)*)", text)
    assert found, f"{lock} holds nothing"
    return dict(found)


def pins(lock: str) -> dict[str, Version]:
    return {name: Version(text.split()[0]) for name, text in entries(lock).items()}


# --- the locks


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_package_has_hashes(lock: str) -> None:
    without = [name for name, text in entries(lock).items() if "--hash=sha256:" not in text]
    assert without == []


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_says_nothing_about_the_machine_that_wrote_it(lock: str) -> None:
    text = (ROOT / lock).read_text()
    for revealing in ("://", "--index-url", "--extra-index", "--find-links", "--trusted", " /"):
        assert revealing not in text


@pytest.mark.parametrize(
    "lock, requirements", [("requirements.lock", CORE), ("requirements-dev.lock", CORE + DEV)]
)
def test_a_lock_satisfies_what_the_project_asks_for(
    lock: str, requirements: list[Requirement]
) -> None:
    locked = pins(lock)
    for wanted in requirements:
        version = locked[canonicalize_name(wanted.name)]
        assert wanted.specifier.contains(version), f"{wanted} is locked at {version}"


def test_development_runs_on_the_versions_that_users_get() -> None:
    assert pins("requirements.lock").items() <= pins("requirements-dev.lock").items()


@pytest.mark.parametrize("version", STOLEN_LITELLM)
def test_the_compromised_litellm_is_shut_out_by_name(version: str) -> None:
    (litellm,) = (wanted for wanted in CORE if wanted.name == "litellm")
    assert f"!={version}" in {str(part) for part in litellm.specifier}
    for lock in LOCKS:
        assert pins(lock).get("litellm") != Version(version)


def test_every_dependency_is_explained() -> None:
    explained = (ROOT / "docs" / "dependencies.md").read_text()
    missing = [wanted.name for wanted in CORE + DEV if f"**{wanted.name}**" not in explained]
    assert missing == []


# --- the Makefile


def test_make_help_shows_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"(?m)^\.PHONY: (.*)$", makefile)
    assert phony is not None
    # One make may run the tests, and hands its flags on through the environment.
    env = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    shown = subprocess.run(
        ["make", "--no-print-directory"],
        cwd=ROOT,
        env=env,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert re.findall(r"(?m)^  make (\S+)", shown) == phony[1].split()
    assert all(len(line.split()) > 3 for line in shown.splitlines())


# --- the set-up

STAND_IN = """\
import pathlib, sys
venv = pathlib.Path(".venv/bin")
venv.mkdir(parents=True, exist_ok=True)
(venv / "python").unlink(missing_ok=True)
(venv / "python").symlink_to(sys.executable)
(venv.parent / ".state").write_text(sys.argv[1])
print("set up")
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what the set-up reads, where setting up is quick."""
    folder = tmp_path / "a project's folder"
    (folder / ".ci").mkdir(parents=True)
    for name in (
        ".ci/setup",
        ".ci/requirements-uv.lock",
        "requirements-dev.lock",
        "pyproject.toml",
    ):
        shutil.copy(ROOT / name, folder / name)
    (folder / ".ci" / "bootstrap.py").write_text(STAND_IN)
    return folder


def set_up(folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    without_choice = {name: value for name, value in os.environ.items() if name != "PYTHON"}
    return subprocess.run(
        [folder / ".ci" / "setup"],
        env=without_choice | env,
        check=False,
        capture_output=True,
        text=True,
    )


def pretend_python(program: Path, version: str) -> None:
    """A Python that fails whatever it is asked to run, as an old one does at the check."""
    program.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && echo Python {version} && exit\nexit 1\n'
    )
    program.chmod(0o755)


def test_a_second_set_up_does_nothing(checkout: Path) -> None:
    assert set_up(checkout).stdout == "set up\n"
    assert set_up(checkout).stdout == ""


@pytest.mark.parametrize("name", ["requirements-dev.lock", "pyproject.toml", ".ci/bootstrap.py"])
def test_a_change_of_what_it_reads_sets_up_again(checkout: Path, name: str) -> None:
    set_up(checkout)
    with (checkout / name).open("a") as changed:
        changed.write("# changed\n")
    assert set_up(checkout).stdout == "set up\n"
    assert set_up(checkout).stdout == ""


def test_a_moved_folder_sets_up_again(checkout: Path) -> None:
    set_up(checkout)
    moved = checkout.rename(checkout.with_name("moved"))
    assert set_up(moved).stdout == "set up\n"


def test_an_environment_whose_python_is_gone_is_set_up_again(checkout: Path) -> None:
    set_up(checkout)
    python = checkout / ".venv" / "bin" / "python"
    python.unlink()
    python.symlink_to("/nowhere/python")
    assert set_up(checkout).stdout == "set up\n"


def test_the_chosen_python_is_used_and_an_old_one_refused(checkout: Path, tmp_path: Path) -> None:
    assert set_up(checkout, PYTHON=sys.executable).stdout == "set up\n"
    assert set_up(checkout, PYTHON=sys.executable).stdout == ""
    old = tmp_path / "python3.9"
    pretend_python(old, "3.9.18")
    refused = set_up(checkout, PYTHON=str(old))
    assert refused.returncode != 0
    assert "Python 3.9.18" in refused.stderr
    assert "3.11" in refused.stderr


def test_without_any_new_python_the_message_names_what_was_found(
    checkout: Path, tmp_path: Path
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sh", "cat", "cksum", "dirname"):
        (programs / name).symlink_to(str(shutil.which(name)))
    refused = set_up(checkout, PATH=str(programs))
    assert refused.returncode != 0
    assert "needs Python 3.11 or newer. Found: none." in refused.stderr

    pretend_python(programs / "python3", "3.10.2")
    assert "Found: Python 3.10.2." in set_up(checkout, PATH=str(programs)).stderr


# --- the servers


@pytest.fixture
def bare_machine(tmp_path: Path) -> Path:
    """A folder of programs without any server, where apt-get and sudo write down what they do."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "env"):
        (programs / name).symlink_to(str(shutil.which(name)))
    for name, then in (("apt-get", ""), ("sudo", 'shift; exec "$@"'), ("true", "")):
        (programs / name).write_text(f'#!/bin/bash\necho {name} "$@" >> {tmp_path}/log\n{then}\n')
        (programs / name).chmod(0o755)
    return programs


def install_servers(programs: Path) -> list[str]:
    """What apt-get was asked for."""
    log = programs.parent / "log"
    log.write_text("")
    subprocess.run(
        [ROOT / ".ci" / "servers"],
        env={"PATH": str(programs), "POSTGRESQL": str(programs.parent / "postgresql")},
        check=True,
    )
    return [line for line in log.read_text().splitlines() if line.startswith("apt-get")]


def test_servers_that_are_missing_are_installed_and_those_that_are_there_are_not(
    bare_machine: Path,
) -> None:
    (bare_machine / "valkey-server").symlink_to("/bin/true")
    assert install_servers(bare_machine) == [
        "apt-get update --quiet",
        "apt-get install --quiet --yes --no-install-recommends redis-server postgresql",
    ]
    for name in ("redis-server", "redis-cli"):
        (bare_machine / name).symlink_to("/bin/true")
    assert install_servers(bare_machine)[1].endswith("--no-install-recommends postgresql")
    make_postgresql(bare_machine)
    assert install_servers(bare_machine) == []


def make_postgresql(programs: Path) -> None:
    initdb = programs.parent / "postgresql" / "15" / "bin" / "initdb"
    initdb.parent.mkdir(parents=True)
    initdb.touch()


def test_valkey_is_installed_where_there_is_a_package_and_missed_by_nobody_elsewhere(
    bare_machine: Path,
) -> None:
    for name in ("redis-server", "redis-cli"):
        (bare_machine / name).symlink_to("/bin/true")
    make_postgresql(bare_machine)
    apt_cache = bare_machine / "apt-cache"
    apt_cache.symlink_to("/bin/false")
    assert install_servers(bare_machine) == ["apt-get update --quiet"]

    apt_cache.unlink()
    apt_cache.symlink_to("/bin/true")
    assert install_servers(bare_machine) == [
        "apt-get install --quiet --yes --no-install-recommends valkey-server"
    ]


def test_without_apt_get_the_servers_are_left_to_whoever_keeps_the_machine(
    bare_machine: Path,
) -> None:
    (bare_machine / "apt-get").unlink()
    assert install_servers(bare_machine) == []


PIP_CONFIG = """\
:env:.extra-index-url='https://second.example/simple'
global.cert='/etc/ssl/own.pem'
global.extra-index-url='https://third.example/simple'
global.find-links='/wheels\\n/more'
global.index-url='https://first.example/simple'
install.find-links='/chosen /wheels'
list.format='columns'
"""


def test_uv_asks_the_indexes_that_pip_would_ask() -> None:
    bootstrap = load_bootstrap()
    env = bootstrap.uv_environment(bootstrap.parse_pip_config(PIP_CONFIG), {})
    assert env["UV_DEFAULT_INDEX"] == "https://first.example/simple"
    assert env["UV_INDEX"] == "https://second.example/simple"
    assert env["UV_FIND_LINKS"] == "/chosen,/wheels"
    assert env["SSL_CERT_FILE"] == "/etc/ssl/own.pem"
    assert "ALL_PROXY" not in env


def test_what_uv_was_told_itself_comes_before_pips_settings() -> None:
    bootstrap = load_bootstrap()
    options = bootstrap.parse_pip_config(PIP_CONFIG)
    told = {"UV_DEFAULT_INDEX": "https://own.example/simple"}
    assert bootstrap.uv_environment(options, told)["UV_DEFAULT_INDEX"] == told["UV_DEFAULT_INDEX"]
