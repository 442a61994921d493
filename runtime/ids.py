"""The form of ids that become parts of keys, paths and metrics: accounts, actions, models."""

ID_PATTERN = r"^[A-Za-z0-9_.-]{1,64}$"
"""Letters, digits, underscore, point and hyphen, 1 to 64 of them."""
