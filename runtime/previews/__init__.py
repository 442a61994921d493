"""Previews: actions run for sample people, with everything about each run shown.

A preview is an execution like any other. What is shown of it, the prompt and the model's own words
among it, is in the answer to whoever asked and nowhere else.
"""
