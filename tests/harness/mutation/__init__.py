"""Small faults put into the ledger one at a time: the ledger's tests must notice every one.

A fault that no test notices is a promise that no test holds. `catalog.py` lists the faults,
`sandbox.py` runs the tests on a copy of the project that has one of them.
"""
