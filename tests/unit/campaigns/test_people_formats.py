"""Packed people files, other encodings, separators and names of the id."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.campaigns.people import PeopleError, PeopleFile, PeopleFormat
from runtime.campaigns.people_rows import MOST_EMPTY_ROWS
from tests.harness.bounds import assert_cpu, assert_linear, peak_bytes

TABLE = "person_id;name;town\np1;Jörg;Köln\np2;Zoë;Łódź\n"
LATIN = TABLE.replace("Łódź", "Genève")


def names(path: Path, form: PeopleFormat | None = None) -> list[str]:
    file = PeopleFile(path) if form is None else PeopleFile(path, form)
    file.check()
    return [person.data["customer"]["name"] for person in file.read()]


def mistake(path: Path, form: PeopleFormat | None = None) -> str:
    with pytest.raises(PeopleError) as caught:
        names(path, form)
    return str(caught.value)


def written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "suffix, content",
    [
        (".csv.gz", TABLE),
        (".CSV.GZ", TABLE),
        (".jsonl.gz", '{"person_id": "p1", "name": "Jörg"}\n{"person_id": "p2", "name": "Zoë"}\n'),
    ],
)
def test_a_packed_file_is_read_as_the_file_in_it(tmp_path: Path, suffix: str, content: str) -> None:
    path = written(tmp_path / f"people{suffix}", gzip.compress(content.encode()))
    assert names(path) == ["Jörg", "Zoë"]


def test_a_packed_file_of_many_parts_or_padded_with_zeros_is_read_to_its_end(
    tmp_path: Path,
) -> None:
    head, tail = TABLE.encode()[:30], TABLE.encode()[30:]
    parts = gzip.compress(head) + gzip.compress(b"") + gzip.compress(tail)
    assert names(written(tmp_path / "parts.csv.gz", parts)) == ["Jörg", "Zoë"]
    assert names(written(tmp_path / "padded.csv.gz", parts + bytes(1_000))) == ["Jörg", "Zoë"]


@pytest.mark.parametrize(
    "encoding", ["utf-16", "utf-16-le", "utf-16-be", "gb18030", "cp1250", "utf-8-sig"]
)
@pytest.mark.parametrize("packed", [False, True])
def test_a_file_in_another_encoding_is_read_if_it_is_named(
    tmp_path: Path, encoding: str, *, packed: bool
) -> None:
    table = TABLE.replace("Zoë", "Zoé")
    content = table.encode(encoding)
    if packed:
        content = gzip.compress(content)
    path = written(tmp_path / ("people.csv.gz" if packed else "people.csv"), content)
    assert names(path, PeopleFormat(encoding=encoding)) == ["Jörg", "Zoé"]


@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0\ufeff")))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@pytest.mark.parametrize("encoding", ["utf-16", "gb18030"])
def test_whatever_text_is_in_a_cell_is_the_same_in_every_encoding(
    tmp_path: Path, encoding: str, text: str
) -> None:
    quoted = text.replace('"', '""')
    table = f'person_id,name\n"p1","x{quoted}"\n' * 1 + f'p2,"{"y" * 70_000}"\n'
    path = written(tmp_path / "people.csv", table.encode(encoding))
    assert names(path, PeopleFormat(encoding=encoding))[0] == f"x{text}"


@pytest.mark.parametrize(
    "delimiter, sign",
    [("semicolon", ";"), ("TAB", "\t"), ("\\t", "\t"), ("^", "^"), ("bar", "|"), (",", ",")],
)
def test_a_separator_that_is_named_is_taken(tmp_path: Path, delimiter: str, sign: str) -> None:
    table = f"person_id{sign}name\np1{sign}a;b,c\np2{sign}d\n"
    if sign in ";,":
        table = table.replace("a;b,c", "abc")
    path = written(tmp_path / "people.csv", table.encode())
    assert names(path, PeopleFormat(delimiter=delimiter))[1] == "d"


def test_the_separator_is_found_by_the_column_that_holds_the_id(tmp_path: Path) -> None:
    path = written(tmp_path / "people.csv", b"no|name, first|a,b,c\n1|Ann|x\n2|Bo|y\n")
    file = PeopleFile(path, PeopleFormat(id_column="no"))
    assert [person.person_id for person in file.read()] == ["1", "2"]


def test_another_column_or_key_may_hold_the_id_and_person_id_is_then_an_attribute(
    tmp_path: Path,
) -> None:
    form = PeopleFormat(id_column="email")
    table = written(tmp_path / "p.csv", b"email,person_id\na@x.org,7\n")
    lines = written(tmp_path / "p.jsonl", b'{"email": "a@x.org", "person_id": "7"}\n')
    for path in (table, lines):
        [person] = PeopleFile(path, form).read()
        assert (person.person_id, person.data) == ("a@x.org", {"customer": {"person_id": "7"}})
    twice = written(tmp_path / "twice.csv", b"email,a\na@x.org,7\na@x.org,8\n")
    assert "the same email is on lines 2 and 3" in mistake(twice, form)


PACKED = gzip.compress(TABLE.encode(), mtime=0)


@pytest.mark.parametrize(
    "name, content, form, words",
    [
        ("p.csv.gz", PACKED[:-9], {}, ["cut off"]),
        ("p.csv.gz", b"", {}, ["line 1", "cut off"]),
        ("p.csv.gz", TABLE.encode(), {}, ["line 1", "not valid gzip"]),
        ("p.csv.gz", PACKED[:20] + b"\xff" + PACKED[21:], {}, ["not valid gzip"]),
        ("p.csv.gz", PACKED + b"more", {}, ["not valid gzip"]),
        ("p.csv.gz", PACKED + bytes(200_000), {}, ["zeros"]),
        ("p.csv", PACKED, {}, ["line 1", "name it *.gz"]),
        ("p.csv", LATIN.encode("cp1252"), {}, ["line 2", "0xf6", "--encoding"]),
        ("p.csv", TABLE.encode("utf-16"), {}, ["line 1", "--encoding utf-16"]),
        ("p.csv", TABLE.encode("utf-16-be"), {"encoding": "utf-16"}, ["line 1", "utf-16-be"]),
        ("p.csv", TABLE.encode("utf-16")[:-1], {"encoding": "utf-16"}, ["not valid utf-16"]),
        (
            "p.csv",
            b"person_id,a\np1,x\np2,\xff\n",
            {"encoding": "ascii"},
            ["line 3", "byte 20", "0xff"],
        ),
        ("p.csv", b"a^b\n1^2\n", {}, ["line 1", "'person_id'", "--delimiter"]),
        ("p.csv", b"id,b\n1,2\n", {}, ["line 1", "'person_id'", "--id-column"]),
        ("p.csv", b"id,b\n1,2\n", {"id_column": "idd"}, ["'idd'", "did you mean 'id'"]),
        ("p.jsonl", b"{}\n", {"id_column": "no"}, ["line 1", "has no 'no'"]),
        ("p.jsonl", b"{}\n", {"delimiter": ";"}, ["for .csv files"]),
        ("p.txt.gz", PACKED, {}, ["*.csv.gz", "found .gz"]),
    ],
)
def test_what_is_wrong_is_named_with_its_line_and_what_is_allowed(
    tmp_path: Path, name: str, content: bytes, form: dict[str, str], words: list[str]
) -> None:
    message = mistake(written(tmp_path / name, content), PeopleFormat(**form))
    assert name in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    "form",
    [
        {"delimiter": "ab"},
        {"delimiter": '"'},
        {"delimiter": "\n"},
        {"delimiter": "x"},
        {"delimiter": ""},
        {"encoding": "utf-7"},
        {"encoding": "rot13"},
        {"encoding": "nonsense"},
        {"encoding": ""},
        {"id_column": " "},
    ],
)
def test_a_form_that_no_file_has_is_refused(form: dict[str, str]) -> None:
    with pytest.raises(PeopleError, match="found"):
        PeopleFormat(**form)


# Bounds


def bomb(megabytes: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    row = b"p," + b"x" * 999_997 + b"\n"
    packed = packer.compress(b"person_id,name\n")
    return packed + b"".join(packer.compress(row) for _ in range(megabytes)) + packer.flush()


def test_law_15_a_packed_file_unpacks_to_at_most_200_times_its_size(tmp_path: Path) -> None:
    path = written(tmp_path / "bomb.csv.gz", bomb(40))
    assert path.stat().st_size < 200_000

    def work() -> None:
        stream = PeopleFile(path).read()
        with pytest.raises(PeopleError, match=r"line .*more than 200 times its size"):
            for _ in stream:
                pass

    assert peak_bytes(work) < 16_000_000


def test_law_15_a_packed_row_without_end_is_refused_before_it_fills_the_memory(
    tmp_path: Path,
) -> None:
    path = written(tmp_path / "row.jsonl.gz", gzip.compress(b"x" * 50_000_000))

    def work() -> None:
        assert "line 1: is longer than 1,048,576 bytes" in mistake(path)

    assert peak_bytes(work) < 8_000_000


def empty_blocks(megabytes: int) -> bytes:
    """Return a packed file of blocks that hold nothing."""
    return gzip.compress(b"", mtime=0)[:10] + b"\0\0\0\xff\xff" * (megabytes * 200_000)


@pytest.mark.parametrize(
    "content, words",
    [
        (gzip.compress(b"", mtime=0) * 20_000, "too many packed parts"),
        (empty_blocks(6), "far less than its packed size"),
    ],
    ids=["empty parts", "empty blocks"],
)
def test_law_15_a_packed_file_that_holds_nothing_is_refused_within_50_ms_of_cpu(
    tmp_path: Path, content: bytes, words: str
) -> None:
    path = written(tmp_path / "p.csv.gz", content)

    def work() -> None:
        assert words in mistake(path)

    assert_cpu(work, 0.05)


@pytest.mark.parametrize(
    "name, row, head",
    [
        ("p.csv", b",,\n", b"person_id,a,b\n1,x,y\n"),
        ("p.jsonl", b"\n", b'{"person_id": "1"}\n'),
    ],
)
def test_law_15_between_two_people_there_are_at_most_20_000_empty_rows(
    tmp_path: Path, name: str, row: bytes, head: bytes
) -> None:
    last = head.splitlines(keepends=True)[-1].replace(b"1", b"2")
    empty = row * MOST_EMPTY_ROWS
    allowed = written(tmp_path / name, head + empty + last + row * 30_000)
    file = PeopleFile(allowed)
    assert file.check().people == 2, "those at the end are read by nobody"

    def work() -> None:
        assert len(list(file.read(limit=2))) == 2

    assert_cpu(work, 0.05)
    refused = written(tmp_path / f"more{name}", head + empty + row + last)
    assert "follows 20,001 empty" in mistake(refused)


@given(content=st.binary(max_size=300), cut=st.integers(0, 60), packed=st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)
def test_any_bytes_give_people_or_an_error_with_a_line(
    tmp_path: Path, content: bytes, cut: int, *, packed: bool
) -> None:
    data = gzip.compress(content)[: -cut or None] if packed else content
    path = written(tmp_path / "p.csv.gz", data)
    for encoding in ("utf-8", "utf-16", "gb18030", "cp1252"):
        try:
            list(PeopleFile(path, PeopleFormat(encoding=encoding)).read())
        except PeopleError as error:
            told = str(error)
            assert "line " in told or "is empty" in told


def test_law_15_a_packed_file_is_read_in_time_in_proportion_to_its_length(tmp_path: Path) -> None:
    def make(people: int) -> Path:
        rows = "".join(f"{n},{zlib.crc32(str(n).encode())}\n" for n in range(people))
        packed = gzip.compress(f"person_id,name\n{rows}".encode())
        return written(tmp_path / f"{people}.csv.gz", packed)

    def work(path: Path) -> None:
        for _ in PeopleFile(path).read():
            pass

    assert_linear(make, work, 2_000)
    long = make(20_000)
    assert peak_bytes(lambda: work(long)) < 2_000_000
