"""One tree of errors: drawn in one place, and nothing that a host can meet stands outside it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Iterator

import pytest

import creditgate
import fallback
import pricing
import providers
import runtime
from pricing import errors
from pricing.errors import CreditgateError
from providers.litellm import loading

# None of these leaves creditgate: each is answered, or turned into another, where it arises.
INTERNAL = {
    "ImportBehind",  # of the service: it becomes a problem
    "Problem",  # of the service: it becomes an answer
    "ApiKeyError",  # of the service's keys, which hosts don't have: the root of the next five
    "ApiKeyUnknown",
    "ApiKeyRevoked",
    "ScopesRefused",
    "TooManyApiKeys",
    "ChangeNotTold",
    "LibraryError",  # of the library behind the service: the root of the next four
    "ActionChanged",
    "ActionExists",
    "ActionArchived",
    "TooManyActions",
    "PaymentError",  # of the service's payments: the root of the next four
    "PaymentUnknown",
    "PaymentsUnavailable",
    "SignatureRefused",
    "EventUnreadable",
    "RecordDamaged",  # a record in Redis that becomes ActionSourceUnavailable
    "DraftRefused",  # an action in a body, which becomes a problem
    "ChangedMeanwhile",  # of the service's alerts, which hosts don't have; and the next five
    "DestinationRefused",
    "DestinationUnknown",
    "DeliveryRefused",
    "DeliveryUnknown",
    "SendingFailed",
    "AddressRefused",  # a webhook's host, which becomes SendingFailed
    "ArchivedMeanwhile",  # two archivers at once, of which one looks again
    "BadEncoding",  # an HTTP answer that becomes PossiblyExecuted
    "BeyondBound",  # YAML beyond a bound, which becomes a mistake of the config
    "CallHeld",  # a call that does not begin, for which fallback values stand in
    "BadInput",  # click's own way to refuse an argument
    "HttpError",  # the root of what our HTTP client raises
    "LearningUnavailable",  # counts that can't be read, for which limits stand in
    "FileTooLarge",  # a file that its reader refuses in words of its own
    "LoadRefused",  # of a load test, which the command line alone has
    "ProcessesEnded",  # of a run in several processes, which the command line alone has
    "JournalError",  # a damaged entry, for those who replay the journal
    "Lost",  # an HTTP answer that becomes PossiblyExecuted
    "NewerFormat",  # a spooled settlement of a newer release, left to it
    "NoFreeConnection",  # a request that becomes NotConnected
    "NoTurn",  # a deadline that ended in the endpoint's queue
    "NotAsked",  # a request that LiteLLM does not make, which it explains when it is called
    "PrimaryDown",  # what the sentinels say, which becomes LedgerUnavailable
    "PrimaryUnknown",  # its root
    "NotAnswered",  # an HTTP answer that becomes PossiblyExecuted
    "NotConnected",  # a request that becomes NotSent
    "NotEqual",  # a reason to call a model by acompletion
    "NotReached",  # a script that was not sent
    "RebuildRefused",  # an account that creditgate rebuild leaves alone
    "RedisUnavailable",  # what becomes LedgerUnavailable
    "RequestRefused",  # a request of LiteLLM's that becomes NotSent
    "ScenarioError",  # a word that the mock provider answers with 400
    "ScriptRefused",  # a script that Redis did not run
    "Unreadable",  # a key that its account is left behind for
    "Unclear",  # an answer of which it is not clear what counts
    "Unfit",  # a model's value that takes its fallback
    "StreamError",  # a people file that becomes PeopleError, with its line
    "SourceProblem",  # a template's text that becomes PromptSyntaxError
    "TooLarge",  # an HTTP answer, or a bound of rendering that becomes PromptError
    "UnknownOutcome",  # a script whose answer did not come
    "UnreadableAnswer",  # an answer that becomes PossiblyExecuted
    "UnreadableRequest",  # a request that the mock provider answers with 400
    "Untranslatable",  # a reason to call a model by acompletion
}


def drawn() -> dict[str, str | None]:
    """Each class that the docstring draws, with the one above it."""
    parents: dict[str, str | None] = {}
    above: list[str] = []
    for line in inspect.getdoc(errors).splitlines():  # type: ignore[union-attr]  # it has one
        branch = line.lstrip("│├└─ ")
        depth = (len(line) - len(branch)) // 4
        if not branch or (depth == 0 and branch != "CreditgateError"):
            continue
        name = branch.split()[0]
        parents[name] = above[depth - 1] if depth else None
        above[depth:] = [name]
    return parents


def product_errors() -> Iterator[type[Exception]]:
    loading.load()  # imported in any other way, LiteLLM asks the internet for prices
    for package in (runtime, providers, pricing, fallback):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            # The one runs the command line; the other is run by Alembic alone.
            if found.name.endswith(("__main__", "migrations.env")):
                continue
            module = importlib.import_module(found.name)
            for name, value in vars(module).items():
                own = inspect.isclass(value) and value.__module__ == module.__name__
                if own and issubclass(value, Exception) and not name.startswith("_"):
                    yield value


def test_the_drawing_is_the_tree() -> None:
    for name, parent in drawn().items():
        error = getattr(creditgate, name)
        bases = [base.__name__ for base in error.__bases__ if issubclass(base, CreditgateError)]
        assert bases == ([parent] if parent else []), name


def test_the_drawing_says_which_errors_are_python_errors_too() -> None:
    text = inspect.getdoc(errors) or ""
    for name in drawn():
        [line] = [line for line in text.splitlines() if f"─ {name} " in f"─ {line.strip('│├└─ ')} "]
        foreign = {
            base.__name__
            for base in getattr(creditgate, name).__bases__
            if not issubclass(base, CreditgateError) and base is not Exception
        }
        words = ("ValueError", "LookupError", "PermissionError", "RuntimeError")
        assert foreign == {word for word in words if f"(a {word})" in line}


def test_every_error_is_drawn_or_never_leaves_creditgate() -> None:
    undrawn = {error.__name__ for error in product_errors()} - drawn().keys() - INTERNAL
    assert undrawn == set()


def test_every_error_is_public_and_none_other_is() -> None:
    public = {
        name
        for name in creditgate.__all__
        if inspect.isclass(getattr(creditgate, name))
        and issubclass(getattr(creditgate, name), Exception)
    }
    assert public == drawn().keys()


@pytest.mark.parametrize("name", drawn())
def test_every_error_is_caught_by_the_root(name: str) -> None:
    assert issubclass(getattr(creditgate, name), CreditgateError)
