"""Runs migrations on the connection that ``upgrading.py`` passes; Alembic calls this file."""

from __future__ import annotations

from alembic import context

context.configure(
    connection=context.config.attributes["connection"], transaction_per_migration=False
)
with context.begin_transaction():
    context.run_migrations()
