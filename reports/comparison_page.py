"""The page of a comparison: one self-contained file that opens offline; no script, no request, everything escaped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.comparison_text import figure, interval
from reports.html import environment
from reports.paired import ALPHA

if TYPE_CHECKING:
    from reports.comparison import Comparison

FINDINGS_MAX = 40
DIFFERENCES_MAX = 20
_TONES = {"NO REGRESSION": "good", "REGRESSION": "bad", "TOO LITTLE DATA": "doubt"}


def render(found: Comparison) -> str:
    """The same text for the same comparison."""
    engine = environment()
    engine.filters |= {"figure": figure, "interval": interval}
    return engine.get_template("compare.html").render(
        found=found,
        tone=_TONES[found.verdict],
        findings=found.findings[:FINDINGS_MAX],
        findings_left=len(found.findings[FINDINGS_MAX:]),
        differences=found.differences[:DIFFERENCES_MAX],
        alpha=ALPHA,
        builds=(("BASE", found.base), ("HEAD", found.head)),
    )
