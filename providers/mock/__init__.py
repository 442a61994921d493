"""An HTTP server that speaks the providers' wire formats, for demos, tests and load tests."""
