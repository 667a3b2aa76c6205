"""The command line. Exit codes: 0 pass (FIXED), 1 failed, 2 interrupted, 3 harness error, 4 usage or refused input,
5 nothing ran, 10 gate breached, 11 diverged, 12 inconclusive.

Wrong input gets one line on stderr: what, where, what to do. With --json, stdout holds one object and nothing else.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Sequence

import click

from harness.builds import BuildRefused
from harness.commands import (
    agent,
    bench,
    compare,
    demo,
    devices,
    enumerate,
    explore,
    gate,
    module,
    prove,
    replay,
    run,
    schema,
    show,
    shrink,
    snapshot,
    state,
    stress,
    tenants,
    trace_message,
    verify,
    why,
)
from harness.commands.common import Call
from runtime.errors import EngineError

INTERRUPTED, BROKEN, REFUSED = 2, 3, 4


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Faults may change the trace, never the journal. Start: wasm-engine run hello",
)
@click.version_option(package_name="wasm-engine", message="%(prog)s %(version)s")
def group() -> None:
    """A runtime for local-first multi-agent systems, and the harness that proves a build of it reliable."""


for _command in (
    stress.stress,
    run.run,
    replay.replay,
    why.why,
    state.state,
    snapshot.snapshot,
    trace_message.trace_message,
    tenants.tenants,
    shrink.shrink,
    verify.verify,
    explore.explore,
    prove.prove,
    compare.compare,
    gate.gate,
    bench.bench,
    enumerate.enumerate_,
    demo.demo,
    agent.agent,
    module.module,
    schema.schema,
    show.scenarios,
    show.faults,
    show.profiles,
    show.oracles,
    devices.devices,
    show.doctor,
):
    group.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code and never raises. A request to end (SIGTERM) is taken as an interrupt."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    given = list(sys.argv[1:] if arguments is None else arguments)
    out = sys.stdout
    try:
        # With --json stdout holds one object, so what a build under test may print goes to stderr.
        with contextlib.redirect_stdout(sys.stderr if "--json" in given else sys.stdout):
            call = Call(tuple(given), out)
            code = group.main(args=given, prog_name="wasm-engine", standalone_mode=False, obj=call)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _say("interrupted; what was written before is whole", INTERRUPTED)
    except click.exceptions.NoArgsIsHelpError as help_:
        print(help_.format_message(), file=sys.stderr)
        return REFUSED
    except click.UsageError as error:
        return _say(_usage(error), REFUSED)
    except click.ClickException as error:
        return _say(error.format_message(), REFUSED)
    except (EngineError, BuildRefused) as error:
        return _say(str(error), REFUSED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # a bug of the harness: one line, and the whole story for who asks
        if os.environ.get("WASM_ENGINE_DEBUG"):
            raise
        text = (
            f"harness error: {type(error).__name__}: {error}; set WASM_ENGINE_DEBUG=1 for the traceback, and report it"
        )
        return _say(text, BROKEN)


def _usage(error: click.UsageError) -> str:
    command = error.ctx.command_path if error.ctx else "wasm-engine"
    return f"{error.format_message().rstrip('.')}; see {command} --help"


def _say(text: str, code: int) -> int:
    """One line, whatever a user typed: nothing in it can move the cursor or start another line."""
    line = " ".join(text.split())
    print("wasm-engine: " + "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line), file=sys.stderr)
    return code
