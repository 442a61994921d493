"""The runtime, without network or Redis."""
