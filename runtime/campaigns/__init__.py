"""One action for many people: people files, the run, its forecast."""
