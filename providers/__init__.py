"""The models' side: one port, and what stands behind it."""
