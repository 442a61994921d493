"""The faults still fit the code, and name tests that there are."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.harness.mutation.catalog import MUTATIONS
from tests.harness.mutation.mutation import Mutation
from tests.harness.mutation.sandbox import named
from tests.harness.paths import ROOT


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutation_fits_exactly_one_place(mutation: Mutation) -> None:
    assert (ROOT / mutation.path).read_text("utf-8").count(mutation.before) == 1
    assert mutation.before != mutation.after


def test_no_mutation_is_there_twice() -> None:
    names = Counter(mutation.name for mutation in MUTATIONS)
    texts = Counter((mutation.file, mutation.before, mutation.after) for mutation in MUTATIONS)

    assert [name for name, times in (names + texts).items() if times > 1] == []


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_the_test_that_a_mutation_names_is_there(mutation: Mutation) -> None:
    assert named(mutation.noticed_by)
