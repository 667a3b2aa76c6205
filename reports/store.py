"""A report's folder: written whole or not at all, read back checked.

Every file appears under its name only when complete (temporary file, then rename), `run.json` last, and `latest`
beside the folder moves to it only after that. The same rows and metadata give the same bytes: no time of day, no path
of this machine, nothing of the process is in them. `run.json` carries the digest of the table that it belongs to.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec import Struct

from reports.files import json_bytes, point, put
from reports.frames import REPORT_VERSION, Meta, RunRow, check_meta, check_rows
from reports.summary import Counts, count, verdict
from runtime.errors import Refused

if TYPE_CHECKING:
    import pandas as pd

RUN_FILE, TABLE_FILE = "run.json", "results.parquet"
_LISTS = ("failed_oracles", "unknown_oracles", "judged", "reached", "recoveries_ns")
_MAPS = ("faults_planned", "faults_fired")
_INTEGERS = (
    *("run", "workers", "steps_redone", "workers_lost", "wrong_results", "wrong_found", "margin_ns", "bound_ns"),
    *("ticks", "messages", "agent_steps", "virtual_ns"),
)


class RunFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`run.json`: the truth about a campaign; the table's sha256 ties the two together."""

    version: int
    verdict: str
    counts: Counts
    meta: Meta
    results_sha256: str


class Results(NamedTuple):
    """A report read back. `runs` has one line per run, its columns named as the fields of RunRow."""

    folder: Path
    meta: Meta
    verdict: str
    counts: Counts
    runs: pd.DataFrame

    @property
    def recoveries(self) -> pd.DataFrame:
        """One line per recovery: scenario, run, recovery_ns."""
        frame = self.runs[["scenario", "run", "recoveries_ns"]].explode("recoveries_ns").dropna()
        frame = frame.rename(columns={"recoveries_ns": "recovery_ns"}).reset_index(drop=True)
        return frame.astype({"recovery_ns": "int64"})

    @property
    def faults(self) -> pd.DataFrame:
        """One line per run and planned kind: scenario, run, kind, planned, fired."""
        import pandas as pd

        lines = [
            (scenario, run, kind, n, fired.get(kind, 0))
            for scenario, run, planned, fired in zip(
                self.runs["scenario"],
                self.runs["run"],
                self.runs["faults_planned"],
                self.runs["faults_fired"],
                strict=True,
            )
            for kind, n in planned.items()
        ]
        return pd.DataFrame(lines, columns=["scenario", "run", "kind", "planned", "fired"])


def write(rows: Iterable[RunRow], meta: Meta | Mapping[str, Any], folder: str | Path) -> Results:
    """Writes the report's files into `folder` and points `latest` beside it there.

    Raises Refused for a row or metadata that cannot be, and for a folder that cannot be written.
    """
    from reports import html, junit, markdown

    checked, known, target = check_rows(rows), check_meta(meta), Path(folder)
    counts = count(checked)
    table = _parquet(checked)
    run_file = RunFile(
        version=REPORT_VERSION,
        verdict=verdict(counts),
        counts=counts,
        meta=known,
        results_sha256=hashlib.sha256(table).hexdigest(),
    )
    files = {
        TABLE_FILE: table,
        "results.csv": _csv(checked),
        "summary.md": markdown.render(checked, known).encode(),
        "junit.xml": junit.render(checked, known),
        "report.html": html.render(checked, known).encode(),
        RUN_FILE: json_bytes(run_file),
    }
    try:
        target.mkdir(parents=True, exist_ok=True)
        (target / RUN_FILE).unlink(missing_ok=True)  # a write cut short leaves no report, rather than a mixed one
        for name, data in files.items():
            put(target / name, data)
        point(target)
    except OSError as error:
        raise Refused(
            f"cannot write the report: {error.strerror}", str(target), "choose another output folder"
        ) from None
    return load(target)


def load(folder: str | Path) -> Results:
    """The report in `folder` (`out/latest` is one); raises Refused when there is none or when it is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(folder)
    again = "write the report anew"
    try:
        raw, table = (path / RUN_FILE).read_bytes(), (path / TABLE_FILE).read_bytes()
    except OSError as error:
        name = Path(error.filename).name if error.filename else path.name
        raise Refused(
            f"no report here: {name}: {error.strerror}", str(folder), "give a folder that a run wrote"
        ) from None
    try:
        found = msgspec.json.decode(raw)
        if isinstance(found, dict) and found.get("version") != REPORT_VERSION:
            raise Refused(f"{RUN_FILE} has version {found.get('version')!r}, not {REPORT_VERSION}", str(folder), again)
        run_file = msgspec.convert(found, RunFile)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Refused(f"{RUN_FILE} is damaged: {error}", str(folder), again) from None
    if hashlib.sha256(table).hexdigest() != run_file.results_sha256:
        raise Refused(f"{TABLE_FILE} is not the one that {RUN_FILE} was written for", str(folder), again)
    frame: pd.DataFrame = pq.read_table(pa.BufferReader(table)).to_pandas(maps_as_pydicts="strict")
    return Results(path, run_file.meta, run_file.verdict, run_file.counts, frame)


def _parquet(rows: tuple[RunRow, ...]) -> bytes:
    """Columns in the order of RunRow's fields, lists and maps as such, so that nothing is guessed from the data."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    special = {"seed": pa.uint64(), "recoveries_ns": pa.list_(pa.int64())}
    special |= {name: pa.list_(pa.string()) for name in _LISTS if name not in special}
    special |= {name: pa.map_(pa.string(), pa.int64()) for name in _MAPS}
    special |= {name: pa.int64() for name in _INTEGERS}
    schema = pa.schema([(name, special.get(name, pa.string())) for name in RunRow.__struct_fields__])
    columns = {}
    for name in RunRow.__struct_fields__:
        values = [getattr(row, name) for row in rows]
        columns[name] = [sorted(value.items()) for value in values] if name in _MAPS else values
    sink = pa.BufferOutputStream()
    try:
        pq.write_table(pa.table(columns, schema=schema), sink, compression="zstd")
    except (pa.ArrowInvalid, OverflowError) as error:
        raise Refused(f"a value does not fit the table: {error}", TABLE_FILE, "integers are below 2**63") from None
    return bytes(sink.getvalue().to_pybytes())


def _csv(rows: tuple[RunRow, ...]) -> bytes:
    """Lists and maps stand as JSON in their cell, so a spreadsheet shows them and a program reads them."""
    import pandas as pd

    names = RunRow.__struct_fields__
    nested = {*_LISTS, *_MAPS}
    columns = {
        name: [
            json.dumps(getattr(row, name), sort_keys=True, separators=(",", ":"))
            if name in nested
            else getattr(row, name)
            for row in rows
        ]
        for name in names
    }
    text: str = pd.DataFrame(columns, columns=list(names)).to_csv(index=False, lineterminator="\n")
    return text.encode()
