"""Faults of signatures and of trust: modules that a load must refuse by name, beside ones that it must accept.

They are of class `refused`: nothing of the module executes, and the step that waited for it fails under that name, in
the twin as well. `good` and the like are among them, since a load that refuses everything is broken too.
"""

from __future__ import annotations

from faults.kind import AGENT, TICK, FaultKind, Form, Key

CASES = ("altered", "good", "missing", "cut", "padded", "junk", "header", "key", "s_range", "weak_r")
TRUST = ("revoked", "trusted", "expired", "early", "unknown", "weak", "replaced", "successor")
ACCEPTED = ("good", "trusted", "successor")
_STEP = Form(needs=("tick", "agent"))
_COUNTS = "the journal says that the step ended as a strict verifier makes it end"

SIGNED_KINDS: tuple[FaultKind, ...] = (
    FaultKind(
        slug="module.signature",
        rows=("F74",),
        class_="refused",
        layer="plugins",
        title="an agent's next module must be signed, and its signature is not what it should be (or is, as a control)",
        keys=(TICK, AGENT),
        forms=(_STEP,),
        params=(Key(name="what", meaning="what is wrong with it", words=CASES, default=CASES[0]),),
        counts_when=_COUNTS,
    ),
    FaultKind(
        slug="key.trust",
        rows=("F76",),
        class_="refused",
        layer="plugins",
        title="an agent's next module is well signed, under a key that does not count (or does, as a control)",
        keys=(TICK, AGENT),
        forms=(_STEP,),
        params=(Key(name="what", meaning="what is the matter with the key", words=TRUST, default=TRUST[0]),),
        counts_when=_COUNTS,
    ),
)
