"""Any people file gives rows, or an error that names the line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from runtime.campaigns.people import PeopleFile
from runtime.campaigns.people_rows import PeopleError

CELLS = st.sampled_from(
    [
        *("p1", "p2", "Ann", "", " ", "true", "0", "1e999", "-0", "NaN", "2026-03-01", "=1+1"),
        *('"a,b"', '"a\nb"', '"a""b"', '"', 'a"b', "'a'", "\u200b", "\ufeff", "e\u0301", "\x00"),
        *("{{ x }}", "a.b", "a.b.c", "person_id", "customer", "event.a", ".", "a..b", "\x1b[31m"),
    ]
)
SIGNS = st.sampled_from([",", ",", ",", ";", "\t", "\n", "\n", "\r\n", "\r", "\n\n", "sep=;\n"])
TABLES = st.lists(CELLS | SIGNS | st.text(max_size=4), max_size=30).map("".join)
HEADS = st.sampled_from(["", "person_id,", "person_id,name\n", "\ufeffperson_id,a,b\n", "sep=,\n"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
NAMES = st.sampled_from(["person_id", "customer", "event", "a", "a.b", ""])
OBJECTS = st.dictionaries(NAMES | st.text(max_size=3), VALUES, max_size=5).map(repr) | st.builds(
    lambda name, value: f'{{"person_id": "{name}", "a": {value}}}',
    st.text(max_size=3),
    st.sampled_from(["1", "[1]", "{}", "NaN", "1e999", "null", '"x"', "", "[" * 200]),
)
CONTENTS = (
    st.binary(max_size=100)
    | st.tuples(HEADS, TABLES).map("".join).map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.lists(OBJECTS | st.text(max_size=8), max_size=5)
    .map("\n".join)
    .map(lambda text: text.encode("utf-8", "surrogatepass"))
)
SUFFIXES = st.sampled_from([".csv", ".jsonl"])
SHARED = [HealthCheck.function_scoped_fixture]


def assert_rows_or_an_error_with_a_line(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    refused = None
    people = []
    try:
        PeopleFile(path).check()
        people = list(PeopleFile(path).read())
    except PeopleError as error:
        refused = str(error)
    if refused is None:
        assert people
        assert all(person.person_id for person in people)
    elif "is empty" not in refused and "no people" not in refused:
        numbers = [int(number) for number in re.findall(r"lines? (\d+)", refused)]
        assert numbers, refused
        assert 1 <= min(numbers) <= max(numbers) <= len(content) + 1


@settings(suppress_health_check=SHARED)
@given(SUFFIXES, CONTENTS)
@example(".csv", b"person_id,a\r1,2\r")
@example(".csv", b'person_id,a\n1,"x')
@example(".jsonl", b'{"person_id": "1", "a": ' + b"[" * 5_000)
def test_law_15_any_people_file_gives_rows_or_an_error_that_names_the_line(
    tmp_path: Path, suffix: str, content: bytes
) -> None:
    assert_rows_or_an_error_with_a_line(tmp_path / f"people{suffix}", content)


@pytest.mark.long
@pytest.mark.timeout(600)
@settings(suppress_health_check=SHARED, max_examples=5_000)
@given(SUFFIXES, CONTENTS)
def test_law_15_any_people_file_of_many_gives_rows_or_an_error_that_names_the_line(
    tmp_path: Path, suffix: str, content: bytes
) -> None:
    assert_rows_or_an_error_with_a_line(tmp_path / f"people{suffix}", content)
