"""Faults: plans as data, the catalogue, and wrappers of ports that carry them out.

Way in: `plan` (Fault, Plan, text and JSON), `catalogue` over `kinds` (what there is), `injector` and `wrappers` (how it
is done), `budget` (what may be asked of a runtime), `effect` (whether it was noticed). Nothing here knows of a driver.
"""
