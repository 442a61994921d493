"""JSON and CSV of accounts, statements and reports, as the command line and the API give them."""
