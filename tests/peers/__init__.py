"""The same load on creditgate and on what people use today: ``make bench-peers``."""
