"""Typed outputs: what is asked of a model, and which of its answers count."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runtime.actions.answers import parse
from runtime.actions.outputs import (
    BooleanOutput,
    MultiSelectOutput,
    NumberOutput,
    OutputField,
    SingleSelectOutput,
    TextOutput,
    instruction,
    json_schema,
    longest_answer,
)

OUTPUTS: dict[str, OutputField] = {
    "reply": TextOutput(max_length=40, fallback="Thank you."),
    "score": NumberOutput(minimum=-1, maximum=12.5, fallback=0),
    "stars": NumberOutput(minimum=1, maximum=5, integer=True, fallback=3),
    "urgent": BooleanOutput(fallback=False),
    "intent": SingleSelectOutput(options=("Refund", "Card lost", "Other"), fallback="Other"),
    "tags": MultiSelectOutput(options=("a", "b", "c", "d"), max_items=3, fallback=[]),
}
GOOD: dict[str, Any] = {
    "reply": "We are on it.",
    "score": 0.5,
    "stars": 4,
    "urgent": True,
    "intent": "Refund",
    "tags": ["a", "c"],
}


def fits(output: OutputField, value: Any) -> bool:
    """Say by the output's limits alone whether a value is valid."""
    match output:
        case TextOutput():
            return type(value) is str and output.min_length <= len(value) <= output.max_length
        case NumberOutput():
            kinds: tuple[type, ...] = (int,) if output.integer else (int, float)
            return type(value) in kinds and output.minimum <= value <= output.maximum
        case BooleanOutput():
            return type(value) is bool
        case SingleSelectOutput():
            return value in output.options
        case MultiSelectOutput():
            most = len(output.options) if output.max_items is None else output.max_items
            return (
                type(value) is list
                and set(value) <= set(output.options)
                and len(set(value)) == len(value)
                and output.min_items <= len(value) <= most
            )


def read(value: Any, output: OutputField) -> Any:
    """Return what is read where an answer has ``value``, or ``None`` if that is invalid."""
    return parse(json.dumps({"x": value}), {"x": output}).values.get("x")


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["Refund", "refund ", "a", "B", "12.5", "1e999", "nan", "TRUE", "3.0"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
answers = st.dictionaries(st.sampled_from(sorted(OUTPUTS)) | st.text(), anything).map(json.dumps)
pieces = st.sampled_from(
    ['"', "\\", "{", "}", "[", "]", ",", ":", "//", "\n", "<think>", "</think>", "```", "\ud800"]
)


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """An answer with a few places cut out or replaced."""
    text = draw(answers)
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = start + draw(st.integers(0, 3))
        text = text[:start] + draw(pieces | st.just("") | st.text(max_size=3)) + text[end:]
    return text


class TestAnyAnswer:
    @given(st.text() | answers | damaged() | st.tuples(st.text(), answers, st.text()).map("".join))
    @example("")
    @example('{"a":' * 100_000)
    @example('{"reply": ' + "[" * 100_000)
    @example("{" * 1_000_000)
    @example('{"reply": "' + "x" * 1_000_000 + '"}')
    @example('{"score": ' + "9" * 10_000 + ', "stars": 1e999}')
    @example('{"score": NaN, "stars": Infinity, "urgent": -Infinity}')
    @example('{"reply": "one", "reply": 2, "intent": "Other", "intent": "Other"}')
    @example('{"reply": "\\ud800 \\u0000 \ud800"}')
    @example('{"reply": {"reply": "Hi"}}')
    @example('{"tags": [{"a": 1, "a": 2}], "Tags": ["a"], "TAGS": ["b"], "answer": {}}')
    @example('{"answer": {"answer": {"reply": "Hi"}}}')
    @example('<think>{"reply": "Hi"}</think>{// \n"reply": "Hi",}')
    def test_law_15_gives_valid_values_or_reasons_and_never_fails(self, text: str) -> None:
        answer = parse(text, OUTPUTS)

        assert {*answer.values, *answer.invalid} == set(OUTPUTS)
        assert not answer.values.keys() & answer.invalid.keys()
        for name, value in answer.values.items():
            assert fits(OUTPUTS[name], value)
        json.dumps(answer.values, allow_nan=False, ensure_ascii=False).encode()

    def test_spoils_no_other_field_by_a_bad_one(self) -> None:
        for name in OUTPUTS:
            others = {k: v for k, v in GOOD.items() if k != name}
            bads: tuple[Any, ...] = (None, {"a": 1}, "x" * 41, 10**500, [[]])
            for bad in bads:
                answer = parse(json.dumps({**GOOD, name: bad}), OUTPUTS)
                assert {k: v for k, v in answer.values.items() if k != name} == others
                assert name in answer.invalid
            assert parse(json.dumps(others), OUTPUTS).invalid == {name: "is missing"}

    def test_spoils_no_other_field_by_a_number_of_ten_thousand_digits(self) -> None:
        text = json.dumps({**GOOD, "score": 0}).replace('"score": 0', '"score": ' + "9" * 10_000)

        assert parse(text, OUTPUTS).invalid.keys() == {"score"}

    @pytest.mark.parametrize(
        "value", ["4929-1234-5678" * 5, ["4929-1234-5678"], {"4929-1234-5678": 1}]
    )
    def test_is_never_echoed_in_the_reasons(self, value: Any) -> None:
        answer = parse(json.dumps(dict.fromkeys(OUTPUTS, value)), OUTPUTS)

        assert answer.invalid.keys() == OUTPUTS.keys()
        assert "4929" not in json.dumps(answer.invalid)

    @pytest.mark.parametrize(
        "text",
        [
            json.dumps(GOOD),
            json.dumps(GOOD, indent=2),
            f"```json\n{json.dumps(GOOD)}\n```",
            f"Sure! {{as you asked}} Here it is:\n{json.dumps(GOOD)}\nAnything else? {{}}",
            f"\ufeff[{json.dumps(GOOD)}]",
            json.dumps({**GOOD, "extra": {"reply": "not this"}}),
        ],
    )
    def test_is_found_in_fences_prose_and_lists(self, text: str) -> None:
        assert parse(text, OUTPUTS).values == GOOD

    def test_law_14_that_is_followed_by_another_one_is_no_answer_unless_both_say_the_same(
        self,
    ) -> None:
        first, second = json.dumps(GOOD), json.dumps({**GOOD, "intent": "Other"})

        assert parse(f"{first} or rather {second}", OUTPUTS).values == {}
        assert parse(f"{first}, again: {first}", OUTPUTS).values == GOOD

    def test_that_is_cut_off_or_broken_has_no_values(self) -> None:
        text = json.dumps(GOOD)

        assert parse(text[:-1], OUTPUTS).values == {}
        assert parse(text.replace('"', "'"), OUTPUTS).values == {}

    def test_law_14_that_is_broken_does_not_yield_to_an_object_that_it_quotes(self) -> None:
        quoted = '{"intent": "Refund", "score": 12}'
        text = f'{{"reply": "You wrote: {quoted}", "intent": "Other"}}'

        assert parse(text, OUTPUTS).values == {}

    def test_law_14_that_quotes_json_in_a_text_keeps_it_as_text(self) -> None:
        quoted = '{"intent": "Refund"} \n```'
        answer = parse(json.dumps({"reply": quoted, "intent": "Other"}), OUTPUTS)

        assert answer.values == {"reply": quoted.strip(), "intent": "Other"}


class TestText:
    def test_is_kept_as_it_is_but_for_space_around_it(self) -> None:
        assert read("  «Größe»\n\t{{ x }} 犬  ", TextOutput(max_length=40, fallback="-")) == (
            "«Größe»\n\t{{ x }} 犬"
        )

    def test_may_have_raw_line_breaks_where_json_allows_none(self) -> None:
        output = TextOutput(max_length=40, fallback="-")

        assert parse('{"x": "one\ntwo"}', {"x": output}).values == {"x": "one\ntwo"}

    def test_that_is_too_long_is_invalid_and_not_cut(self) -> None:
        output = TextOutput(max_length=3, fallback="-")

        assert read("abc", output) == "abc"
        assert read("abcd", output) is None

    def test_that_is_empty_is_no_answer_unless_that_is_allowed(self) -> None:
        assert read("  ", TextOutput(max_length=3, fallback="-")) is None
        assert read("  ", TextOutput(max_length=3, min_length=0, fallback="")) == ""

    @pytest.mark.parametrize("value", [5, True, ["a"], {"a": "b"}, None])
    def test_is_never_made_of_something_else(self, value: Any) -> None:
        assert read(value, TextOutput(max_length=40, fallback="-")) is None

    def test_loses_what_no_database_could_store(self) -> None:
        assert read("a\x00b\ud800c", TextOutput(max_length=40, fallback="-")) == "ab\ufffdc"


class TestNumber:
    output = NumberOutput(minimum=-100, maximum=100, fallback=0)
    integer = NumberOutput(minimum=-100, maximum=100, integer=True, fallback=0)

    @pytest.mark.parametrize(
        "written, number",
        [(12.5, 12.5), ("12.5", 12.5), (" -7 ", -7), ("+1e1", 10), (-100, -100), ("100", 100)],
    )
    def test_may_be_written_as_text(self, written: Any, number: float) -> None:
        assert read(written, self.output) == number

    @pytest.mark.parametrize(
        "written",
        [
            *(True, None, [], {}, "", "12,5", "1_0", "٣", "0x1", "1e999", "nan", "NaN", "inf"),
            *("-Infinity", float("nan"), float("inf"), 100.5, -101, 10**400, "9" * 1000, "12 %"),
        ],
    )
    def test_is_nothing_else_and_nothing_beyond_its_limits(self, written: Any) -> None:
        assert read(written, self.output) is None

    @pytest.mark.parametrize("written", [3, 3.0, "3", "3.0", "3e0"])
    def test_that_must_be_an_integer_becomes_one(self, written: Any) -> None:
        value = read(written, self.integer)
        assert value == 3
        assert type(value) is int

    @pytest.mark.parametrize("written", [3.5, "3.5", 1e-9, "1e-400x"])
    def test_that_must_be_an_integer_is_not_rounded(self, written: Any) -> None:
        assert read(written, self.integer) is None


class TestBoolean:
    @pytest.mark.parametrize(
        "written, value",
        [(True, True), (False, False), ("true", True), (" False ", False), ("TRUE", True)],
    )
    def test_is_true_or_false_even_as_text(self, written: Any, value: bool) -> None:
        assert read(written, BooleanOutput(fallback=True)) is value

    @pytest.mark.parametrize("written", [0, 1, "yes", "no", "1", "", [], [True], None, 1.0])
    def test_is_nothing_else(self, written: Any) -> None:
        assert read(written, BooleanOutput(fallback=True)) is None


class TestSingleSelect:
    output = SingleSelectOutput(
        options=("Refund", "Straße", "a", "A", " b", "OK", "Ok"), fallback="a"
    )

    @pytest.mark.parametrize(
        "written, option",
        [
            ("Refund", "Refund"),
            (" refund\n", "Refund"),
            ("STRASSE", "Straße"),
            ("A", "A"),
            (" A ", "A"),
            ("B", " b"),
        ],
    )
    def test_is_an_option_even_in_another_case(self, written: str, option: str) -> None:
        assert read(written, self.output) == option

    @pytest.mark.parametrize("written", ["á", "Ref", "", "Refund.", "ok", 1, None, ["Refund"], {}])
    def test_is_nothing_that_is_unknown_or_could_be_two_options(self, written: Any) -> None:
        assert read(written, self.output) is None


class TestMultiSelect:
    output = MultiSelectOutput(
        options=("Red", "Green", "Blue"), min_items=1, max_items=2, fallback=["Red"]
    )

    @pytest.mark.parametrize(
        "written, options",
        [
            (["Blue", "Red"], ["Blue", "Red"]),
            (["red", "Red", "RED"], ["Red"]),
            (" green", ["Green"]),
        ],
    )
    def test_is_options_in_their_order_without_repeats(
        self, written: Any, options: list[str]
    ) -> None:
        assert read(written, self.output) == options

    @pytest.mark.parametrize(
        "written",
        [
            *([], ["Red", "Pink"], ["Red", None], ["Red", ["Blue"]], ["Red", "Green", "Blue"]),
            *("Red, Blue", "", None, 1, {}, {"Red": True}),
        ],
    )
    def test_is_invalid_as_a_whole_when_a_part_is(self, written: Any) -> None:
        assert read(written, self.output) is None

    def test_without_limits_may_be_none_or_all(self) -> None:
        output = MultiSelectOutput(options=("Red", "Green"), fallback=[])

        assert read([], output) == []
        assert read(["Green", "Red"], output) == ["Green", "Red"]


class TestRequest:
    def test_schema_demands_every_output_and_allows_no_other(self) -> None:
        schema = json_schema(OUTPUTS)

        assert schema["required"] == list(schema["properties"]) == list(OUTPUTS)
        assert schema["additionalProperties"] is False

    def test_schema_uses_only_keywords_that_all_strict_modes_know(self) -> None:
        for output in json_schema(OUTPUTS)["properties"].values():
            assert output.keys() <= {"type", "enum", "items", "description"}
            assert output.get("items", {}).keys() <= {"type", "enum"}

    def test_schema_lists_options_and_says_limits_in_words(self) -> None:
        properties = json_schema(
            {**OUTPUTS, "intent": OUTPUTS["intent"].model_copy(update={"description": "Why."})}
        )["properties"]

        assert properties["intent"] == {
            "type": "string",
            "enum": ["Refund", "Card lost", "Other"],
            "description": "Why.",
        }
        assert "40 characters" in properties["reply"]["description"]
        assert "-1 to 12.5" in properties["score"]["description"]
        assert "0 to 3" in properties["tags"]["description"]
        assert properties["stars"]["type"] == "integer"

    def test_instruction_names_every_output_option_and_limit(self) -> None:
        text = instruction(OUTPUTS)

        for word in (
            "JSON",
            *(f'"{name}"' for name in OUTPUTS),
            '"Card lost"',
            "40",
            "12.5",
            "0 to 3",
        ):
            assert word in text

    @given(
        st.integers(1, 2_000),
        st.tuples(
            st.floats(-1e9, 1e9, allow_nan=False) | st.integers(-(10**9), 10**9),
            st.floats(-1e9, 1e9, allow_nan=False) | st.integers(-(10**9), 10**9),
        ),
        st.lists(
            st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=200),
            min_size=1,
            unique=True,
        ),
    )
    def test_longest_answer_is_valid_and_no_valid_one_has_longer_texts(
        self, length: int, limits: tuple[float, float], options: list[str]
    ) -> None:
        low, high = sorted(limits)
        outputs: dict[str, OutputField] = {
            "text": TextOutput(max_length=length, fallback="a"),
            "number": NumberOutput(minimum=low, maximum=high, fallback=low),
            "boolean": BooleanOutput(fallback=True),
            "one": SingleSelectOutput(options=tuple(options), fallback=options[0]),
            "many": MultiSelectOutput(options=tuple(options), fallback=[]),
        }

        answer = parse(longest_answer(outputs), outputs)

        assert answer.invalid == {}
        assert len(answer.values["text"]) == length
        assert len(answer.values["one"].encode()) == max(len(o.encode()) for o in options)
        assert set(answer.values["many"]) == set(options)
