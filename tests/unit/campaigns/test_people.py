from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.campaigns.people import PeopleError, PeopleFile, Person
from runtime.campaigns.people_rows import place
from tests.harness.paths import ROOT

Write = Callable[[str, str | bytes], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(name: str, content: str | bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_file


def read(path: Path) -> list[Person]:
    return list(PeopleFile(path).read())


def mistake(path: Path) -> str:
    with pytest.raises(PeopleError) as caught:
        PeopleFile(path).check()
    return str(caught.value)


# What is read


def test_a_csv_column_is_an_attribute_of_the_customer_unless_it_names_another_scope(
    write: Write,
) -> None:
    path = write("p.csv", "person_id,name,event.pages,address.city\np1,Ann,3,Rome\n")
    [person] = read(path)
    assert person.person_id == "p1"
    assert person.data == {
        "customer": {"name": "Ann", "address": {"city": "Rome"}},
        "event": {"pages": "3"},
    }


def test_an_empty_cell_is_an_attribute_that_is_not_known(write: Write) -> None:
    path = write("p.csv", "person_id,name,town\np1,,Rome\n")
    assert read(path)[0].data == {"customer": {"town": "Rome"}}


def test_a_json_row_holds_attributes_or_scopes(write: Write) -> None:
    path = write(
        "p.jsonl",
        '{"person_id": "p1", "name": "Ann", "campaign": "spring"}\n\n'
        '{"person_id": 2, "customer": {"name": "Bo"}, "event": {"pages": [1, null]}}\n',
    )
    first, second = read(path)
    assert first.data == {"customer": {"name": "Ann", "campaign": "spring"}}
    assert (second.person_id, second.line) == ("2", 3)
    assert second.data == {"customer": {"name": "Bo"}, "event": {"pages": [1, None]}}


def test_rows_know_the_line_on_which_they_begin(write: Write) -> None:
    path = write("p.csv", '\ufeffperson_id,text\r\np1,"two\r\nlines"\r\n\r\np2,x\r\n')
    assert [(p.person_id, p.line) for p in read(path)] == [("p1", 2), ("p2", 5)]
    assert read(path)[0].data["customer"]["text"] == "two\r\nlines"


def test_a_limit_reads_no_further_than_it_says(write: Write) -> None:
    path = write("p.csv", "person_id\np1\np2\np2\n")
    assert PeopleFile(path).check(limit=2).people == 2
    assert [p.person_id for p in PeopleFile(path).read(limit=2)] == ["p1", "p2"]


def test_the_check_of_a_file_knows_which_attributes_occur(write: Write) -> None:
    path = write("p.jsonl", '{"person_id":"1","a":1}\n{"person_id":"2","event":{"b":1}}\n')
    summary = PeopleFile(path).check()
    assert summary.attributes == {("customer", "a"), ("event", "b")}
    assert [person.person_id for person in summary.sample] == ["1", "2"]


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(_TEXT, min_size=1, max_size=8))
def test_whatever_text_is_in_a_cell_comes_out_as_it_went_in(
    rows: list[str], tmp_path: Path
) -> None:
    quoted = ['"' + text.replace('"', '""') + '"' for text in rows]
    lines = ["person_id,text", *(f"p{i},{cell}" for i, cell in enumerate(quoted))]
    for name, content in (
        ("p.csv", "\n".join(lines)),
        (
            "p.jsonl",
            "\n".join(json.dumps({"person_id": f"p{i}", "text": t}) for i, t in enumerate(rows)),
        ),
    ):
        path = tmp_path / name
        path.write_bytes(content.encode())
        PeopleFile(path).check()
        assert [p.data["customer"]["text"] for p in read(path)] == rows


# What is wrong


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("p.csv", "", ["is empty"]),
        ("p.csv", "person_id,name\n", ["no people"]),
        ("p.jsonl", "\n \n", ["no people"]),
        ("p.csv", "personid,name\np1,Ann\n", ["line 1", "'person_id'", "did you mean 'personid'"]),
        ("p.csv", "personid;name\np1;Ann\n", ["line 1", "'person_id'", "did you mean 'personid'"]),
        ("p.csv", "person_id,name,name\np1,a,b\n", ["line 1", "2 columns are named 'name'"]),
        ("p.csv", "person_id,name,\np1,a,b\n", ["line 2", "3 cells", "column 3 has no name"]),
        ("p.csv", "person_id,,name\np1,a,b\n", ["line 1", "column 2 has no name"]),
        ("p.csv", "sep=x\nperson_idxname\n", ["line 1", "sep=", "'x'", "semicolon"]),
        ("p.csv", "person_id,a,a.b\np1,x,y\n", ["line 1", "customer.a.b", "customer.a"]),
        ("p.csv", "person_id,name\np1,Ann,x\n", ["line 2", "3 cells", "2 columns"]),
        ("p.csv", "person_id,name\np1\n", ["line 2", "1 cell,", "2 columns"]),
        ("p.csv", "person_id,name\n,Ann\n", ["line 2", "person_id is empty"]),
        ("p.csv", 'person_id,name\np1,"Ann\np2,Bo\n', ["line 2", "not valid CSV"]),
        ("p.csv", 'person_id,name\np1,"A"nn\n', ["line 2", "not valid CSV"]),
        ("p.csv", b"person_id,name\np1,Ann\np2,J\xf6rg\n", ["line 3", "byte 26", "0xf6", "UTF-8"]),
        ("p.csv", "person_id,name\np1,Ann\n".encode("utf-16"), ["line 1", "byte 0", "UTF-16"]),
        ("p.jsonl", '{"person_id": "p1"\n', ["line 1", "column", "not valid JSON"]),
        ("p.jsonl", '{"person_id": "p1", "n": NaN}\n', ["line 1", "NaN"]),
        ("p.jsonl", '{"person_id": "p1"}\n["p2"]\n', ["line 2", "object", "a list"]),
        ("p.jsonl", '{"id": "p1"}\n', ["line 1", "no 'person_id'"]),
        ("p.jsonl", '{"person_id": null}\n', ["line 1", "person_id", "null"]),
        ("p.jsonl", '{"person_id": true}\n', ["line 1", "person_id", "true or false"]),
        ("p.jsonl", '{"person_id": ""}\n', ["line 1", "person_id", "empty"]),
        (
            "p.jsonl",
            '{"person_id": "p", "customer": {"a": 1}, "b": 2}\n',
            ["line 1", "mixes scopes and attributes"],
        ),
        ("p.jsonl", "[" * 100_000 + "\n", ["line 1", "nested too deeply"]),
        ("p.xlsx", "PK", ["*.csv, *.jsonl", "found .xlsx"]),
    ],
)
def test_what_is_wrong_is_named_with_its_place(
    write: Write, name: str, content: str | bytes, words: list[str]
) -> None:
    message = mistake(write(name, content))
    assert name in message
    for word in words:
        assert word in message


def test_a_file_that_is_not_there_a_folder_and_a_pipe_are_told_apart(tmp_path: Path) -> None:
    assert "no such file" in mistake(tmp_path / "people.csv")
    (tmp_path / "folder.csv").mkdir()
    assert "found a folder" in mistake(tmp_path / "folder.csv")
    os.mkfifo(tmp_path / "pipe.csv")
    assert "a pipe" in mistake(tmp_path / "pipe.csv")


def test_law_15_a_row_without_end_is_refused_before_it_fills_the_memory(write: Write) -> None:
    path = write("p.jsonl", b'{"person_id": "' + b"x" * (17 * 1024 * 1024))
    assert "line 1" in mistake(path)
    assert "longer than" in mistake(path)


def test_no_message_holds_a_persons_data(write: Write) -> None:
    secret = "anna@example.org"
    for name, content in (
        ("dup.csv", f"person_id,a\n{secret},x\n{secret},y\n"),
        ("cells.csv", f"person_id,a\n{secret},{secret},{secret}\n"),
        ("quote.csv", f'person_id,a\n{secret},"{secret}\n'),
        ("json.jsonl", f'{{"person_id": "{secret}", "a": {secret}}}\n'),
        ("list.jsonl", f'["{secret}"]\n'),
    ):
        assert secret not in mistake(write(name, content))


def test_duplicates_are_named_by_both_their_lines(write: Write) -> None:
    path = write("p.csv", "person_id,a\np1,x\np2,y\np1,z\np3,z\np2,z\np1,z\np1,z\n")
    message = mistake(path)
    assert "lines 2 and 4, lines 3 and 6, lines 2 and 7 and 1 more" in message


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ids=st.lists(st.text("abc", min_size=1, max_size=3), min_size=1, max_size=30))
def test_a_file_passes_exactly_if_no_id_is_there_twice(ids: list[str], tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text("".join(json.dumps({"person_id": person_id}) + "\n" for person_id in ids))
    if len(set(ids)) == len(ids):
        assert PeopleFile(path).check().people == len(ids)
    else:
        assert "the same person_id" in mistake(path)


def test_further_checks_of_the_caller_are_reported_with_the_line(write: Write) -> None:
    def check(person: Person) -> None:
        if person.person_id == "p2":
            raise ValueError("person_id is not welcome")

    path = write("p.csv", "person_id\np1\np2\n")
    with pytest.raises(PeopleError, match="line 3: person_id is not welcome"):
        PeopleFile(path).check(check_person=check)


def test_a_file_that_changed_after_its_check_is_not_run(write: Write) -> None:
    path = write("p.csv", "person_id\np1\n")
    people = PeopleFile(path)
    people.check()
    write("p.csv", "person_id\np1\np2\n")
    with pytest.raises(PeopleError, match="has changed"):
        list(people.read())


def test_a_value_can_not_be_placed_within_another_value() -> None:
    data: dict[str, object] = {"customer": {"a": "text"}}
    with pytest.raises(ValueError, match=r"customer\.a\.b"):
        place(data, ["customer", "a", "b"], "x")


# Size

_READER = """
    import resource, sys
    from pathlib import Path
    from runtime.campaigns.people import PeopleFile

    def most_kb():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    people = PeopleFile(Path(sys.argv[1]))
    people.check(limit=1000)
    before_kb = most_kb()
    found = people.check().people
    assert found == sum(1 for _ in people.read())
    print(found, most_kb() - before_kb)
"""


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_law_15_two_hundred_thousand_rows_need_hardly_any_memory(
    tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"p.{suffix}"
    with path.open("w") as file:
        if suffix == "csv":
            file.write("person_id,message\n")
        for i in range(200_000):
            row = f"p{i:09},message number {i}"
            file.write(row if suffix == "csv" else f'{{"person_id":"p{i}","message":"m {i}"}}')
            file.write("\n")
    # In a process of its own: the most that this one ever had tells nothing.
    reader = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_READER), str(path)],
        check=True,
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    found, grown_kb = map(int, reader.stdout.split())
    assert found == 200_000
    # 8 bytes an id, and some air; the people themselves would be above 60 MB.
    assert grown_kb < 8_000
