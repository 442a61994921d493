"""Bounds of what a config and the files that it names may take."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from runtime.config.document import MOST_BYTES, MOST_FILES, read_document
from runtime.config.errors import ConfigError
from runtime.config.fields import MOST_SECRET_BYTES
from runtime.config.loader import load_config
from tests.harness.bounds import assert_linear, peak_bytes

LEAST = "version: 1\nplans: {}\n"


def refused(path: Path) -> str:
    with pytest.raises(ConfigError) as raised:
        load_config(path, environ={})
    return str(raised.value)


def test_law_15_a_config_beyond_its_bound_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(LEAST + "# " + "x" * 20_000_000)

    assert "1,000,000 bytes" in refused(path)
    assert peak_bytes(lambda: refused(path)) < 8_000_000


def test_law_15_a_config_and_all_that_it_includes_share_one_bound(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(LEAST + "include: [one.yaml, two.yaml]\n")
    for name in ("one.yaml", "two.yaml"):
        (tmp_path / name).write_text("actions: {}\n# " + "x" * (MOST_BYTES // 2))

    said = refused(path)

    assert "two.yaml" in said
    assert "1,000,000 bytes, with all that it includes" in said


def test_law_15_a_config_has_at_most_100_files(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    names = [f"part{number}.yaml" for number in range(MOST_FILES)]
    path.write_text(LEAST + f"include: [{', '.join(names)}]\n")
    for name in names:
        (tmp_path / name).write_text("actions: {}\n")

    assert f"at most {MOST_FILES} files" in refused(path)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_law_15_a_config_that_never_ends_is_refused(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    path = tmp_path / "config.yaml"
    make(path)

    assert "is not a regular file" in refused(path)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to("/dev/zero")])
def test_law_15_a_secret_file_that_never_ends_is_refused(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "secret")
    path = tmp_path / "config.yaml"
    path.write_text(LEAST + "installation_key: {file: secret}\n")

    assert "secret cannot be read: is not a regular file" in refused(path)


def test_law_15_a_secret_file_beyond_its_bound_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"x" * (MOST_SECRET_BYTES + 1))
    path = tmp_path / "config.yaml"
    path.write_text(LEAST + "installation_key: {file: secret}\n")

    assert "is larger than 65,536 bytes" in refused(path)


@pytest.mark.parametrize(
    "unit, around",
    [
        ("k{}: 1\n", "{}"),
        ("1,", "a: [{}1]\n"),
        ("  some words in a line of a prompt\n", "a: |\n{}"),
        ("\n", "a: b\n{}"),
        (" ", "a: {}b\n"),
        ("x", 'a: "{}"\n'),
        ("a{}: &x{} 1\n", "{}"),
    ],
)
def test_law_15_yaml_is_read_in_time_in_proportion_to_its_length(unit: str, around: str) -> None:
    def make(size: int) -> str:
        count = size // len(unit)
        return around.format("".join(unit.replace("{}", str(n)) for n in range(count)))

    def work(text: str) -> None:
        with suppress(ConfigError):
            read_document(text, "config.yaml", Path())

    assert_linear(make, work, 6_000)
