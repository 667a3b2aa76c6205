"""Determinism verification: what must not matter is varied, and the first record that it changes is found and named.

Nothing is imported here: a child interpreter changes its clocks before it imports the runtime.
"""
