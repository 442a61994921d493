"""The processes of a race, what they share, and what their journal must say."""
