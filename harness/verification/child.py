"""The interpreter in which `verify` makes runs: requests in, files out, one JSON line each way.

Arguments: NICE ("0" to "19"), CORES ("all" or "one"), then the names of `surroundings` to put in place before the
runtime is imported. The answer "ready" says what was achieved. A request names a plan's file, a variation and where the
journal and the trace go; with "fork" the run is made in a copy of this process, at the same addresses.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from harness.verification import surroundings


def _share(nice: int, cores: str) -> dict[str, int]:
    """Take what share of the processor was asked for; what came of it."""
    got: dict[str, int] = {}
    with contextlib.suppress(OSError, AttributeError):
        got["nice"] = os.nice(nice)
    if cores == "one":
        with contextlib.suppress(OSError, AttributeError):
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
            got["cores"] = len(os.sched_getaffinity(0))
    return got


def _run(request: dict[str, Any]) -> dict[str, Any]:
    """Carry out one request; what is said of it. Whatever the build raises has been made a verdict before."""
    import msgspec

    from faults.plan import plan_from_json
    from harness.simulation import trace_lines
    from harness.verification.variation import Variation, carry_out
    from scenarios import get

    plan = plan_from_json(Path(request["plan"]).read_bytes())
    variation = msgspec.convert(request["variation"], Variation)
    out = Path(request["out"])
    told: list[str] = []
    history = carry_out(get(plan.scenario), plan, variation, out.with_suffix(".files"), told)
    out.with_suffix(".journal").write_bytes(history.journal)
    out.with_suffix(".trace").write_bytes(trace_lines(history.trace))
    effective = len({injection.fault for injection in history.injections})
    return {"failure": f"{history.failure} {history.failure_detail}".strip(), "injected": effective, "told": told}


def _forked(request: dict[str, Any]) -> dict[str, Any]:
    """The same in a copy of this process; every copy begins with the same memory at the same addresses."""
    process = os.fork()
    if process == 0:
        code = 1
        try:
            code = 1 if _run(request)["failure"] else 0
        finally:
            os._exit(code)
    _, status = os.waitpid(process, 0)
    return {"failure": f"the copy ended with status {status}" if status else "", "injected": 0, "told": []}


def _say(out: TextIO, said: dict[str, Any]) -> None:
    out.write(json.dumps(said) + "\n")
    out.flush()


def main(arguments: Sequence[str]) -> int:
    out = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a build that prints must not write between our lines
    nice, cores, *names = arguments
    got = _share(int(nice), cores)
    with contextlib.ExitStack() as stack:
        for name in names:
            stack.enter_context(surroundings.CHANGES[name]())
        import harness.verification.variation  # noqa: F401  # every run then begins with the same modules

        gc.collect()
        _say(out, {"ready": got})
        for line in sys.stdin:
            request = json.loads(line)
            _say(out, _forked(request) if request["fork"] else _run(request))
    return 0
