"""`wasm-engine module …`: what can be done with a module's file alone."""

from __future__ import annotations

import click

from harness.commands import module_call, module_check, module_run, module_sign, module_validate


@click.group(
    short_help="A module's file: call, inspect, run, ask a validator, check by a manifest, sign, verify; make keys."
)
def module() -> None:
    """Work on modules' files. See `wasm-engine module COMMAND --help`."""


for _command in (
    module_call.call,
    module_call.inspect,
    module_run.run,
    module_validate.validate,
    module_check.check,
    module_sign.sign,
    module_sign.verify,
    module_sign.keygen,
):
    module.add_command(_command)
