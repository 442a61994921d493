"""The running processes of an installation, and the configuration that each of them runs."""
