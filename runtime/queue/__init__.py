"""The request queue in Redis: what waits for each campaign, how it ended, and what was missed.

It knows no worker and no model: ``runtime/worker`` takes slices from it, and says how they ended.
"""
