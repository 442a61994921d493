"""Usage objects of any form, as hostile providers may send them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

NUMBERS: tuple[Any, ...] = (
    -1,
    0,
    2**53,
    10**9,
    10**18,
    10**30,
    1e308,
    0.5,
    float("nan"),
    float("inf"),
    float("-inf"),
)
COUNTS: tuple[str, ...] = (
    "prompt_tokens",
    "completion_tokens",
    "total_tokens",
    "cached_tokens",
    "prompt_cache_hit_tokens",
    "input_tokens",
    "output_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "promptTokenCount",
    "candidatesTokenCount",
    "thoughtsTokenCount",
    "cachedContentTokenCount",
    "totalTokenCount",
    "cost",
)
DETAILS = ("prompt_tokens_details", "completion_tokens_details", "cache_creation")
PARTS = (
    "cached_tokens",
    "cache_write_tokens",
    "cache_creation_tokens",
    "reasoning_tokens",
    "audio_tokens",
    "text_tokens",
)

_scalars = (
    st.integers(0, 300)
    | st.sampled_from(NUMBERS)
    | st.none()
    | st.booleans()
    | st.sampled_from(["", "12", "-1", "1e9", "many"])
)
_values = st.recursive(
    _scalars,
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from((*COUNTS, "x")), inner, max_size=2)
    ),
    max_leaves=4,
)
_details = _values | st.fixed_dictionaries({}, optional=dict.fromkeys(PARTS, _values))
_plausible = st.fixed_dictionaries(
    {"prompt_tokens": st.integers(1, 300), "completion_tokens": st.integers(1, 300)},
    optional=dict.fromkeys(COUNTS[2:], _values) | dict.fromkeys(DETAILS, _details),
)
_any = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(COUNTS, _values) | dict.fromkeys(DETAILS, _details)
)


def usage_objects() -> st.SearchStrategy[Any]:
    """Return any JSON in the place of a usage object; most have the names that providers use."""
    return _plausible | _any | _values
