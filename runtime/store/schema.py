"""The tables. Amounts are millicredits, instants milliseconds since 1970, by the ledger's clock.

A change here needs a migration: a test compares the tables with what the migrations make.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData()

DIMENSION_LENGTH = 200

# The installation that is archived here: the check value of its key, its key prefix; and under
# COMPLETE_TO the instant up to which everything was archived when an archiver last looked.
COMPLETE_TO = "complete_to_ms"
installation = Table(
    "installation",
    metadata,
    Column("name", String(40), primary_key=True),
    Column("value", String(200), nullable=False),
)

# The accounts, and how far each is archived. An archiver moves seq and chain on in the
# transaction that adds the entries, and only from what it found: of two, one does.
accounts = Table(
    "accounts",
    metadata,
    Column("no", Integer, primary_key=True, autoincrement=True),
    Column("account_id", String(64), nullable=False),
    Column("epoch", String(16), nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("chain", String(12), nullable=False),
    Column("left_mc", BigInteger, nullable=False),
    Column("state", String(10), nullable=False),
    Column("archived_ms", BigInteger, nullable=False),
    Column("timezone", String(64), nullable=True),
    UniqueConstraint("account_id", name="accounts_account_id"),
)

# The journal, entry by entry: body is what the ledger wrote, byte for byte; left_mc is what the
# account had left (available and reserved) after the entry; dims 0 is none.
entries = Table(
    "entries",
    metadata,
    Column("account", Integer, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("chain", String(12), nullable=False),
    Column("kind", String(1), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("effective_ms", BigInteger, nullable=False),
    Column("dims", Integer, nullable=False),
    Column("charged_mc", BigInteger, nullable=False),
    Column("left_mc", BigInteger, nullable=False),
    Column("body", Text, nullable=False),
    PrimaryKeyConstraint("account", "seq", name="entries_pk"),
)
Index("entries_at", entries.c.account, entries.c.at_ms)
Index(
    "entries_late",
    entries.c.account,
    entries.c.effective_ms,
    postgresql_where=text("effective_ms <> at_ms"),
    sqlite_where=text("effective_ms <> at_ms"),
)

# An execution's entries, by the first characters of its key, which is the column of each body that
# begins there: version, epoch, kind and time before it have fixed lengths.
EXECUTION_KEY_AT, EXECUTION_KEY_INDEXED = 24, 8
Index(
    "entries_execution",
    entries.c.account,
    text(f"substr(body, {EXECUTION_KEY_AT}, {EXECUTION_KEY_INDEXED})"),
)

# The few entries that say what a grant is, which time zone an account has, what was repaired. Only
# a query with the very words kind = 'g' (or o, y, z) is answered by it in SQLite.
_CHANGES = text("kind = 'g' OR kind = 'o' OR kind = 'y' OR kind = 'z'")
Index(
    "entries_changes",
    entries.c.account,
    entries.c.kind,
    entries.c.seq,
    postgresql_where=_CHANGES,
    sqlite_where=_CHANGES,
)

# The other entries of a sequence, where Redis lost some and wrote others in their place.
forks = Table(
    "forks",
    metadata,
    Column("account", Integer, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("chain", String(12), nullable=False),
    Column("body", Text, nullable=False),
    Column("found_ms", BigInteger, nullable=False),
    Column("resolved_ms", BigInteger, nullable=True),
    PrimaryKeyConstraint("account", "seq", "chain", name="forks_pk"),
)

# The dimensions of charges, by the number that an entry of kind named gave them.
dimensions = Table(
    "dimensions",
    metadata,
    Column("account", Integer, nullable=False),
    Column("number", Integer, nullable=False),
    Column("workspace", String(DIMENSION_LENGTH), nullable=False),
    Column("campaign", String(DIMENSION_LENGTH), nullable=False),
    Column("action", String(DIMENSION_LENGTH), nullable=False),
    Column("action_version", String(DIMENSION_LENGTH), nullable=False),
    Column("model", String(DIMENSION_LENGTH), nullable=False),
    Column("source", String(DIMENSION_LENGTH), nullable=False),
    PrimaryKeyConstraint("account", "number", name="dimensions_pk"),
)
Index(
    "dimensions_performance",
    *(dimensions.c[name] for name in ("account", "action", "action_version", "model", "number")),
)

# The roll-ups of runtime/archive/rollup.py. Their time is counted in quarters of an hour since
# 1970, which every time zone's days are made of: slot is the first quarter that a row is about.

SUMS = (
    "executions",
    "charged_mc",
    "overage_mc",
    "exposure_mc",
    "free_mc",
    "input_tokens",
    "cached_input_tokens",
    "cache_write_tokens",
    "output_tokens",
    "reasoning_tokens",
)

# Sums of entries about executions by at_ms: of each quarter, and again of each day of the account's
# time zone, which has 92, 96 or 100 quarters.
usage = Table(
    "usage",
    metadata,
    Column("account", Integer, nullable=False),
    Column("quarters", SmallInteger, nullable=False),
    Column("slot", Integer, nullable=False),
    Column("dims", Integer, nullable=False),
    Column("kind", String(1), nullable=False),
    Column("reason", String(40), nullable=False),
    *(Column(name, BigInteger, nullable=False) for name in SUMS),
    PrimaryKeyConstraint("account", "quarters", "slot", "dims", "kind", "reason", name="usage_pk"),
    sqlite_with_rowid=False,
)

# The same for days alone, whatever kind and reason, and whatever the dimensions: most reports
# need no more, and read a fraction of the rows.
totals = Table(
    "totals",
    metadata,
    Column("account", Integer, nullable=False),
    Column("quarters", SmallInteger, nullable=False),
    Column("slot", Integer, nullable=False),
    Column("dims", Integer, nullable=False),
    *(Column(name, BigInteger, nullable=False) for name in SUMS),
    PrimaryKeyConstraint("account", "quarters", "slot", "dims", name="totals_pk"),
    sqlite_with_rowid=False,
)

outcomes = Table(
    "outcomes",
    metadata,
    Column("account", Integer, nullable=False),
    Column("quarters", SmallInteger, nullable=False),
    Column("slot", Integer, nullable=False),
    Column("kind", String(1), nullable=False),
    Column("reason", String(40), nullable=False),
    *(Column(name, BigInteger, nullable=False) for name in SUMS),
    PrimaryKeyConstraint("account", "quarters", "slot", "kind", "reason", name="outcomes_pk"),
    sqlite_with_rowid=False,
)

# The days that roll-ups have rows of. Each entry is in the row of one day, and of one alone: a day
# that no other overlaps has all that happened in it. Days overlap where the time zone changed.
days = Table(
    "days",
    metadata,
    Column("account", Integer, nullable=False),
    Column("slot", Integer, nullable=False),
    Column("quarters", SmallInteger, nullable=False),
    PrimaryKeyConstraint("account", "slot", "quarters", name="days_pk"),
)

# Sums of postings of each quarter of an hour by effective_ms, for balances of the past. What a
# reservation had set aside counts as available until it ends: rc is written ac.
movements = Table(
    "movements",
    metadata,
    Column("account", Integer, nullable=False),
    Column("slot", Integer, nullable=False),
    Column("grant_id", String(20), nullable=False),
    Column("parts", String(2), nullable=False),
    Column("amount_mc", BigInteger, nullable=False),
    PrimaryKeyConstraint("account", "slot", "grant_id", "parts", name="movements_pk"),
    sqlite_with_rowid=False,
)

# Times from reservation to settlement, counted by day in logarithmic buckets of 10%. dims is the
# first number that has the action, version and model, here and in choices.
latencies = Table(
    "latencies",
    metadata,
    Column("account", Integer, nullable=False),
    Column("slot", Integer, nullable=False),
    Column("quarters", SmallInteger, nullable=False),
    Column("dims", Integer, nullable=False),
    Column("bucket", SmallInteger, nullable=False),
    Column("executions", BigInteger, nullable=False),
    PrimaryKeyConstraint("account", "slot", "quarters", "dims", "bucket", name="latencies_pk"),
    sqlite_with_rowid=False,
)

# Options that models chose, counted by day. Outputs and options are numbered from 0 in the
# order in which the action version declares them.
choices = Table(
    "choices",
    metadata,
    Column("account", Integer, nullable=False),
    Column("slot", Integer, nullable=False),
    Column("quarters", SmallInteger, nullable=False),
    Column("dims", Integer, nullable=False),
    Column("output", SmallInteger, nullable=False),
    Column("option", SmallInteger, nullable=False),
    Column("executions", BigInteger, nullable=False),
    PrimaryKeyConstraint(
        "account", "slot", "quarters", "dims", "output", "option", name="choices_pk"
    ),
    sqlite_with_rowid=False,
)

# What the service remembers. account_id is the ledger's own name of an account, not a number of the
# archive: an account may have keys and actions before its first entry is archived.

ACCOUNT_ID_LENGTH = 64

# Actions of accounts, with the draft that is worked on; etag changes with each change of the row.
# draft_version is the version that the draft would be, none while it has mistakes. revision counts
# publications, by the clock so that it never falls behind Redis; to_write is 1 until Redis has it.
actions = Table(
    "actions",
    metadata,
    Column("account_id", String(ACCOUNT_ID_LENGTH), nullable=False),
    Column("action_id", String(64), nullable=False),
    Column("workspace_id", String(DIMENSION_LENGTH), nullable=True),
    Column("name", String(200), nullable=False),
    Column("etag", String(22), nullable=False),
    Column("draft", Text, nullable=False),
    Column("draft_version", String(64), nullable=True),
    Column("published", String(64), nullable=True),
    Column("revision", BigInteger, nullable=False),
    Column("to_write", SmallInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("archived_ms", BigInteger, nullable=True),
    PrimaryKeyConstraint("account_id", "action_id", name="actions_pk"),
)
_TO_WRITE = text("to_write = 1")
Index(
    "actions_to_write",
    actions.c.account_id,
    postgresql_where=_TO_WRITE,
    sqlite_where=_TO_WRITE,
)

# Published versions, which never change: version is the content hash, number counts from 1.
action_versions = Table(
    "action_versions",
    metadata,
    Column("account_id", String(ACCOUNT_ID_LENGTH), nullable=False),
    Column("action_id", String(64), nullable=False),
    Column("version", String(64), nullable=False),
    Column("number", Integer, nullable=False),
    Column("spec", Text, nullable=False),
    Column("note", String(200), nullable=False),
    Column("published_ms", BigInteger, nullable=False),
    Column("published_by", String(200), nullable=False),
    PrimaryKeyConstraint("account_id", "action_id", "version", name="action_versions_pk"),
    UniqueConstraint("account_id", "action_id", "number", name="action_versions_number"),
)

# The history of an action: number counts from 1, kind is created, published, archived or restored.
action_changes = Table(
    "action_changes",
    metadata,
    Column("account_id", String(ACCOUNT_ID_LENGTH), nullable=False),
    Column("action_id", String(64), nullable=False),
    Column("number", Integer, nullable=False),
    Column("kind", String(10), nullable=False),
    Column("version", String(64), nullable=True),
    Column("note", String(200), nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
    Column("changed_by", String(200), nullable=False),
    PrimaryKeyConstraint("account_id", "action_id", "number", name="action_changes_pk"),
)

# Keys of the API: hashes are all that is stored of their secrets; the previous one counts up to
# previous_until_ms. No account: a key of the operator's.
api_keys = Table(
    "api_keys",
    metadata,
    Column("key_id", String(22), primary_key=True),
    Column("account_id", String(ACCOUNT_ID_LENGTH), nullable=True),
    Column("name", String(200), nullable=False),
    Column("secret_hash", String(64), nullable=False),
    Column("previous_hash", String(64), nullable=True),
    Column("previous_until_ms", BigInteger, nullable=True),
    Column("scopes", String(200), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("created_by", String(200), nullable=False),
    Column("expires_ms", BigInteger, nullable=True),
    Column("revoked_ms", BigInteger, nullable=True),
    Column("used_ms", BigInteger, nullable=True),
)
Index("api_keys_account", api_keys.c.account_id)

# What an account has configured by itself, a JSON text for each name: contacts, top_up, ...
account_settings = Table(
    "account_settings",
    metadata,
    Column("account_id", String(ACCOUNT_ID_LENGTH), nullable=False),
    Column("name", String(40), nullable=False),
    Column("value", Text, nullable=False),
    Column("etag", String(22), nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("account_id", "name", name="account_settings_pk"),
)

# Where alerts are sent: kind is email or webhook. No account: the operator's. A webhook's signing
# secret is derived from the installation key, the id and the generation; it is stored nowhere.
destinations = Table(
    "destinations",
    metadata,
    Column("destination_id", String(22), primary_key=True),
    Column("account_id", String(ACCOUNT_ID_LENGTH), nullable=True),
    Column("kind", String(10), nullable=False),
    Column("target", String(2_000), nullable=False),
    Column("events", String(400), nullable=False),
    Column("generation", Integer, nullable=False),
    Column("etag", String(22), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("rotated_ms", BigInteger, nullable=True),
    Column("disabled_ms", BigInteger, nullable=True),
)
Index("destinations_account", destinations.c.account_id)

# Messages on their way to a destination: state is waiting, delivered or dead. kind and target are
# the destination's; one that is a contact, or the operator's by the config, has no row of its own,
# and kind none says that nobody was there to be told.
deliveries = Table(
    "deliveries",
    metadata,
    Column("delivery_id", String(64), primary_key=True),
    Column("destination_id", String(22), nullable=False),
    Column("kind", String(10), nullable=False),
    Column("target", String(2_000), nullable=False),
    Column("account_id", String(ACCOUNT_ID_LENGTH), nullable=True),
    Column("event", String(40), nullable=False),
    Column("body", Text, nullable=False),
    Column("state", String(10), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("next_ms", BigInteger, nullable=False),
    Column("ended_ms", BigInteger, nullable=True),
    Column("fault", String(400), nullable=False),
)
Index("deliveries_due", deliveries.c.state, deliveries.c.next_ms)
Index("deliveries_of_destination", deliveries.c.destination_id, deliveries.c.state)
Index("deliveries_listed", deliveries.c.account_id, deliveries.c.created_ms)

# Payments: kind is checkout or top_up; reference is the caller's, or the number of a top-up. The
# ledger credits payment:<payment_id>, once. sent_ms: when the provider was first asked to charge;
# checked_ms: when a process last went on with it. dispute is '', open, won or lost. applied_cents
# is what of refunded_cents and disputed_cents has been taken back in credits.
payments = Table(
    "payments",
    metadata,
    Column("payment_id", String(22), primary_key=True),
    Column("account_id", String(ACCOUNT_ID_LENGTH), nullable=False),
    Column("kind", String(10), nullable=False),
    Column("reference", String(200), nullable=False),
    Column("packs", BigInteger, nullable=False),
    Column("amount_mc", BigInteger, nullable=False),
    Column("price_cents", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("keeps_method", SmallInteger, nullable=False),
    Column("customer_id", String(100), nullable=True),
    Column("method_id", String(100), nullable=True),
    Column("state", String(12), nullable=False),
    Column("session_id", String(100), nullable=True),
    Column("session_url", Text, nullable=True),
    Column("intent_id", String(100), nullable=True),
    Column("grant_id", String(20), nullable=True),
    Column("refunded_cents", BigInteger, nullable=False),
    Column("disputed_cents", BigInteger, nullable=False),
    Column("dispute", String(10), nullable=False),
    Column("applied_cents", BigInteger, nullable=False),
    Column("owed_mc", BigInteger, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("sent_ms", BigInteger, nullable=True),
    Column("checked_ms", BigInteger, nullable=False),
    Column("fault", String(400), nullable=False),
    UniqueConstraint("account_id", "kind", "reference", name="payments_reference"),
)
Index("payments_account", payments.c.account_id, payments.c.created_ms, payments.c.payment_id)
Index("payments_intent", payments.c.intent_id)
Index("payments_state", payments.c.state, payments.c.checked_ms)

# What was taken back of a payment's credits, step by step: due_mc is what has to be taken back in
# all, taken_mc what was; the grant is voided, and rest_grant_id given for what was too much.
reversals = Table(
    "reversals",
    metadata,
    Column("payment_id", String(22), nullable=False),
    Column("number", Integer, nullable=False),
    Column("cents", BigInteger, nullable=False),
    Column("due_mc", BigInteger, nullable=False),
    Column("reason", String(40), nullable=False),
    Column("grant_id", String(20), nullable=True),
    Column("taken_mc", BigInteger, nullable=True),
    Column("rest_grant_id", String(20), nullable=True),
    Column("created_ms", BigInteger, nullable=False),
    Column("done_ms", BigInteger, nullable=True),
    PrimaryKeyConstraint("payment_id", "number", name="reversals_pk"),
)

# Events of the payment provider that were worked through, so that each counts once.
payment_events = Table(
    "payment_events",
    metadata,
    Column("event_id", String(100), primary_key=True),
    Column("kind", String(60), nullable=False),
    Column("received_ms", BigInteger, nullable=False),
)

# Who pays by themselves: the payment provider's customer and the method kept for top-ups.
payers = Table(
    "payers",
    metadata,
    Column("account_id", String(ACCOUNT_ID_LENGTH), primary_key=True),
    Column("customer_id", String(100), nullable=False),
    Column("method_id", String(100), nullable=True),
    Column("updated_ms", BigInteger, nullable=False),
)
