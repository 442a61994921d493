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
    if counted == 0:
        return (
            "Of the people only their number is known: prompts count with the length of their "
            "templates, and what is filled in comes on top."
        )
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


def share_text(expected_mc: int, available_mc: int, warn_percent: int) -> str:
    """Return the warning of a campaign that takes much of what an account has."""
    percent = -(-100 * expected_mc // available_mc) if available_mc else 100
    return (
        f"It is expected to take {percent}% of the available credits, more than the "
        f"{warn_percent}% above which a campaign is looked at before it starts."
    )


def cap_text_for(named: str, left_mc: int, expected_mc: int, people: int, reached: int) -> str:
    """Return the warning of a cap that a campaign would reach."""
    return (
        f"The cap of {named} would be reached: {credits_text(left_mc)} credits are left under it, "
        f"and {credits_text(expected_mc)} are expected. That is enough for about {reached:,} of "
        f"{people:,} people."
    )


def expiry_text(amount_mc: int, day: str, lost_mc: int | None) -> str:
    """Return which credits expire and when, and how many would be lost unused."""
    text = f"{credits_text(amount_mc)} credits expire on {day}"
    if lost_mc:
        return f"{text}; at an even pace {credits_text(lost_mc)} of them would be left unused."
    return f"{text}."


def not_called_text(action_id: str, because: str) -> str:
    """Return the warning of an action that gives everybody its fallback values."""
    return f"Action {action_id} would give everybody fallback values, because {because}."
