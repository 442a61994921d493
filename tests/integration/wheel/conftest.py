"""The wheel, as built from a checkout and from a source distribution, and as installed."""

from __future__ import annotations

import shutil
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.harness.paths import ROOT
from tests.harness.wheels import Installed, build, install


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, "wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def wheel_of_sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    unpacked = tmp_path_factory.mktemp("unpacked")
    sdist = build(ROOT, "sdist", tmp_path_factory.mktemp("sdist"))
    shutil.unpack_archive(sdist, unpacked, filter="data")
    [source] = unpacked.iterdir()
    return build(source, "wheel", tmp_path_factory.mktemp("wheel-of-sdist"))


@pytest.fixture(scope="module")
def unpacked(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked-wheel")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    folder = tmp_path_factory.mktemp("host")
    python = install(wheel, sys.executable, folder / "venv")
    [packages] = (folder / "venv" / "lib").glob("python*/site-packages")
    # The dependencies are this environment's. Its own .pth files, one of which leads to the
    # checkout, count only where it is itself the environment.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    project = folder / "project"
    for name in ("runtime", "pricing", "fallback", "providers"):
        (project / name).mkdir(parents=True)
        (project / name / "__init__.py").write_text(f'OWNER = "the host, {name}"\n')
    return Installed(python, project)
