"""Exploration: a search for failures that is led by what runs have not yet met.

`states` reads from a trace in which state each fault took effect; `shapes` are what Hypothesis draws, and how they
become plans; `lane` is one child's search; `ledger` keeps what was found, at any moment whole; `lead` holds all
together. Nothing here changes a run: a plan that was explored replays like any other.
"""
