"""Sentences about an estimate: what it is based on, and how far the credits go."""

from __future__ import annotations

from typing import Protocol

from runtime.wording.amounts import credits_text

_COVERS = {
    "worst_case": "enough even in the worst case",
    "likely": "very likely enough",
    "expected": "probably enough",
    "less": "not enough",
}


class Reach(Protocol):
    """The part of a forecast that ``reach_text`` tells; ``runtime.campaigns.estimate`` has it."""

    @property
    def account_id(self) -> str: ...

    @property
    def available_mc(self) -> int: ...

    @property
    def usable(self) -> bool: ...

    @property
    def covers(self) -> str: ...

    @property
    def people(self) -> int: ...

    @property
    def people_least(self) -> int: ...

    @property
    def people_most(self) -> int: ...


def counted_text(counted: int, people: int) -> str:
    """Return how many people's prompts an estimate is based on."""
    if counted == people:
        return "The prompts of all people were rendered and counted."
    return (
        f"The prompts of {counted:,} of {people:,} people, picked at random, were rendered and "
        "counted; the others are assumed to be like them."
    )


def history_text(answers: int) -> str:
    """Return what an estimate takes the length of answers from."""
    if answers:
        return f"The length of answers comes from {answers:,} answers of this action version."
    return (
        "This action version has too few answers to learn from, so the range is wide: from the "
        "shortest valid answers to the longest."
    )


def reach_text(reach: Reach, people: int) -> str:
    """Return how far an account's credits go for so many people."""
    has = f"Account {reach.account_id} has {credits_text(reach.available_mc)} credits"
    if not reach.usable:
        return f"{has} but can't use them: it is closed, or its plan has no AI credits."
    sentence = f"{has}, which is {_COVERS[reach.covers]}"
    if reach.people_least == people:
        return f"{sentence}."
    share = 100 * reach.people // people
    ends = f"{reach.people_least:,} to {reach.people_most:,}"
    return (
        f"{sentence}. They should last for about {reach.people:,} of {people:,} people ({share}%; "
        f"likely {ends}); the others would get fallback values."
    )
