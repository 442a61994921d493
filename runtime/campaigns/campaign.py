"""A campaign, its requests for people, and the counts of a run."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

from fallback.reasons import FallbackReason
from runtime.actions.requests import ExecutionRequest, ExecutionResult, Pending, Source
from runtime.actions.spec import ActionSpec
from runtime.campaigns.people import Person
from runtime.ids import retry_id, shortened

CAMPAIGN_ID_RULE = "1 to 64 of A-Z a-z 0-9 _ -"
"""The rule for ids of campaigns with people of their own, in words."""

is_campaign_id = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch
"""Match such an id as a whole: without points, which separate it from the person's."""

# A test run before the campaign must not use up the execution ids of the campaign itself.
_VISITS = {Source.LIVE: "1", Source.TEST: "test1", Source.PREVIEW: "preview1"}


@dataclass(frozen=True, slots=True)
class Campaign:
    """An action, the campaign that runs it, and the account that pays."""

    account_id: str
    workspace_id: str
    campaign_id: str
    action: ActionSpec
    source: Source = Source.LIVE

    def request(self, person: Person, retry: int = 0) -> ExecutionRequest:
        """Return the request for one person, the same in every run of the campaign.

        Args:
            retry: 1 and above name further executions, for people who got fallback values.

        Raises:
            InvalidRequest: an id is not allowed in a request; ``check`` names the field.
        """
        return self._request(person, self._execution_id(person.person_id, retry))

    def queued(self, person: Person) -> ExecutionRequest:
        """Return the request for one person with its action's id, as queues take it.

        Raises:
            InvalidRequest: as ``request``.
        """
        return self._request(person, self._execution_id(person.person_id, 0), self.action.id)

    def check(self, person: Person) -> None:
        """Check that the campaign can run for this person.

        Raises:
            InvalidRequest: a field is wrong; the message names it.
        """
        # The execution id is made of the other ids, and is right if they are.
        self._request(person, self.action.id)

    def _request(
        self, person: Person, execution_id: str, action: ActionSpec | str | None = None
    ) -> ExecutionRequest:
        return ExecutionRequest(
            execution_id=execution_id,
            account_id=self.account_id,
            workspace_id=self.workspace_id,
            campaign_id=self.campaign_id,
            person_id=person.person_id,
            action=self.action if action is None else action,
            data=person.data,
            source=self.source,
        )

    def _execution_id(self, person_id: str, retry: int) -> str:
        journey_id = f"{self.campaign_id}.{person_id}"
        execution_id = shortened(f"{journey_id}:{self.action.id}:{_VISITS[self.source]}", 2)
        return retry_id(execution_id, retry) if retry else execution_id


@dataclass(slots=True)
class Tally:
    """The counts of a run so far, by person.

    ``charged_mc`` is the charge of this run, ``charged_earlier_mc`` that of earlier runs for
    answers that were returned again (``replayed``). ``reasons`` counts the people with at least one
    fallback value, by its reason. ``missed`` people got fallback values that are not kept: run the
    campaign again, and they are asked again. ``unfinished`` people have no result: their executions
    were running elsewhere.
    """

    people: int = 0
    model: int = 0
    mixed: int = 0
    fallback: int = 0
    missed: int = 0
    replayed: int = 0
    unfinished: int = 0
    charged_mc: int = 0
    charged_earlier_mc: int = 0
    available_mc: int | None = None
    reasons: Counter[FallbackReason] = field(default_factory=Counter)

    def add(self, result: ExecutionResult | Pending) -> None:
        """Count one person."""
        self.people += 1
        if isinstance(result, Pending):
            self.unfinished += 1
            return
        if result.replayed:
            self.replayed += 1
            self.charged_earlier_mc += result.charged_mc
        else:
            self.charged_mc += result.charged_mc
        if result.available_after_mc is not None:
            self.available_mc = result.available_after_mc
        if result.status == "model":
            self.model += 1
            return
        if result.status == "mixed":
            self.mixed += 1
        else:
            self.fallback += 1
            self.missed += not result.kept
        self.reasons.update({o.reason for o in result.origins.values() if o.reason is not None})
