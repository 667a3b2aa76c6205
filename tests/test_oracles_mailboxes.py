"""Whole runs in which mailboxes overflow and agents with mail are paused and ended, under every oracle.

The runs are judged as any other; the journal must hold each kind of record, or nothing was tested.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from msgspec.structs import replace
from runtime_kit import SEED, plan_of, simulation

from faults.plan import Plan
from harness.check import Checker, twin_plan
from harness.history import History
from harness.oracles import Judged, Verdict, judge
from harness.oracles.messages import conservation, exactly_once
from runtime import journal
from runtime.state import Action, Input, Operate, Publish, Schedule, Send, Spawn
from scenarios.registry import get
