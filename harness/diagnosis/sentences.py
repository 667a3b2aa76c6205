"""What the oracles' sentences say beyond their oracle's name: which modules such a sentence speaks of.

A pattern is read in the evidence of one oracle; the shares are of one vote, by judgement, as in
`harness.diagnosis.knowledge`. A module's name has "_" for its ".", as keywords must.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from harness.diagnosis.knowledge import Shares


class Said(NamedTuple):
    """What an oracle's sentence says more than its name: `pattern` in evidence of `oracle` ("" is any)."""

    oracle: str
    pattern: re.Pattern[str]
    shares: Shares


def _said(oracle: str, pattern: str, **shares: float) -> Said:
    return Said(oracle, re.compile(pattern), {name.replace("_", "."): share for name, share in shares.items()})


SAID: tuple[Said, ...] = (
    _said("I3", r"whose pool is resized: ", pool=0.9),
    _said("I8", r"admitted again", fold=0.7, intake=0.3),
    _said("I8", r"numbers begin at|is the next free", broker=0.9),
    _said("I8", r"no block admits it", intake=0.6, fold=0.2),
    _said("I8", r"was consumed \d+ times", broker=0.5, fold=0.2),
    _said("I8", r"\d+ effects, guest event|guest event \d+ called", pool=0.6, orchestrator=0.2),
    _said("I11", r"not the bytes that guest event", pool=0.3, frames=0.3, worker=0.2),
    _said("I11", r"a reading for number", reads=0.8),
    _said("I8", r"an answer to number|reading of request|is no read", reads=0.8),
    _said("I18", r"readings in its inbox", reads=0.8),
    _said("reads", r"agent \d+'s life is over", requests=0.5, reads=0.3),
    _said("reads", r"which was not durable then", orchestrator=0.6, releases=0.3),
    _said("I10", r"which knew of it", fold=0.5, broker=0.3),
    _said("I13", r"opens tick|commits tick|crossing of tick|after tick \d+ was committed", orchestrator=0.8),
    _said("I13", r"consumes in tick", broker=0.4, fold=0.4),
    _said("I14", r"while worker \d+ that had it lives|holds no lease|holds a lease", pool=0.9),
    _said("I14", r"started after incarnation", boot=0.9),
    _said("I15", r"before its tick had closed", fold=0.6, buffers=0.2),
    _said("I15", r"version \d+ of buffer \d+ follows", fold=0.7),
    _said("I15", r"is not the \d+ B that|of buffer \d+, which was never published", buffers=0.8),
    _said("I16", r"got the bytes of version", buffers=0.8),
    _said("I17", r" did \w+, and has ", wasm_checks=0.8),
    _said("I17", r"of which it is no writer", worker=0.8),
    _said("I17", r"which ended in block", scheduler=0.5, lifecycle=0.3),
    _said("I18", r"was given \d+ fuel", orchestrator=0.8),
    _said("I18", r"used \d+ fuel", wasm_guest=0.8),
    _said("I18", r"bytes of memory", wasm_checks=0.7, wasm_guest=0.2),
    _said("I18", r"calls with an effect|bytes in one call", wasm_modules=0.9),
    _said("I18", r"messages in its inbox|refusals in its inbox", broker=0.9),
    _said("I18", r"results in its inbox", requests=0.8),
    _said("I18", r"steps, the bound", scheduler=0.9),
    _said("I20", r"\(not state-", fold=0.6, recovery=0.2),  # a snapshot that is not what its block says
    _said("I21", r"instances", worker=0.8, pool=0.1),
    _said("I21", r"worker \d+ lives|workers live|lease \d+ of", pool=0.9),
    _said("I21", r"device", router=0.9),
    _said("I21", r"segments", orchestrator=0.8),
    _said("I22", r"agents run in the order", scheduler=0.9),
    _said("I23", r"of models: ", inference_cache=0.8),
    _said("I24", r"golden answers, tried", inference_golden=0.8, inference_admission=0.1),
    _said("I25", r"weights in", inference_graph=0.9),
    _said("scenario", r"is not what comes next in it", sources=0.5, wasm_running=0.4),  # of a story that is streamed
    _said("I23", r"B of files|file \w+ leaves|code \w+ is loaded", wasm_artefacts=0.8),
    _said("I24", r"nothing tells of a switch|an answer of process", router=0.9),
    _said("I24", r"KV cache that is not the 0 bytes", requests=0.7, router=0.1),  # a session that is new, and is not
    _said("I24", r"KV cache that is not the [1-9]", router=0.5, orchestrator=0.2, requests=0.2),
    _said("I25", r"device|model", inference_cache=0.7, inference_device=0.1),
    _said("I25", r"module|worker", wasm_checks=0.6, worker=0.3),
    _said("I28", r"holds a decree", orchestrator=0.9),
    _said("I30", r"by no check", recovery=0.7, boot=0.1),
    _said("I30", r"bad as the journal was read|bad when it was read", journal=0.8),
    _said("I31", r"^(?!.*\bgroup\b).*restarts (in tick|after)", supervisor=0.9),
    _said("I31", r"\bgroup\b.* restarts (in tick|after)", groups=0.9),
    _said("I31", r"final state counts a restart", orchestrator=0.4, supervisor=0.4),
    _said("I31", r"is started|was started once more|is kept", pool=0.9),
    _said("I32", r"agent\.misuse\) defines refused:import", wasm_checks=0.8),
    _said("I32", r"agent\.misuse\) defines (alloc|agent_error)", wasm_modules=0.8),
    _said("I32", r"wasm\.grow_refused\) defines", wasm_checks=0.7, wasm_guest=0.2),
    _said("I32", r"wasm\.trap\) defines|agent\.fuel_out\) defines", wasm_guest=0.7),
    _said("I32", r"ended by decree", pool=0.9),
    _said("I32", r"is due .*; the journal has|was to restart|was not to start|without an init", supervisor=0.8),
    _said("I32", r"out of range|ranges of guest event .* were good|defines bad_pointer", worker=0.9),
    _said("I32", r"is due nothing; the journal has failed", fold=1.0),  # who takes what happened for a failure
    _said("I32", r"due nothing; the journal has lifecycle|active backoff; the journal has nothing", groups=1.0),
    _said("I32", r"had reached, differs", broker=0.5, fold=0.1),
    _said("I34", r"its root is .* the final state", fold=0.3, snapshot=0.3),
    _said("I34", r"mailbox in the final state|copies of", broker=0.6),
    _said("scenario", r"version \d+: said", wasm_checks=0.5, wasm_libraries=0.2, worker=0.1),  # another code ran
    _said("scenario", r"to 6 it is ", wasm_linking=0.6, wasm_libraries=0.3),  # of `upgrade`: it cannot be linked
    _said("I36", r"its reloads ended as|asked for, \d+ done", reloads=0.7, fold=0.1),
    _said("I36", r"is served by|goes on with another state", worker=0.8),
    _said("order", r"no member|posted itself", channels=0.9),
    _said("order", r"committed after it", broker=0.7),
    _said("replay", r"no watermark that verifies", watermark=0.8, durability=0.1),
    _said("replay", r"is not the one that was synced", watermark=0.5, durability=0.2, journal=0.1),
    _said("replay", r"synced up to block \d+, but the journal ends", durability=0.4, boot=0.4),
    _said("replay", r"holds other steps than its inputs select", orchestrator=0.5, fold=0.2),
    _said("replay", r"an image of \d+ bytes .* is not of this module", snapshot=0.8, recovery=0.1),
    _said("replay", r"did other in tick", worker=0.3, snapshot=0.3, residence=0.2),
    _said("ledger", r"was never received|follows block", releases=0.6, orchestrator=0.2),
    _said("ledger", r"is not what receipt|acknowledges|outputs", recovery=0.4, releases=0.2),
    _said("I18", r"refused for a quota|messages, its quota", meter=0.9),
    _said("I18", r"tenant \d+ (is deferred|has)|messages of tenant", tenants=0.9),
    _said("I19", r"may be ahead", orchestrator=0.7, durability=0.1),
)
