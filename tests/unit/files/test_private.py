"""Folders and files that others could change, or read, are refused with what to run."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runtime.files.bounded import FileTooLarge
from runtime.files.private import (
    NotPrivate,
    check_data_folders,
    check_private_folder,
    make_private_folder,
    read_private_file,
)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077, 0o277])
def test_every_folder_on_the_way_is_private_whatever_the_umask(tmp_path: Path, mask: int) -> None:
    there = tmp_path / "there"
    there.mkdir(mode=0o755)
    there.chmod(0o755)
    with umask(mask):
        make_private_folder(there / "a" / "b" / "c")
    assert {mode_of(there / path) for path in ("a", "a/b", "a/b/c")} == {0o700}
    assert mode_of(there) == 0o755, "what was there is its owner's business"


def test_processes_that_make_a_folder_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def make(path: Path) -> None:
        try:
            make_private_folder(path)
        except BaseException as error:  # noqa: BLE001 - reported below
            failures.append(error)

    for round_number in range(20):
        path = tmp_path / str(round_number) / "a" / "b"
        threads = [threading.Thread(target=make, args=(path,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o720, 0o702, 0o1777])
def test_a_folder_that_others_can_write_to_is_refused_with_what_to_run(
    tmp_path: Path, mode: int
) -> None:
    folder = tmp_path / "the data"
    folder.mkdir()
    folder.chmod(mode)
    for check in (check_private_folder, make_private_folder):
        with pytest.raises(NotPrivate) as caught:
            check(folder)
        assert f"{folder} has mode {mode:04o}, so others can write to it" in str(caught.value)
        assert f"chmod 700 '{folder}'" in str(caught.value)
    assert mode_of(folder) == mode


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o750, 0o500])
def test_a_folder_that_others_can_only_read_is_taken(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(mode)
    check_private_folder(folder)


def test_a_folder_that_is_not_there_is_in_order(tmp_path: Path) -> None:
    check_private_folder(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_a_file_in_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.touch()
    with pytest.raises(NotPrivate, match="data must be a folder"):
        check_private_folder(path)


def test_what_belongs_to_somebody_else_is_refused_with_what_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "installation.key"
    path.write_bytes(b"0" * 64)
    path.chmod(0o600)
    monkeypatch.setattr(os, "geteuid", lambda: 54_321)
    owner = path.owner()
    for check in (
        lambda: check_private_folder(tmp_path),
        lambda: read_private_file(path, most_bytes=100),
    ):
        with pytest.raises(NotPrivate) as caught:
            check()
        assert f"belongs to {owner}, and creditgate runs as 54321" in str(caught.value)
        assert "sudo chown -R 54321 " in str(caught.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_secret_that_others_can_use_is_refused_with_what_to_run(
    tmp_path: Path, mode: int
) -> None:
    path = tmp_path / "installation.key"
    path.write_bytes(b"0" * 64)
    path.chmod(mode)
    with pytest.raises(NotPrivate) as caught:
        read_private_file(path, most_bytes=100)
    assert f"has mode {mode:04o}" in str(caught.value)
    assert f"chmod 600 {path}" in str(caught.value)


def test_a_private_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"0" * 64)
    path.chmod(0o600)
    assert read_private_file(path, most_bytes=64) == b"0" * 64
    with pytest.raises(FileTooLarge, match="is larger than 63 bytes"):
        read_private_file(path, most_bytes=63)


def test_a_pipe_in_place_of_a_key_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "key"
    os.mkfifo(path, 0o600)
    with pytest.raises(OSError, match="is not a regular file"):
        read_private_file(path, most_bytes=64)


@pytest.mark.parametrize("name", [".", "spool", "spool/dead"])
def test_the_spool_and_its_folders_are_checked_too(tmp_path: Path, name: str) -> None:
    make_private_folder(tmp_path / "data" / "spool" / "dead")
    check_data_folders(tmp_path / "data")
    (tmp_path / "data" / name).chmod(0o777)
    with pytest.raises(NotPrivate):
        check_data_folders(tmp_path / "data")
