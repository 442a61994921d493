"""What endpoints take from all processes together, kept in Redis."""
