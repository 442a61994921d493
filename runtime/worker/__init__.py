"""The worker: runs the requests that wait in the queue, slice by slice, fairly by account.

Tickets travel through a kept queue engine and say only that an account has work; the requests
themselves stay in ``runtime.queue``.
"""
