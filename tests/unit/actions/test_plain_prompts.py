"""Templates that only print names: their text, or their error, is Liquid's own."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from runtime.actions.plain_prompts import plain_text
from runtime.actions.prompts import Prompt, PromptError
from runtime.actions.render_budget import CPU_LIMIT_S, TEXT_LIMIT, Budget

BY_LIQUID = "{% if true %}{% endif %}"
"""Prints nothing, and is more than a name: whoever has it is rendered by Liquid."""

NAMES = [
    "customer.name",
    "customer['name']",
    "customer.a.b",
    "customer.size",
    "event.first",
    "event",
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\ud800\r\n"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "a", "b", "size", "first"]), inner, max_size=3)
    ),
    max_leaves=6,
)
DATA = st.dictionaries(
    st.sampled_from(["customer", "event"]),
    st.dictionaries(st.sampled_from(["name", "a", "size", "first"]), VALUES, max_size=4),
)
SOURCES = st.lists(
    st.text(alphabet="ab \n'\"é", max_size=6)
    | st.sampled_from([f"{{{{ {name} }}}}" for name in NAMES])
    | st.sampled_from([f"{{{{- {name} -}}}}" for name in NAMES])
    | st.sampled_from([f"{{% echo {name} %}}" for name in NAMES]),
    min_size=1,
    max_size=6,
).map("".join)


def text_or_error(source: str, data: dict[str, Any]) -> str:
    try:
        return Prompt("user", source).render(data)
    except PromptError as error:
        return f"{error.path}: {error}"


@given(SOURCES, DATA)
@example("Hi {{ customer.name }}!", {"customer": {"name": "Ana"}})
@example("{{ customer.name }}", {"customer": {"name": ["a", None]}})
@example("{{ customer.size }}", {"customer": {"name": "Ana"}})
@example("a\n{{ customer.a.b }}", {"customer": {"a": {"b": None}}})
@example("{{ event }}", {"event": {"first": None, "a": 1}})
def test_a_plain_template_prints_what_liquid_prints(source: str, data: dict[str, Any]) -> None:
    assert text_or_error(source, data) == text_or_error(source + BY_LIQUID, data)


@pytest.mark.parametrize("over", [0, 1])
def test_a_plain_template_has_liquids_bound(over: int) -> None:
    data = {"customer": {"name": "a" * (TEXT_LIMIT // 2), "a": "b" * (TEXT_LIMIT // 2 + over)}}
    source = "{{ customer.name }}{{ customer.a }}"

    assert text_or_error(source, data) == text_or_error(source + BY_LIQUID, data)


def test_a_plain_template_spends_the_budget_that_prompts_share() -> None:
    prompt, budget = Prompt("user", "{{ customer.name }}" * 50), Budget()

    def render_on_and_on() -> None:
        while True:
            prompt.render({"customer": {"name": "a"}}, budget)

    with pytest.raises(PromptError, match=f"{CPU_LIMIT_S * 1000:.0f} ms of CPU"):
        render_on_and_on()


def test_what_is_no_text_is_left_to_liquid() -> None:
    budget = Budget()

    assert plain_text((("customer", "name"),), {"customer": {"name": "Ana"}}, budget) == "Ana"
    assert plain_text((("customer", "name"),), {"customer": {"name": 7}}, budget) is None
    assert plain_text((("customer", "name"),), {}, budget) is None
