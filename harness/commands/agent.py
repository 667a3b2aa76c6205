"""`wasm-engine agent …`: from nothing to a signed agent that does what is written (docs/sdk.md)."""

from __future__ import annotations

import hashlib
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from harness.commands import agent_test, module_call, module_sign
from harness.commands.common import examples, json_option, print_json
from harness.sdk.compilers import BuildFailed
from harness.sdk.compilers import build as compiled
from harness.sdk.projects import LANGUAGES, MANIFEST, Project, create, find
from reports.words import plain
from runtime.errors import Refused
from runtime.manifest import libraries_of
from runtime.wasm.checks import check_module

folder_argument = click.argument("folder", default=".", type=click.Path(path_type=Path))


@click.group(short_help="An agent's folder: begin it, build, sign, inspect it, test it against a conversation.")
def agent() -> None:
    """Write agents. See `wasm-engine agent COMMAND --help`, and docs/sdk.md."""


@agent.command(
    short_help="Begin an agent in a new folder.",
    epilog=examples("wasm-engine agent new greeter", "wasm-engine agent new greeter --language rust --json"),
)
@click.argument("name")
@click.option("--language", type=click.Choice(LANGUAGES), default="wat", show_default=True)
@json_option
def new(name: str, language: str, as_json: bool) -> int:
    """Make the folder NAME: a manifest, a source that works, bindings of the ABI, a written conversation, a README."""
    files = create(name, language, Path())
    following = [f"cd {shlex.quote(name)}", "wasm-engine agent build", "wasm-engine agent test"]
    if as_json:
        print_json({"folder": name, "language": language, "files": files, "next": following})
        return 0
    print(f"made  {name}: {', '.join(files)}")
    print("next  " + "\n      ".join(following))
    return 0


@agent.command(
    short_help="Compile an agent, and check the module under its manifest.",
    epilog=examples("wasm-engine agent build", "wasm-engine agent build greeter --json"),
)
@folder_argument
@json_option
def build(folder: Path, as_json: bool) -> int:
    """Compile the agent in FOLDER (here, if none is given) to the module that its manifest names.

    WAT needs nothing more. C is built with zig (the extra `sdk`), Rust with cargo, AssemblyScript with asc; where the
    compiler is missing, exit 4 says how to get it. The module is optimised, without names and debug information, and
    has passed all load checks under the manifest; one that has not is not written.
    """
    project = find(folder)
    try:
        wasm, compiler = compiled(project)
    except BuildFailed as error:
        if error.output:
            print(plain_lines(error.output), file=sys.stderr)
        raise
    libraries = libraries_of(folder / MANIFEST, project.manifest)
    check_module(project.manifest.spec(wasm, libraries=libraries), wasm, libraries=libraries)
    _replace(project.module, wasm)
    told: dict[str, Any] = {
        "module": str(project.module),
        "language": project.language,
        "compiler": compiler,
        "bytes": len(wasm),
        "sha256": hashlib.sha256(wasm).hexdigest(),
    }
    if as_json:
        print_json(told)
    else:
        print(
            f"built  {plain(told['module'])}  {len(wasm)} B, by {compiler}; accepted under {project.folder}/agent.toml"
        )
    return 0


def plain_lines(text: str) -> str:
    """A compiler's words, line by line, with nothing that acts on a terminal."""
    return "\n".join(plain(line) for line in text.rstrip().splitlines())


def _replace(place: Path, wasm: bytes) -> None:
    """Whole or not at all."""
    beside = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        beside.write_bytes(wasm)
        beside.replace(place)
    except OSError as error:
        raise Refused(f"cannot be written: {error.strerror}", str(place), "give another place") from None
    finally:
        beside.unlink(missing_ok=True)


def built(folder: Path) -> Project:
    """The agent in a folder, whose module is there."""
    project = find(folder)
    if not project.module.is_file():
        raise Refused(
            "is not built yet", str(project.module), f"run wasm-engine agent build {shlex.quote(str(folder))}"
        )
    return project


@agent.command(
    short_help="Sign an agent's module.",
    epilog=examples(
        "wasm-engine agent sign --key release.secret", "wasm-engine agent sign greeter --key release.secret"
    ),
)
@folder_argument
@click.option("--key", required=True, type=module_sign.EXISTING, metavar="SECRET", help="The secret key file.")
@click.option("--key-id", default="", metavar="HEX|default", help="Name the key in the signature, for trust stores.")
@json_option
@click.pass_context
def sign(context: click.Context, folder: Path, key: Path, key_id: str, as_json: bool) -> int:
    """Sign the module of the agent in FOLDER, in place: `wasm-engine module sign` on what its manifest names.

    Building it again makes a module without a signature.
    """
    code: int = context.invoke(
        module_sign.sign, file=built(folder).module, key=key, out=None, detached=None, key_id=key_id, as_json=as_json
    )
    return code


@agent.command(
    short_help="What an agent's module imports, exports, and may use.",
    epilog=examples("wasm-engine agent inspect", "wasm-engine agent inspect greeter --json"),
)
@folder_argument
@json_option
@click.pass_context
def inspect(context: click.Context, folder: Path, as_json: bool) -> int:
    """Look into the module of the agent in FOLDER without running any of it: `wasm-engine module inspect` on what its
    manifest names. `wasm-engine module check FOLDER/agent.toml` checks it under the manifest."""
    code: int = context.invoke(module_call.inspect, file=str(built(folder).module), as_json=as_json)
    return code


agent.add_command(agent_test.test)
