"""Columns of a CSV file get types from their cells, or as they are declared."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runtime.actions.prompts import Prompt
from runtime.campaigns.column_types import ColumnRules, Columns, ColumnType, Survey
from runtime.campaigns.people import PeopleError, PeopleFile, Person
from runtime.campaigns.people_rows import normal_id
from tests.harness.bounds import assert_linear, peak_bytes

ALL = frozenset({("customer", "")})
INFER = ColumnRules(read=ALL)
PATHS = {"x": ["customer", "x"]}


def surveyed(cells: list[str], rules: ColumnRules = INFER) -> tuple[Columns, Any]:
    """Return the columns of a file with these cells, and the typed values."""
    survey = Survey(PATHS, rules)
    rows = [{"customer": {"x": cell}} for cell in cells]
    for line, row in enumerate(rows, 2):
        survey.check(row)
        survey.infer(row, line)
    columns = survey.found()
    for row in rows:
        columns.give_types(row)
    return columns, [row["customer"]["x"] for row in rows]


def inferred(*cells: str) -> str:
    return surveyed(list(cells))[0].types()["x"]


def declared(cell: str, kind: str) -> Any:
    rules = ColumnRules(declared={"x": ColumnType(kind)}, read=ALL)
    return surveyed([cell], rules)[1][0]


def people_of(
    folder: Path, content: str, rules: ColumnRules = INFER, limit: int | None = None
) -> tuple[list[Person], Columns]:
    path = folder / "people.csv"
    path.write_bytes(content.encode())
    people = PeopleFile(path)
    columns = people.check(rules=rules, limit=limit).columns
    return list(people.read(columns=columns, limit=limit)), columns


# What is inferred


@pytest.mark.parametrize("cells", [["0"], ["18", "-3"], ["9.50", "0.1"], ["123456789012345"]])
def test_a_column_of_plain_numbers_is_of_numbers(cells: list[str]) -> None:
    assert inferred(*cells) == "number"


@pytest.mark.parametrize("cells", [["true"], ["TRUE", "False", "false"]])
def test_a_column_of_true_and_false_is_of_booleans(cells: list[str]) -> None:
    assert inferred(*cells) == "boolean"


@pytest.mark.parametrize(
    "cell",
    [
        *(
            "007",
            "01234",
            "+49301234",
            "+1",
            "-0",
            "1e5",
            "1E5",
            "1,000",
            "1.000.000",
            "9,50",
            "1'000",
        ),
        *(".5", "5.", " 5", "5 ", "0x10", "1_000", "NaN", "Infinity", "1234567890123456", "\u0663"),
        *(
            "1.234567890123456",
            "yes",
            "no",
            "t",
            "on",
            "true ",
            "2026-03-01",
            "$5",
            "5%",
            "--1",
            "-",
        ),
    ],
)
def test_whatever_is_not_plainly_a_number_stays_text(cell: str) -> None:
    columns, values = surveyed(["1", "2", cell] if cell.strip("ytn") else [cell])
    assert columns.types() == {"x": "text"}
    assert values[-1] == cell


def test_one_cell_that_is_no_number_makes_the_column_text_and_its_line_is_known() -> None:
    columns, values = surveyed(["1", "2", "n/a", "3"])
    [column] = columns.all
    assert (column.type, column.doubt, column.doubt_line) == ("text", "number", 4)
    assert values == ["1", "2", "n/a", "3"]


def test_numbers_and_booleans_in_one_column_are_text() -> None:
    assert inferred("true", "1") == "text"


_CELLS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    st.text("0123456789.-+e, ", min_size=1, max_size=20),
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.integers().map(str),
    st.floats().map(str),
)


@given(cells=st.lists(_CELLS, min_size=1, max_size=6))
def test_every_cell_prints_as_it_is_written_whatever_its_type(cells: list[str]) -> None:
    columns, values = surveyed(cells)
    printed = [Prompt("user", "{{ customer.x }}").render({"customer": {"x": v}}) for v in values]
    if columns.types() == {"x": "boolean"}:
        cells = [cell.lower() for cell in cells]
    assert printed == cells
    if columns.types() == {"x": "text"}:
        assert values == cells


@given(cells=st.lists(_CELLS, min_size=1, max_size=6))
def test_a_number_is_the_one_that_json_reads(cells: list[str]) -> None:
    columns, values = surveyed(cells)
    if columns.types() != {"x": "number"}:
        return
    for cell, value in zip(cells, values, strict=True):
        assert value == json.loads(cell)
        assert isinstance(value, (int, float))


@pytest.mark.parametrize(
    "condition, cells, is_true",
    [
        ("customer.x", ["false", "true"], False),
        ("customer.x", ["TRUE"], True),
        ("customer.x == 0", ["0", "3"], True),
        ("customer.x > 18", ["19"], True),
        ("customer.x > 18", ["9.50"], False),
        ("customer.x < 18", ["9.50", "100"], True),
        ("customer.x == 9.5", ["9.50"], True),
    ],
)
def test_conditions_see_values_and_not_their_text(
    condition: str, cells: list[str], is_true: bool
) -> None:
    _, values = surveyed(cells)
    prompt = Prompt("user", f"{{% if {condition} %}}yes{{% else %}}no{{% endif %}}")
    assert prompt.render({"customer": {"x": values[0]}}) == ("yes" if is_true else "no")


@pytest.mark.parametrize(
    "filters, printed",
    [("times: 2", "19.0"), ("round", "10"), ("append: '!'", "9.50!"), ("upcase", "9.50")],
)
def test_filters_take_numbers_as_written(filters: str, printed: str) -> None:
    _, [value] = surveyed(["9.50"])
    text = Prompt("user", f"{{{{ customer.x | {filters} }}}}").render({"customer": {"x": value}})
    assert text == printed


# What is declared


@pytest.mark.parametrize(
    "cell, kind, value",
    [
        ("18", "number", 18),
        (" 9.50 ", "number", 9.5),
        ("Yes", "boolean", True),
        ("0", "boolean", False),
        ("TRUE", "boolean", True),
        ("2026-03-01", "date", "2026-03-01"),
        ("2026-03-01T10:30:00+02:00", "date", "2026-03-01T10:30:00+02:00"),
        ("18", "text", "18"),
        ("false", "text", "false"),
    ],
)
def test_a_declared_type_is_taken_at_its_word(cell: str, kind: str, value: object) -> None:
    found = declared(cell, kind)
    assert found == value
    assert isinstance(found, type(value))


@pytest.mark.parametrize(
    "cell, kind, words",
    [
        ("9,50", "number", ["at most 15 digits", "digits with a comma"]),
        ("007", "number", ["begins with 0"]),
        ("+7", "number", ["plus sign"]),
        ("1e5", "number", ["not a plain number"]),
        ("1234567890123456", "number", ["more than 15 digits"]),
        ("anna", "number", ["text of 4 characters"]),
        ("maybe", "boolean", ["true or false", "text of 5 characters"]),
        ("1.3.2026", "date", ["2026-03-01"]),
        ("2026-02-30", "date", ["2026-03-01"]),
        ("20260301", "date", ["a number"]),
        ("  ", "number", ["found blanks"]),
    ],
)
def test_a_cell_of_another_type_than_declared_is_named_without_its_text(
    tmp_path: Path, cell: str, kind: str, words: list[str]
) -> None:
    rules = ColumnRules(declared={"x": ColumnType(kind)})
    with pytest.raises(PeopleError) as caught:
        people_of(tmp_path, f'person_id,x\np1,\np2,"{cell}"\n', rules)
    message = str(caught.value)
    assert "people.csv, line 3: column 'x': must be " in message
    for word in words:
        assert word in message
    assert cell == "  " or cell not in message.partition("found ")[2]


@pytest.mark.parametrize(
    "name, kind, words",
    [
        ("y", "number", ["no column 'y'", "x"]),
        ("person_id", "number", ["person_id is text"]),
    ],
)
def test_what_can_not_be_declared_is_refused(
    tmp_path: Path, name: str, kind: str, words: list[str]
) -> None:
    with pytest.raises(PeopleError) as caught:
        people_of(tmp_path, "person_id,x\np1,1\n", ColumnRules({name: ColumnType(kind)}))
    for word in words:
        assert word in str(caught.value)


def test_a_column_may_be_declared_by_the_attribute_that_it_becomes(tmp_path: Path) -> None:
    rules = ColumnRules({"customer.x": ColumnType.TEXT, "person_id": ColumnType.TEXT}, read=ALL)
    [person], columns = people_of(tmp_path, "person_id,x\np1,1\n", rules)
    assert person.data == {"customer": {"x": "1"}}
    assert columns.types() == {"x": "text"}


def test_the_values_of_json_lines_keep_their_types(tmp_path: Path) -> None:
    path = tmp_path / "people.jsonl"
    path.write_text('{"person_id": "1", "a": false, "b": "0", "c": 9.50, "d": "true"}\n')
    people = PeopleFile(path)
    columns = people.check(rules=INFER).columns
    [person] = people.read(columns=columns)
    assert person.data == {"customer": {"a": False, "b": "0", "c": 9.5, "d": "true"}}
    with pytest.raises(PeopleError, match=r"for \.csv files"):
        people.check(rules=ColumnRules({"a": ColumnType.TEXT}))


# Which columns


def test_only_columns_that_are_read_get_a_type(tmp_path: Path) -> None:
    rules = ColumnRules(read=frozenset({("customer", "x"), ("customer", "z"), ("event", "n")}))
    content = "person_id,x,y,z.inner,event.n,empty\np1,1,2,3,4,\n"
    [person], columns = people_of(tmp_path, content, rules)
    assert columns.types() == {"x": "number", "z.inner": "number", "event.n": "number"}
    assert person.data["customer"] == {"x": 1, "y": "2", "z": {"inner": 3}}


def test_a_limit_changes_no_type(tmp_path: Path) -> None:
    content = "person_id,x\n" + "".join(f"p{n},{n}\n" for n in range(1, 50)) + "p50,n/a\n"
    whole, whole_columns = people_of(tmp_path, content)
    part, part_columns = people_of(tmp_path, content, limit=3)
    assert part_columns == whole_columns
    assert part == whole[:3]


def test_text_alone_is_inferred_if_that_is_asked_for() -> None:
    rules = ColumnRules(read=ALL, text_only=True)
    assert surveyed(["1"], rules)[1] == ["1"]


@pytest.mark.parametrize(
    "template",
    [
        '{% if customer.x == "3" %}{% endif %}',
        '{% unless customer.x != "3" %}{% endunless %}',
        '{% if customer.other and customer.x < "3" %}{% endif %}',
        '{% if customer.x contains "3" %}{% endif %}',
        "{% if customer.x contains customer.y %}{% endif %}",
        '{% case customer.x %}{% when "3", "4" %}{% endcase %}',
        "{% if customer.x == customer.y %}{% endif %}",
        "{{ customer.x | size }}",
        "{% if customer.x.size > 3 %}{% endif %}",
        '{% for i in (1..2) %}{% if customer.x == "3" %}{% endif %}{% endfor %}',
    ],
)
def test_an_attribute_that_a_template_uses_as_text_is_known(template: str) -> None:
    found = Prompt("user", template).used_as_text
    assert ("customer", "x") in found
    assert ("customer", "other") not in found


@pytest.mark.parametrize(
    "template",
    [
        "{% if customer.x > 3 %}{% endif %}",
        "{% if customer.x %}yes{% endif %}",
        '{{ customer.x | append: "!" | date: "%Y" }}',
        "{% case customer.x %}{% when 3 %}{% endcase %}",
        "{% if customer.x >= customer.y %}{% endif %}",
        "{{ customer.x[customer.y][event.name] }}",
    ],
)
def test_other_uses_do_not_make_an_attribute_text(template: str) -> None:
    assert Prompt("user", template).used_as_text == frozenset()


# Ids


@pytest.mark.parametrize(
    "text, same",
    [
        ("p1", "p1"),
        (" p1\t", "p1"),
        ("p\u200b1\ufeff", "p1"),
        ("A\u030a", "\u00c5"),
        ("e\u200d\u0301", "\u00e9"),
        ("Ann \u00a0 Lee", "Ann Lee"),
        ("a\tb", "a\tb"),
        ("\u00ad", ""),
    ],
)
def test_ids_that_look_the_same_are_the_same(text: str, same: str) -> None:
    assert normal_id(text) == same


@given(text=st.text())
def test_an_id_in_its_one_form_stays_so(text: str) -> None:
    once = normal_id(text)
    assert normal_id(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert once == once.strip()
    assert "  " not in once


@given(
    text=st.text("ab\u00e9\u0301 \u200b\u00a0", max_size=12),
    form=st.sampled_from(["NFC", "NFD"]),
)
def test_the_form_of_a_text_makes_no_other_id(text: str, form: Any) -> None:
    assert normal_id(unicodedata.normalize(form, text)) == normal_id(text)


@pytest.mark.parametrize("again", ["p1 ", "\u200bp1", "p\u00ad1"])
def test_people_whose_ids_look_the_same_are_refused_by_both_lines(
    tmp_path: Path, again: str
) -> None:
    with pytest.raises(PeopleError, match="the same person_id is on lines 2 and 3"):
        people_of(tmp_path, f"person_id\np1\n{again}\n")
    path = tmp_path / "people.jsonl"
    path.write_text("".join(json.dumps({"person_id": name}) + "\n" for name in ("p1", again)))
    with pytest.raises(PeopleError, match="lines 1 and 2"):
        PeopleFile(path).check()


# Forms of files


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("named", [False, True])
def test_the_separator_is_the_one_that_makes_the_id_a_column(
    tmp_path: Path, separator: str, named: bool
) -> None:
    rows = [["text", "person_id", "other"], ["a,b;c\td|e", "p1", "2"], ["", "p2", '"']]
    lines = [
        separator.join(f'"{cell.replace(chr(34), chr(34) * 2)}"' for cell in row) for row in rows
    ]
    if named:
        lines.insert(0, f"sep={separator}")
    people, _ = people_of(tmp_path, "\ufeff" + "\r\n".join(lines) + "\r\n")
    assert [person.person_id for person in people] == ["p1", "p2"]
    assert people[0].data == {"customer": {"text": "a,b;c\td|e", "other": "2"}}
    assert people[1].line == (4 if named else 3)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=st.integers(0, 3),
    between=st.integers(0, 3),
    nameless=st.integers(0, 3),
    separator=st.sampled_from(",;\t|"),
)
def test_rows_and_columns_without_a_cell_are_not_there(
    before: int, between: int, nameless: int, separator: str, tmp_path: Path
) -> None:
    tail = separator * nameless
    empty = f"{separator} {separator}{tail}\n"
    content = (
        empty * before
        + f"person_id{separator}x{tail}\n"
        + f"p1{separator}a{tail}\n"
        + empty * between
        + f"p2{separator}b{tail}\n"
        + empty
    )
    people, _ = people_of(tmp_path, content)
    assert [(person.person_id, person.data) for person in people] == [
        ("p1", {"customer": {"x": "a"}}),
        ("p2", {"customer": {"x": "b"}}),
    ]
    assert [person.line for person in people] == [before + 2, before + between + 3]


# Bounds


@pytest.mark.parametrize("cell", ["1" * 15, "x" * 100, "0." + "0" * 100_000 + "1", "9" * 100_000])
def test_law_15_the_survey_of_cells_takes_time_in_proportion_to_them(cell: str) -> None:
    def work(rows: list[dict[str, Any]]) -> None:
        survey = Survey(PATHS, INFER)
        for line, row in enumerate(rows):
            survey.infer(row, line)

    assert_linear(lambda count: [{"customer": {"x": cell}}] * count, work, 20_000)


def test_law_15_the_survey_keeps_nothing_of_the_cells() -> None:
    survey = Survey(PATHS, INFER)

    def work() -> None:
        for number in range(50_000):
            survey.infer({"customer": {"x": f"{number}.25"}}, number)

    assert peak_bytes(work) < 100_000
