"""Buying credits: checkouts, events of the payment provider, automatic top-ups, what is paid back.

What is decided stands apart from SQL (``stored``, ``stored_settings``) and from Stripe
(``stripe_gateway``). HTTP is not known here.
"""
