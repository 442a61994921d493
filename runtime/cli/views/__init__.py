"""What commands print: as text for people, as JSON for programs."""
