"""People files from spreadsheets and databases, from the command line."""

from __future__ import annotations

import gzip

import pytest

from tests.harness.command_line import Home

RUN = ("run", "--action", "typed", "--account", "acme", "--people")
PREVIEW = ("preview", "--action", "typed", "--account", "acme", "--json")

ACTION = """
  typed:
    model: writer
    user: |
      {{ customer.name }} has {{ customer.spent }}, code {{ customer.code }}.
      {% if customer.subscribed %}Subscribed.{% else %}Not subscribed.{% endif %}
      {% if customer.orders == 0 %}No orders.{% endif %}
      {% if customer.age > 18 %}Of age.{% endif %}
      {% if customer.tier == "3" %}Tier three.{% endif %}
    outputs:
      reply: {type: text, max_length: 200, fallback: Hello}
    limits: {max_output_tokens: 100}
"""

PEOPLE = """\
person_id,name,spent,code,subscribed,orders,age,tier
p1,Ann,9.50,007,false,0,30,3
p2,Bo,10,008,TRUE,2,17,2
"""


@pytest.fixture
def typed(home: Home) -> Home:
    """A home whose config has an action with conditions, and an account with credits."""
    path = home.folder / "config.yaml"
    path.write_text(path.read_text("utf-8").replace("\nactions:\n", f"\nactions:{ACTION}", 1))
    home.open_account("acme", amount_mc=100_000_000)
    return home


def prompt(home: Home, *options: str) -> str:
    found: str = home.invoke(*PREVIEW, *options).json["prompt"][-1]["content"]
    return " ".join(found.split())


def test_conditions_see_the_values_of_cells_and_cells_print_as_they_are_written(
    typed: Home,
) -> None:
    people = typed.write("people.csv", PEOPLE)
    first = prompt(typed, "--people", people)
    second = prompt(typed, "--people", people, "--person-id", " p2\u200b")
    assert first == ("Ann has 9.50, code 007. Not subscribed. No orders. Of age. Tier three.")
    assert second == "Bo has 10, code 008. Subscribed."


def test_the_types_are_said_before_the_run_and_in_its_summary(typed: Home) -> None:
    people = typed.write("people.csv", PEOPLE)
    ran = typed.invoke(*RUN, people, "--json")
    assert ran.status == 0
    said, _, after = ran.stderr.partition("Starting")
    assert after
    assert (
        "Columns: name text, spent number, code text, subscribed boolean, orders number, "
        "age number, tier text\n"
    ) in said
    assert ran.json["columns"]["subscribed"] == "boolean"
    assert (ran.json["model"], ran.json["reasons"]) == (2, {})
    estimate = typed.invoke("estimate", "--action", "typed", "--people", people, "--json").json
    assert estimate["columns"] == ran.json["columns"]
    assert estimate["before_a_call"] == {}


def test_a_declared_type_that_a_cell_does_not_have_charges_nobody(typed: Home) -> None:
    people = typed.write("people.csv", PEOPLE + "p3,Cy,1,1,true,1,unknown,1\n")
    refused = typed.invoke(*RUN, people, "--column", "age=number", "--json")
    assert refused.status == 2
    message = refused.json["error"]["message"]
    assert "people.csv, line 4: column 'age': must be a number" in message
    assert "found text of 7 characters" in message
    assert "unknown" not in message
    assert typed.balance("acme").charged_mc == 0


def test_what_would_fail_for_everybody_is_said_before_the_run(typed: Home) -> None:
    people = typed.write("people.csv", PEOPLE + "p3,Cy,1,1,true,1,unknown,1\n")
    ran = typed.invoke(*RUN, people, "--json")
    assert "note: column age has numbers up to line 4" in ran.stderr
    assert "first 3 people would get fallback values" in ran.stderr
    assert "compares values of different types, such as text with a number" in ran.stderr
    assert ran.json["reasons"] == {"prompt_error": 3}
    text = typed.invoke(*RUN, people, "--text-columns", "--json").json
    assert set(text["columns"].values()) == {"text"}


def test_an_attribute_of_a_preview_has_the_type_of_a_cell_like_it(typed: Home) -> None:
    given = ("name=Ann", "spent=9.50", "code=7", "subscribed=false", "orders=0", "age=30", "tier=3")
    options = [part for text in given for part in ("--attribute", text)]
    assert prompt(typed, *options) == (
        "Ann has 9.50, code 7. Not subscribed. No orders. Of age. Tier three."
    )
    people = typed.write("people.csv", PEOPLE)
    assert prompt(typed, "--people", people, "--attribute", "age=5") == (
        "Ann has 9.50, code 007. Not subscribed. No orders. Tier three."
    )
    refused = typed.invoke(*PREVIEW, "--people", people, "--attribute", "age=old")
    assert refused.status == 2
    assert "column 'age': must be a number" in refused.json["error"]["message"]


@pytest.mark.parametrize("option", ["age=int", "age", "=number", "nobody=number"])
def test_a_type_or_a_column_that_is_not_there_is_refused(typed: Home, option: str) -> None:
    people = typed.write("people.csv", PEOPLE)
    refused = typed.invoke(*RUN, people, "--column", option)
    assert refused.status == 2
    assert "--column" in refused.stderr or "no column 'nobody'" in refused.stderr


def test_a_file_of_a_spreadsheet_runs_as_it_is(typed: Home) -> None:
    rows = PEOPLE.replace(",", ";").splitlines()
    lines = ["sep=;", rows[0] + ";", rows[1] + ";", ";" * 8, rows[2] + ";", ";" * 8]
    people = typed.write("people.csv", "\ufeff" + "\r\n".join(lines) + "\r\n")
    ran = typed.invoke(*RUN, people, "--json", "--out", "out.jsonl")
    assert (ran.status, ran.json["model"]) == (0, 2)
    assert set(typed.results("out.jsonl")) == {"p1", "p2"}


def test_a_packed_file_of_another_form_runs_as_it_is_told(typed: Home) -> None:
    rows = PEOPLE.replace(",", "^").replace("person_id", "no").replace("Ann", "Änne")
    people = typed.write("people.csv.gz", gzip.compress(rows.encode("cp1252")))
    form = ("--delimiter", "^", "--encoding", "windows-1252", "--id-column", "no")
    ran = typed.invoke(*RUN, people, *form, "--json", "--out", "out.jsonl")
    assert (ran.status, ran.json["model"]) == (0, 2)
    assert ran.json["campaign"] == "people"
    assert set(typed.results("out.jsonl")) == {"p1", "p2"}
    estimate = typed.invoke("estimate", "--action", "typed", "--people", people, *form, "--json")
    assert estimate.json["people"] == 2
    assert prompt(typed, "--people", people, *form).startswith("Änne has")
    models = typed.invoke("models", "--action", "typed", "--people", people, *form, "--json")
    assert models.status == 0


@pytest.mark.parametrize(
    "form, words",
    [
        (("--delimiter", "ab"), ["found 'ab'", "allowed are comma, semicolon, tab, bar"]),
        (("--encoding", "klingon"), ["found 'klingon'", "allowed are utf-8"]),
        (("--encoding", "ascii"), ["people.csv, line 2", "0xc3"]),
        (("--id-column", "nobody"), ["people.csv, line 1", "no column 'nobody'"]),
    ],
)
def test_a_form_that_does_not_fit_is_refused_before_anything_is_charged(
    typed: Home, form: tuple[str, ...], words: list[str]
) -> None:
    people = typed.write("people.csv", PEOPLE.replace("Ann", "Änne"))
    refused = typed.invoke(*RUN, people, *form)
    assert refused.status == 2
    for word in words:
        assert word in refused.stderr
    assert typed.balance("acme").charged_mc == 0
