"""The archive of the journal."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "account_settings",
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("etag", sa.String(length=22), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "name", name="account_settings_pk"),
    )
    op.create_table(
        "accounts",
        sa.Column("no", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("epoch", sa.String(length=16), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("chain", sa.String(length=12), nullable=False),
        sa.Column("left_mc", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("archived_ms", sa.BigInteger(), nullable=False),
        sa.Column("timezone", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("no"),
        sa.UniqueConstraint("account_id", name="accounts_account_id"),
    )
    op.create_table(
        "action_changes",
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("action_id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=True),
        sa.Column("note", sa.String(length=200), nullable=False),
        sa.Column("changed_ms", sa.BigInteger(), nullable=False),
        sa.Column("changed_by", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "action_id", "number", name="action_changes_pk"),
    )
    op.create_table(
        "action_versions",
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("action_id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("spec", sa.Text(), nullable=False),
        sa.Column("note", sa.String(length=200), nullable=False),
        sa.Column("published_ms", sa.BigInteger(), nullable=False),
        sa.Column("published_by", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "action_id", "version", name="action_versions_pk"),
        sa.UniqueConstraint("account_id", "action_id", "number", name="action_versions_number"),
    )
    op.create_table(
        "actions",
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("action_id", sa.String(length=64), nullable=False),
        sa.Column("workspace_id", sa.String(length=200), nullable=True),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("etag", sa.String(length=22), nullable=False),
        sa.Column("draft", sa.Text(), nullable=False),
        sa.Column("draft_version", sa.String(length=64), nullable=True),
        sa.Column("published", sa.String(length=64), nullable=True),
        sa.Column("revision", sa.BigInteger(), nullable=False),
        sa.Column("to_write", sa.SmallInteger(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("archived_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("account_id", "action_id", name="actions_pk"),
    )
    op.create_index(
        "actions_to_write",
        "actions",
        ["account_id"],
        unique=False,
        postgresql_where=sa.text("to_write = 1"),
        sqlite_where=sa.text("to_write = 1"),
    )
    op.create_table(
        "api_keys",
        sa.Column("key_id", sa.String(length=22), nullable=False),
        sa.Column("account_id", sa.String(length=64), nullable=True),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("secret_hash", sa.String(length=64), nullable=False),
        sa.Column("previous_hash", sa.String(length=64), nullable=True),
        sa.Column("previous_until_ms", sa.BigInteger(), nullable=True),
        sa.Column("scopes", sa.String(length=200), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(length=200), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=True),
        sa.Column("revoked_ms", sa.BigInteger(), nullable=True),
        sa.Column("used_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("key_id"),
    )
    op.create_index("api_keys_account", "api_keys", ["account_id"], unique=False)
    op.create_table(
        "choices",
        sa.Column("account", sa.Integer(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("quarters", sa.SmallInteger(), nullable=False),
        sa.Column("dims", sa.Integer(), nullable=False),
        sa.Column("output", sa.SmallInteger(), nullable=False),
        sa.Column("option", sa.SmallInteger(), nullable=False),
        sa.Column("executions", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "account", "slot", "quarters", "dims", "output", "option", name="choices_pk"
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "days",
        sa.Column("account", sa.Integer(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("quarters", sa.SmallInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "slot", "quarters", name="days_pk"),
    )
    op.create_table(
        "deliveries",
        sa.Column("delivery_id", sa.String(length=64), nullable=False),
        sa.Column("destination_id", sa.String(length=22), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("target", sa.String(length=2000), nullable=False),
        sa.Column("account_id", sa.String(length=64), nullable=True),
        sa.Column("event", sa.String(length=40), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("next_ms", sa.BigInteger(), nullable=False),
        sa.Column("ended_ms", sa.BigInteger(), nullable=True),
        sa.Column("fault", sa.String(length=400), nullable=False),
        sa.PrimaryKeyConstraint("delivery_id"),
    )
    op.create_index("deliveries_due", "deliveries", ["state", "next_ms"], unique=False)
    op.create_index("deliveries_listed", "deliveries", ["account_id", "created_ms"], unique=False)
    op.create_index(
        "deliveries_of_destination", "deliveries", ["destination_id", "state"], unique=False
    )
    op.create_table(
        "destinations",
        sa.Column("destination_id", sa.String(length=22), nullable=False),
        sa.Column("account_id", sa.String(length=64), nullable=True),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("target", sa.String(length=2000), nullable=False),
        sa.Column("events", sa.String(length=400), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("etag", sa.String(length=22), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("rotated_ms", sa.BigInteger(), nullable=True),
        sa.Column("disabled_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("destination_id"),
    )
    op.create_index("destinations_account", "destinations", ["account_id"], unique=False)
    op.create_table(
        "dimensions",
        sa.Column("account", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("workspace", sa.String(length=200), nullable=False),
        sa.Column("campaign", sa.String(length=200), nullable=False),
        sa.Column("action", sa.String(length=200), nullable=False),
        sa.Column("action_version", sa.String(length=200), nullable=False),
        sa.Column("model", sa.String(length=200), nullable=False),
        sa.Column("source", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("account", "number", name="dimensions_pk"),
    )
    op.create_index(
        "dimensions_performance",
        "dimensions",
        ["account", "action", "action_version", "model", "number"],
        unique=False,
    )
    op.create_table(
        "entries",
        sa.Column("account", sa.Integer(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("chain", sa.String(length=12), nullable=False),
        sa.Column("kind", sa.String(length=1), nullable=False),
        sa.Column("at_ms", sa.BigInteger(), nullable=False),
        sa.Column("effective_ms", sa.BigInteger(), nullable=False),
        sa.Column("dims", sa.Integer(), nullable=False),
        sa.Column("charged_mc", sa.BigInteger(), nullable=False),
        sa.Column("left_mc", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("account", "seq", name="entries_pk"),
    )
    op.create_index("entries_at", "entries", ["account", "at_ms"], unique=False)
    op.create_index(
        "entries_changes",
        "entries",
        ["account", "kind", "seq"],
        unique=False,
        postgresql_where=sa.text("kind = 'g' OR kind = 'o' OR kind = 'y' OR kind = 'z'"),
        sqlite_where=sa.text("kind = 'g' OR kind = 'o' OR kind = 'y' OR kind = 'z'"),
    )
    op.create_index(
        "entries_late",
        "entries",
        ["account", "effective_ms"],
        unique=False,
        postgresql_where=sa.text("effective_ms <> at_ms"),
        sqlite_where=sa.text("effective_ms <> at_ms"),
    )
    op.create_table(
        "forks",
        sa.Column("account", sa.Integer(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("chain", sa.String(length=12), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("found_ms", sa.BigInteger(), nullable=False),
        sa.Column("resolved_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("account", "seq", "chain", name="forks_pk"),
    )
    op.create_table(
        "installation",
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("value", sa.String(length=200), nullable=False),
        sa.PrimaryKeyConstraint("name"),
    )
    op.create_table(
        "latencies",
        sa.Column("account", sa.Integer(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("quarters", sa.SmallInteger(), nullable=False),
        sa.Column("dims", sa.Integer(), nullable=False),
        sa.Column("bucket", sa.SmallInteger(), nullable=False),
        sa.Column("executions", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "account", "slot", "quarters", "dims", "bucket", name="latencies_pk"
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "movements",
        sa.Column("account", sa.Integer(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("grant_id", sa.String(length=20), nullable=False),
        sa.Column("parts", sa.String(length=2), nullable=False),
        sa.Column("amount_mc", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "slot", "grant_id", "parts", name="movements_pk"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "outcomes",
        sa.Column("account", sa.Integer(), nullable=False),
        sa.Column("quarters", sa.SmallInteger(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=1), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("executions", sa.BigInteger(), nullable=False),
        sa.Column("charged_mc", sa.BigInteger(), nullable=False),
        sa.Column("overage_mc", sa.BigInteger(), nullable=False),
        sa.Column("exposure_mc", sa.BigInteger(), nullable=False),
        sa.Column("free_mc", sa.BigInteger(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cached_input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cache_write_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "account", "quarters", "slot", "kind", "reason", name="outcomes_pk"
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "payers",
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("customer_id", sa.String(length=100), nullable=False),
        sa.Column("method_id", sa.String(length=100), nullable=True),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_id"),
    )
    op.create_table(
        "payment_events",
        sa.Column("event_id", sa.String(length=100), nullable=False),
        sa.Column("kind", sa.String(length=60), nullable=False),
        sa.Column("received_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("event_id"),
    )
    op.create_table(
        "payments",
        sa.Column("payment_id", sa.String(length=22), nullable=False),
        sa.Column("account_id", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("reference", sa.String(length=200), nullable=False),
        sa.Column("packs", sa.BigInteger(), nullable=False),
        sa.Column("amount_mc", sa.BigInteger(), nullable=False),
        sa.Column("price_cents", sa.BigInteger(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("keeps_method", sa.SmallInteger(), nullable=False),
        sa.Column("customer_id", sa.String(length=100), nullable=True),
        sa.Column("method_id", sa.String(length=100), nullable=True),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("session_id", sa.String(length=100), nullable=True),
        sa.Column("session_url", sa.Text(), nullable=True),
        sa.Column("intent_id", sa.String(length=100), nullable=True),
        sa.Column("grant_id", sa.String(length=20), nullable=True),
        sa.Column("refunded_cents", sa.BigInteger(), nullable=False),
        sa.Column("disputed_cents", sa.BigInteger(), nullable=False),
        sa.Column("dispute", sa.String(length=10), nullable=False),
        sa.Column("applied_cents", sa.BigInteger(), nullable=False),
        sa.Column("owed_mc", sa.BigInteger(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("updated_ms", sa.BigInteger(), nullable=False),
        sa.Column("sent_ms", sa.BigInteger(), nullable=True),
        sa.Column("checked_ms", sa.BigInteger(), nullable=False),
        sa.Column("fault", sa.String(length=400), nullable=False),
        sa.PrimaryKeyConstraint("payment_id"),
        sa.UniqueConstraint("account_id", "kind", "reference", name="payments_reference"),
    )
    op.create_index(
        "payments_account", "payments", ["account_id", "created_ms", "payment_id"], unique=False
    )
    op.create_index("payments_intent", "payments", ["intent_id"], unique=False)
    op.create_index("payments_state", "payments", ["state", "checked_ms"], unique=False)
    op.create_table(
        "reversals",
        sa.Column("payment_id", sa.String(length=22), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("cents", sa.BigInteger(), nullable=False),
        sa.Column("due_mc", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("grant_id", sa.String(length=20), nullable=True),
        sa.Column("taken_mc", sa.BigInteger(), nullable=True),
        sa.Column("rest_grant_id", sa.String(length=20), nullable=True),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("done_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("payment_id", "number", name="reversals_pk"),
    )
    op.create_table(
        "totals",
        sa.Column("account", sa.Integer(), nullable=False),
        sa.Column("quarters", sa.SmallInteger(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("dims", sa.Integer(), nullable=False),
        sa.Column("executions", sa.BigInteger(), nullable=False),
        sa.Column("charged_mc", sa.BigInteger(), nullable=False),
        sa.Column("overage_mc", sa.BigInteger(), nullable=False),
        sa.Column("exposure_mc", sa.BigInteger(), nullable=False),
        sa.Column("free_mc", sa.BigInteger(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cached_input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cache_write_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account", "quarters", "slot", "dims", name="totals_pk"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "usage",
        sa.Column("account", sa.Integer(), nullable=False),
        sa.Column("quarters", sa.SmallInteger(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("dims", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=1), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("executions", sa.BigInteger(), nullable=False),
        sa.Column("charged_mc", sa.BigInteger(), nullable=False),
        sa.Column("overage_mc", sa.BigInteger(), nullable=False),
        sa.Column("exposure_mc", sa.BigInteger(), nullable=False),
        sa.Column("free_mc", sa.BigInteger(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cached_input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cache_write_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "account", "quarters", "slot", "dims", "kind", "reason", name="usage_pk"
        ),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "entries_execution", "entries", ["account", sa.text("substr(body, 24, 8)")], unique=False
    )


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("usage")
    op.drop_table("totals")
    op.drop_table("reversals")
    op.drop_index("payments_state", table_name="payments")
    op.drop_index("payments_intent", table_name="payments")
    op.drop_index("payments_account", table_name="payments")
    op.drop_table("payments")
    op.drop_table("payment_events")
    op.drop_table("payers")
    op.drop_table("outcomes")
    op.drop_table("movements")
    op.drop_table("latencies")
    op.drop_table("installation")
    op.drop_table("forks")
    op.drop_index(
        "entries_late",
        table_name="entries",
        postgresql_where=sa.text("effective_ms <> at_ms"),
        sqlite_where=sa.text("effective_ms <> at_ms"),
    )
    op.drop_index(
        "entries_changes",
        table_name="entries",
        postgresql_where=sa.text("kind = 'g' OR kind = 'o' OR kind = 'y' OR kind = 'z'"),
        sqlite_where=sa.text("kind = 'g' OR kind = 'o' OR kind = 'y' OR kind = 'z'"),
    )
    op.drop_index("entries_at", table_name="entries")
    op.drop_table("entries")
    op.drop_index("dimensions_performance", table_name="dimensions")
    op.drop_table("dimensions")
    op.drop_index("destinations_account", table_name="destinations")
    op.drop_table("destinations")
    op.drop_index("deliveries_of_destination", table_name="deliveries")
    op.drop_index("deliveries_listed", table_name="deliveries")
    op.drop_index("deliveries_due", table_name="deliveries")
    op.drop_table("deliveries")
    op.drop_table("days")
    op.drop_table("choices")
    op.drop_index("api_keys_account", table_name="api_keys")
    op.drop_table("api_keys")
    op.drop_index(
        "actions_to_write",
        table_name="actions",
        postgresql_where=sa.text("to_write = 1"),
        sqlite_where=sa.text("to_write = 1"),
    )
    op.drop_table("actions")
    op.drop_table("action_versions")
    op.drop_table("action_changes")
    op.drop_table("accounts")
    op.drop_table("account_settings")
