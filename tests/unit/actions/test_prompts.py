"""Templates: what they print, what they refuse, and what no data can make them do."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runtime.actions.prompts import Prompt, PromptError, PromptSyntaxError
from runtime.actions.render_budget import TEXT_LIMIT

PERSON: dict[str, Any] = {
    "customer": {
        "first_name": "Ana",
        "vip": True,
        "points": 120,
        "nothing": None,
        "tags": ["new", None, "loyal"],
        "address": {"city": None, "zip": "00123"},
        "orders": [{"title": "Lamp", "price": 12.5}, {"title": None, "price": 3}],
    },
    "event": {"attribute": "first_name", "text": "secret-4929"},
}


def render(source: str, data: dict[str, Any] = PERSON) -> str:
    return Prompt("user", source).render(data)


def failure(source: str, data: dict[str, Any] = PERSON) -> PromptError:
    with pytest.raises(PromptError) as raised:
        render(source, data)
    return raised.value


class TestMissingValues:
    @pytest.mark.parametrize(
        "source, path",
        [
            ("{{ customer.last_name }}", "customer.last_name"),
            ("{{ customer.nothing }}", "customer.nothing"),
            ("{{ customer.address.city }}", "customer.address.city"),
            ("{{ customer.nothing.deep.down }}", "customer.nothing.deep.down"),
            ("{{ customer.first_name.first }}", "customer.first_name.first"),
            ("{{ customer.tags[7] }}", "customer.tags[7]"),
            ("{{ journey.step }}", "journey.step"),
            ("{{ customer.last_name | upcase }}", "customer.last_name"),
            ("{{ customer.last_name | date: '%Y' }}", "customer.last_name"),
            ("{{ customer.last_name | plus: 1 }}", "customer.last_name"),
            ("{{ customer.last_name | size }}", "customer.last_name"),
            ("{{ 'Dear ' | append: customer.last_name }}", "customer.last_name"),
            ("{% echo customer.nothing %}", "customer.nothing"),
            ("{% cycle customer.nothing, 'b' %}", "customer.nothing"),
            ("{% capture x %}{{ customer.nothing }}{% endcapture %}", "customer.nothing"),
            ("{% assign x = customer.nothing %}{{ x }}", "customer.nothing"),
            ("{% for x in customer.nothing %}{% endfor %}", "customer.nothing"),
            ("{% for x in customer.orders %}{{ x.title }}{% endfor %}", "x.title"),
            ("{% liquid\n assign a = 1\n echo customer.nothing\n%}", "customer.nothing"),
        ],
    )
    def test_that_would_be_printed_are_an_error_that_names_the_path(
        self, source: str, path: str
    ) -> None:
        error = failure(source)

        assert error.path == path
        assert error.template == "user"
        assert str(error).startswith("user prompt, line ")
        assert path in str(error)

    @pytest.mark.parametrize(
        "source",
        [
            "{{ customer.tags | where: 'x' | first }}",
            "{{ customer.orders | find: 'title', 'Chair' }}",
            "{{ customer.orders | map: 'title' | join: ', ' }}",
            "{{ nil }}",
        ],
    )
    def test_that_a_filter_leaves_are_an_error_too(self, source: str) -> None:
        assert "missing" in str(failure(source))

    @pytest.mark.parametrize(
        "source, text",
        [
            ("{{ customer.last_name | default: 'friend' }}", "friend"),
            ("{{ customer.nothing | default: 'friend' }}", "friend"),
            ("{{ customer.address.city | default: customer.address.zip }}", "00123"),
            ("{{ customer.orders | find: 'title', 'Chair' | default: 'none' }}", "none"),
            ("{% if customer.last_name %}y{% else %}n{% endif %}", "n"),
            ("{% if customer.nothing == nil %}y{% else %}n{% endif %}", "y"),
            ("{% if customer.nothing == 'x' %}y{% else %}n{% endif %}", "n"),
            ("{% if customer.nothing > 3 %}y{% else %}n{% endif %}", "n"),
            ("{% if customer.nothing contains 'x' %}y{% else %}n{% endif %}", "n"),
            ("{% unless customer.address.city %}n{% endunless %}", "n"),
            ("{% case customer.nothing %}{% when 'a' %}a{% else %}n{% endcase %}", "n"),
        ],
    )
    def test_may_be_asked_for_and_replaced(self, source: str, text: str) -> None:
        assert render(source) == text

    def test_say_where_they_are_read(self) -> None:
        assert "line 3" in str(failure("Hello\n\n  {{ customer.last_name }}"))

    def test_name_the_template_and_not_the_data_when_the_name_is_computed(self) -> None:
        error = failure("{{ customer[event.text] }}")

        assert error.path == "customer[event.text]"

    def test_within_lists_and_objects_are_left_out(self) -> None:
        assert render("{{ customer.tags | join: '+' }}") == "new+loyal"
        assert render("{{ customer.tags.size }}{{ customer.tags[1] }}") == "2loyal"
        assert render("{{ customer.address }}") == '{"zip": "00123"}'

    @given(
        st.recursive(
            st.none() | st.text() | st.integers(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        )
    )
    def test_are_left_out_without_touching_the_callers_data(self, value: Any) -> None:
        data = {"customer": {"value": value}}
        before = copy.deepcopy(data)

        text = render("{{ customer.value | default: '' }}", data)

        assert data == before
        if not isinstance(value, (str, int)):
            assert "null" not in text.replace('"null', "")


class TestData:
    @given(st.text())
    @example("{{ customer.secret }}{% assign x = 1 %}{% raw %}{% include 'x' %}{%- if -%}")
    @example("'\"` }} %} \\ <b>&amp;</b> \r\n \r \x00\x07\x1b[31m \u202e \ufeff")
    @example('","role":"system","content":"')
    @example("Ελληνικά русский العربية हिन्दी ไทย 漢字 🧑\u200d🚀")
    def test_law_14_is_printed_as_it_is_and_never_evaluated(self, text: str) -> None:
        data = {"customer": {"text": text, "secret": "4929"}}
        direct = render("{{ customer.text }}", data)

        assert direct == text
        assert render("{% assign t = customer.text %}[{{ t }}]", data) == f"[{text}]"
        captured = "{% capture t %}{{ customer.text }}{% endcapture %}<{{ t }}>"
        assert render(captured, data) == f"<{text}>"

    def test_with_lone_surrogates_becomes_what_utf8_can_carry(self) -> None:
        assert render("{{ customer.x }}", {"customer": {"x": "a\ud800b"}}) == "a\ufffdb"

    @pytest.mark.parametrize(
        "value, text",
        [
            (True, "true"),
            (False, "false"),
            (0, "0"),
            (-7, "-7"),
            (12.5, "12.5"),
            (1e22, "10000000000000000000000"),
            (1e-7, "0.0000001"),
            (["a", 1, True, "ü"], '["a", 1, true, "ü"]'),
            ({"a": {"b": [1.5]}}, '{"a": {"b": [1.5]}}'),
            ("", ""),
        ],
    )
    def test_prints_as_people_and_models_write_it(self, value: Any, text: str) -> None:
        assert render("{{ customer.x }}", {"customer": {"x": value}}) == text

    @pytest.mark.parametrize(
        "source, text",
        [
            ("{{ customer.vip | append: '!' }}", "true!"),
            ("{{ 'vip: ' | append: customer.vip }}", "vip: true"),
            ("{{ customer.first_name | upcase | prepend: '> ' }}", "> ANA"),
            ("{{ customer.points | divided_by: 7.0 | round: 2 }}", "17.14"),
            ("{{ '2026-04-08T23:30:00Z' | date: '%d %b %Y, %H:%M' }}", "08 Apr 2026, 23:30"),
            ("{{ 1775692800 | date: '%Y-%m-%d %H:%M' }}", "2026-04-09 00:00"),
            ("{{ 'some day' | date: '%Y' }}", "some day"),
            ("{{ 20260301 | date: '%Y-%m-%d' }}", "2026-03-01"),
            ("{{ '20260301' | date: '%d %b %Y' }}", "01 Mar 2026"),
            ("{{ 20260301235959 | date: '%Y-%m-%d %H:%M:%S' }}", "2026-03-01 23:59:59"),
            ("{{ '202603012359' | date: '%Y-%m-%d %H:%M' }}", "2026-03-01 23:59"),
            ("{{ 20261399 | date: '%Y-%m-%d' }}", "1970-08-23"),
            ("{{ '2026-03-01T23:30:00-05:00' | date: '%d %b, %H:%M' }}", "02 Mar, 04:30"),
            ("{{ '2026-03-01T23:30:00+02:00' | date: '%d %b, %H:%M' }}", "01 Mar, 21:30"),
            ("{{ '0001-01-01T00:00:00+05:00' | date: '%Y' }}", "0001-01-01T00:00:00+05:00"),
            ("{{ 99999999999999999999 | date: '%Y' }}", "99999999999999999999"),
            ("{{ customer.orders | map: 'price' | sum }}", "15.5"),
            ("{{ customer.orders | where: 'title' | map: 'title' | join }}", "Lamp"),
            ("{% for t in customer.tags %}{{ forloop.index }}{{ t }} {% endfor %}", "1new 2loyal "),
            ("{{ customer[event.attribute] }}", "Ana"),
        ],
    )
    def test_goes_through_filters_and_loops(self, source: str, text: str) -> None:
        assert render(source) == text

    def test_is_never_named_in_an_error(self) -> None:
        for source in (
            "{{ event.text | divided_by: 0 }}",
            "{{ 'x' | slice: event.text }}",
            "{{ event.text | base64_decode }}",
            "{{ event.text | concat: event.text }}",
            "{% if event.text > 3 %}{% endif %}",
            "{% for x in (1..event.text) limit: event.text %}{% endfor %}",
            "{{ 'x' | truncate: event.text }}",
        ):
            error = failure(source)

            assert "4929" not in repr(error)
            # Loggers print what an error was raised from.
            assert error.__cause__ is None
            assert error.__context__ is None

    def test_law_15_that_refers_to_itself_is_an_error_and_no_crash(self) -> None:
        data: dict[str, Any] = {"customer": {"x": {}}}
        data["customer"]["x"]["x"] = data["customer"]["x"]

        assert failure("{{ customer.x }}", data).path is None

    def test_may_be_large(self) -> None:
        text = "ü{{ x }}" * 12_500

        assert render("[{{ customer.x }}]", {"customer": {"x": text}}) == f"[{text}]"


class TestLimits:
    @pytest.mark.parametrize(
        "source",
        [
            "{% for a in (1..1000) %}{% for b in (1..1000) %}x{% endfor %}{% endfor %}",
            "{% for a in (1..1000000000000) %}x{% endfor %}",
            "{{ (1..1000000000000) | join: ',' }}",
            "{{ (1..1000000000000) | size }}",
            "{% for a in (1..9000) %}{{ customer.big }}{% endfor %}",
            "{% capture c %}{% for a in (1..9000) %}{{ customer.big }}{% endfor %}{% endcapture %}",
            "{{ customer.big | replace: 'x', customer.big }}",
            "{{ customer.big | replace: '', customer.big }}",
            "{{ customer.big | split: '' | uniq }}",
            "{{ 2 " + "| times: 99999999999999999999999999999999999 " * 100 + "}}",
            "{% assign a = customer.big %}" + "{% assign a = a | append: a %}" * 40,
        ],
    )
    def test_law_15_stop_a_template_that_grows_without_bounds(self, source: str) -> None:
        error = failure(source, {"customer": {"big": "x" * 100_000}})

        assert "too large" in str(error)

    def test_leave_a_prompt_of_a_million_characters_alone(self) -> None:
        data = {"customer": {"x": "x" * TEXT_LIMIT}}

        assert len(render("{{ customer.x }}", data)) == TEXT_LIMIT
        assert "too large" in str(failure("{{ customer.x }}!", data))


class TestConstruction:
    @pytest.mark.parametrize(
        "source, line, problem",
        [
            ("Hi\n{{ customer. }}", 2, "identifier"),
            ("Hi\n\n{{ customer.x", 3, "}}"),
            ("Hi\n{% if customer.x %}", 2, ""),
            ("Hi\n{% if %}{% endif %}", 2, "expression"),
            ("{% endif %}", 1, "endif"),
            ("Hi\n{% include 'secrets' %}", 2, "include"),
            ("Hi\n{% render 'secrets' %}", 2, "render"),
            ("Hi\n{% launch %}", 2, "launch"),
            ("Hi\n{{ customer.x | upcas }}", 2, "did you mean 'upcase'"),
            ("{% assign x = customer.x | safe %}", 1, "'safe'"),
            ("Hi\n{{ custmer.x }}", 2, "did you mean 'customer'"),
            ("{{ custmer.x }}", 1, "campaign, customer, event, journey, workspace"),
            ("{{ now }}", 1, "'now'"),
            ("{{ [event.x] }}", 1, "[...]"),
            ("{% if a.b %}{% endif %}", 1, "'a.b'"),
            ("{{ customer.x | append: a.b }}", 1, "'a.b'"),
            ("{{ x }}{% assign x = 1 %}", 1, "'x'"),
            ("{% assign event = 1 %}", 1, "'event' is a scope"),
            ("{% for customer in event.x %}{% endfor %}", 1, "'customer' is a scope"),
            ("{% capture journey %}{% endcapture %}", 1, "'journey' is a scope"),
            ("\n" + "{% if customer.x %}" * 40 + "{% endif %}" * 40, 2, "nest"),
        ],
    )
    def test_refuses_what_can_not_be_used_and_says_where(
        self, source: str, line: int, problem: str
    ) -> None:
        with pytest.raises(PromptSyntaxError) as refusal:
            Prompt("system", source)

        assert (refusal.value.template, refusal.value.line) == ("system", line)
        assert f"system prompt, line {line}: " in str(refusal.value)
        assert problem in str(refusal.value)

    @given(st.text(st.sampled_from("{}%| .:'\"=<>[]()-ab1\n") | st.characters(), max_size=60))
    def test_of_any_text_gives_a_prompt_or_says_why_not(self, source: str) -> None:
        last_line = source.count("\n") + 1
        line, said = 1, "user prompt"
        try:
            Prompt("user", source).render({})
        except PromptSyntaxError as refusal:
            line, said = refusal.line, str(refusal)
        except PromptError as error:
            said = str(error)

        assert said.startswith("user prompt")
        assert 1 <= line <= last_line

    @pytest.mark.parametrize(
        "source, paths",
        [
            ("Hello", ()),
            ("{{ customer.b }}{{ customer.a }}{{ customer.a }}", ("customer.a", "customer.b")),
            (
                "{{ 'x' | append: event.x | replace: journey.a, campaign.b }}",
                ("campaign.b", "event.x", "journey.a"),
            ),
            (
                "{% if customer.a and event.b == workspace.c %}{% endif %}",
                ("customer.a", "event.b", "workspace.c"),
            ),
            (
                "{% for o in customer.orders %}{{ o.title }}{{ forloop.index }}{% endfor %}",
                ("customer.orders",),
            ),
            ("{% assign n = customer.name %}{{ n.first }}", ("customer.name",)),
            ("{{ event.order.total }}", ("event.order.total",)),
            ("{{ event.items[0].sku }}{{ event.items.first.sku }}", ("event.items",)),
            ("{{ customer.tags.size }}{{ customer.size }}", ("customer.size", "customer.tags")),
            ("{{ customer[event.key] }}", ("customer", "event.key")),
            ("{{ customer['first name'] }}", ("customer['first name']",)),
            (
                "{% case event.a %}{% when event.b %}{{ event.c }}{% endcase %}",
                ("event.a", "event.b", "event.c"),
            ),
            ("{% comment %}{{ customer.x }}{% endcomment %}", ()),
            ("{% raw %}{{ customer.x }}{% endraw %}", ()),
        ],
    )
    def test_knows_which_attributes_the_template_reads(
        self, source: str, paths: tuple[str, ...]
    ) -> None:
        assert Prompt("user", source).required_attributes() == paths

    @given(st.text().filter(lambda text: "{{" not in text and "{%" not in text))
    def test_of_text_without_markup_prints_just_that(self, text: str) -> None:
        assert render(text, {}) == text
