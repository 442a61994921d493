"""One runtime over several processes, so that executions use all cores of a machine.

Each process of the pool holds a whole runtime of its own. The parent hands out requests one by one
and gets results back; it reads no prompt, reserves nothing and calls no model. What is shared
between the processes is what all processes share: the ledger, the turns at endpoints, what was
learned. Reading people, holding and writing results stay with whoever uses the pool.
"""
