"""``--out`` replaces results of ours and nothing else, follows no link and never waits."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from runtime.cli.options import BadInput
from runtime.cli.output_file import check_output, open_output

RESULT = json.dumps(
    {"person_id": "p1", "execution_id": "e", "status": "model", "values": {}, "origins": {}}
)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def write(path: Path, *, force: bool = False) -> None:
    check_output(path, force=force)
    with open_output(path, force=force) as file:
        file.write("new\n")


def test_a_new_file_is_readable_by_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    write(path)
    assert (path.read_text(), mode_of(path)) == ("new\n", 0o600)


@pytest.mark.parametrize("content", ["", f"{RESULT}\n", f"{RESULT}\n{RESULT}\n" * 1_000])
def test_results_of_an_earlier_run_are_replaced_and_closed_to_others(
    tmp_path: Path, content: str
) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text(content)
    path.chmod(0o644)
    write(path)
    assert (path.read_text(), mode_of(path)) == ("new\n", 0o600)


@pytest.mark.parametrize(
    "content",
    [
        "version: 1\n",
        "\n",
        "[]\n",
        '"text"\n',
        "[" * 100_000,
        '{"person_id": "p1", "message": "hello"}\n',
        RESULT[:-1],
        f"\n{RESULT}\n",
        "\x00\x01",
    ],
)
def test_another_file_is_replaced_with_force_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "file"
    path.write_text(content)
    for attempt in (check_output, open_output):
        with pytest.raises(BadInput, match=r"is there already.*--force"):
            attempt(path, force=False)
    assert path.read_text() == content
    write(path, force=True)
    assert path.read_text() == "new\n"


def make_link(path: Path) -> None:
    target = path.with_name("target")
    target.write_text(f"{RESULT}\n")
    path.symlink_to(target)


def make_dangling_link(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


def make_link_to_device(path: Path) -> None:
    path.symlink_to("/dev/null")


@pytest.mark.parametrize(
    "make, kind",
    [
        (make_link, "a link"),
        (make_dangling_link, "a link"),
        (make_link_to_device, "a link"),
        (os.mkfifo, "a pipe"),
        (Path.mkdir, "a folder"),
    ],
)
@pytest.mark.parametrize("force", [False, True])
def test_what_is_no_plain_file_is_refused_at_once(
    tmp_path: Path, make: Callable[[Path], None], kind: str, force: bool
) -> None:
    path = tmp_path / "out"
    make(path)
    for attempt in (check_output, open_output):
        with pytest.raises(BadInput, match=kind):
            attempt(path, force=force)
    assert not (tmp_path / "nowhere").exists()
    if make is make_link:
        assert (tmp_path / "target").read_text() == f"{RESULT}\n"


@pytest.mark.parametrize("device", ["/dev/null", "/dev/tty", "/dev/full"])
def test_a_device_is_refused(device: str) -> None:
    if not Path(device).exists():
        pytest.skip(f"no {device} here")
    with pytest.raises(BadInput, match="a device"):
        check_output(Path(device), force=True)


def test_checking_makes_no_file(tmp_path: Path) -> None:
    check_output(tmp_path / "results.jsonl", force=False)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"there is no folder .*nowhere"):
        check_output(tmp_path / "nowhere" / "results.jsonl", force=True)
