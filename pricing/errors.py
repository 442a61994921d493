"""The root of creditgate's errors, in the lowest layer so that every package can use it.

Each class is defined in the package that raises it. Hosts import them all from ``creditgate``.

CreditgateError
├── ConfigError                 the configuration has mistakes; ``mistakes`` lists them all
├── InstallationKeyTooShort     the installation key is easy to guess (a ValueError)
├── NotPrivate                  others can change or read what must be ours (a PermissionError)
├── EmbeddedRedisUnavailable    no Redis or Valkey server was found, and none could be fetched
├── InvalidRequest              a field of a request is not what it must be (a ValueError)
├── UnknownAction               no action has this id for this account (a LookupError)
├── ActionSourceUnavailable     nobody can tell now which version of an action is current
├── PromptSyntaxError           a template can't be used (a ValueError)
├── PromptError                 a template can't be rendered for one person's data
├── PeopleError                 a people file, or a person in it, can't be read (a ValueError)
├── PurchaseRefused             a purchase is not a whole number of packs (a ValueError)
├── WrongEventLoop              a runtime was used from another event loop (a RuntimeError)
├── RuntimeClosed               a runtime was used after its block ended (a RuntimeError)
├── LedgerError                 the ledger refuses to do what it was asked
│   ├── LedgerUnavailable       Redis can't be reached, or its answer can't be trusted
│   │   ├── BookingUnknown      a change may or may not be booked; ask again to know
│   │   ├── AccountDamaged      a record of the account is damaged, or of a newer schema
│   │   └── AccountStopped      the account lost writes, its clock ran ahead, or it was stopped
│   ├── LedgerLost              Redis has no ledger, and the archive has one
│   ├── ExecutionConflict       an execution_id was reused for something else
│   ├── AccountUnknown          no account of this id was opened
│   ├── AccountConflict         the account exists with other attributes
│   ├── ReferenceConflict       a reference was reused for something else
│   ├── GrantRefused            this account may not be given credits
│   ├── TooManyGrants           the account has too many grants that are not used up
│   ├── GrantUnknown            the account has no such grant
│   └── CapUnknown              the account has no such cap
├── QueueError                  the request queue refuses to do what it was asked
│   ├── QueueUnavailable        Redis can't be reached, or did not answer
│   │   └── QueueDamaged        a key of the queue is not what creditgate wrote
│   ├── CampaignUnknown         the account has no such campaign in its queue
│   ├── CampaignConflict        a campaign or an import of this name exists with something else
│   ├── CampaignStopped         the campaign was stopped, and not resumed
│   ├── QueueFull               the campaign has as much as it may have
│   └── RequestTooLarge         a request has too many bytes for the queue (a ValueError)
├── StoreError                  the SQL database is not one that this release can use
│   └── StoreUnavailable        it can't be reached, or did not answer
├── ArchiveError                the archive can't answer what it was asked
│   ├── NotArchived             it has no such account, or no such entry
│   ├── EntryDamaged            an archived entry is not what the ledger wrote
│   └── CursorRefused           a cursor is of another query (a ValueError)
├── ProviderError               a provider call gave no answer
│   ├── NotSent                 the provider never saw the request
│   ├── Rejected                the provider answered that it did not run the model
│   └── PossiblyExecuted        the model may have run, and the provider may bill it
├── NotSuggested                no rates can be derived for a model (a ValueError)
├── PriceMapMissing             the installed LiteLLM has no price map that can be read
└── VocabularyMissing           the installed LiteLLM lacks a tokenizer's vocabulary
"""

from __future__ import annotations


class CreditgateError(Exception):
    """The base of all errors that creditgate raises on purpose; the message says what to do.

    Example:
        >>> try:
        ...     config = load_config("config.yaml")
        ... except CreditgateError as error:
        ...     raise SystemExit(f"creditgate: {error}")
    """
