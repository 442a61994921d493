"""The contents of the command line: each command with its line in the help.

The lines are the commands' own, so that the help of all of them imports none; a test compares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

_TRY = {
    "demo": "Run a campaign of 3,080 people against a mock model, until its credits run out.",
    "preview": "Run an action for one person and show everything about it: the receipt.",
    "mock-provider": "Run a server that answers like OpenAI, Anthropic and Gemini, at no cost.",
    "check-config": "Check a config file and report every mistake at once, with line and column.",
}
_RUN = {
    "run": "Run an action for everybody in a file, paid for from an account's credits.",
    "estimate": "Estimate the cost of an action for everybody in a file, without calling a model.",
    "enqueue": "Put everybody in a file into a campaign's queue, where workers take them from.",
    "campaign": (
        "Show how far campaigns in the queue are; pause, resume, stop and run them again."
    ),
    "load": "Run a load against a mock provider, and check the books afterwards.",
    "serve": "Serve the HTTP API, until Ctrl-C or SIGTERM.",
    "worker": "Run the requests that campaigns have in the queue, until Ctrl-C or SIGTERM.",
}
_CREDITS = {
    "account": "Open accounts, change their plans, switch them off, and close them.",
    "grant": "Give credits to an account.",
    "purchase": "Add bought credits to an account.",
    "payments": "List payments through Stripe, and go on with one that waits.",
    "void": "Take back what is left of a grant, for good.",
    "cap": "Cap what an account, a workspace, a campaign, an action or a source is charged.",
    "balance": "Show an account's credits: the parts of its balance, each grant, and its limits.",
    "usage": "Show what an account used in a window of time, from the archive.",
    "statement": "Show each movement of an account, from the archive, with the balance after it.",
    "models": "Compare models: cost of a typical run, what they support, how long they stay.",
    "rates": "Show what models cost in credits, or suggest a rate card.",
}
_OPERATE = {
    "keys": "Create, list, rotate and revoke the keys of the HTTP API.",
    "alerts": "List alerts that were sent or wait, send a test, and send again what was given up.",
    "actions": "List, publish and archive the actions that an account has of its own.",
    "sweep": "End expired reservations and grants, and raise the alerts that are due.",
    "spool": "List, replay or retire charges that wait on disk because Redis did not take them.",
    "archive": (
        "Copy what is new in every account's journal into the archive, and trim it in Redis."
    ),
    "audit": "Replay every journal, and compare what it adds up to with the ledger.",
    "rebuild": "Make accounts again from the archive, after Redis lost them.",
    "repair": (
        "Go on with an account that was stopped: it lost writes, its clock ran ahead, or it forked."
    ),
    "migrate": "Show which accounts an earlier release wrote, and upgrade them with --finish.",
    "forget": (
        "Remove what models wrote for a person: from outcomes, the queue and this folder's spool."
    ),
}

SECTIONS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {"Try": _TRY, "Run": _RUN, "Credits": _CREDITS, "Operate": _OPERATE}
)
"""The commands by section, in the order of the help, and what each does."""
