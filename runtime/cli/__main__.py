"""``python -m runtime.cli``: the command line without its installed script."""

from runtime.cli import main

main()
