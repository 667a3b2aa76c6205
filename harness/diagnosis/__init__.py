"""Diagnosis: why a case fails, from records and from further runs of the same build; never from names of planted bugs.

Start with `explain.py`, which puts the parts together.
"""
