"""Alerts on their way out: taken from Redis, kept in SQL, sent by email and webhook.

The ledger's scripts raise alerts (runtime/credits/lua/marks.lua); nothing is decided here about
credits.
"""
