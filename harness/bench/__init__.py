"""Measuring speed: the full runtime against a bare floor and against a program written by hand, on the same work.

All figures come from one process and one run, in CPU time, the variants in turn so that noise hits all alike.
"""
