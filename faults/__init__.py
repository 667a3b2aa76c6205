"""Faults: plans as data, the catalogue, and wrappers of ports that carry them out."""
