"""`wasm-engine schema`: JSON Schemas of the files that people write, for editors and other checkers."""

from __future__ import annotations

import click
from pydantic import BaseModel

from harness.commands.common import examples, json_option, print_json
from harness.commands.telemetry import TelemetryLine
from harness.sdk.conversations import Conversation
from runtime.configuration import Configuration
from runtime.errors import Refused
from runtime.manifest import Manifest
from runtime.wasm.trust import TrustStore
from scenarios.files.tables import Description, Variation

SCHEMAS: dict[str, type[BaseModel]] = {
    "config": Configuration,
    "conversation": Conversation,
    "manifest": Manifest,
    "scenario": Description,
    "telemetry": TelemetryLine,
    "trust": TrustStore,
    "variation": Variation,
}
DIALECT = "https://json-schema.org/draft/2020-12/schema"


@click.command(
    short_help="The JSON Schema of a file that people write.",
    epilog=examples("wasm-engine schema manifest", "wasm-engine schema trust > trust.schema.json"),
)
@click.argument("name", metavar=f"[{'|'.join(SCHEMAS)}]")
@json_option
def schema(name: str, as_json: bool) -> int:
    """Print the JSON Schema of NAME. The files are TOML, and the schema is that of what they hold.

    A schema says what may stand where. What it cannot say (a key that is no point of the curve, a successor that is
    not there) the commands say when they read the file.
    """
    model = SCHEMAS.get(name)
    if model is None:
        raise Refused(f"no schema {name[:40]!r}", "", f"give one of {', '.join(SCHEMAS)}")
    print_json({"$schema": DIALECT, **model.model_json_schema()})
    return 0
