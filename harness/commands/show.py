"""`wasm-engine scenarios`, `faults`, `oracles`, `doctor`: what there is, and what this machine offers."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click
import psutil
from rich.console import Console
from rich.table import Table

from faults.catalogue import usage
from faults.catalogue_rows import ORACLES as CATALOGUE_ORACLES
from faults.catalogue_rows import ROWS
from faults.kinds import KINDS
from faults.profiles import BUILT_IN, describe, find
from harness.adapters.accelerators import CPU, DEVICE_NAMES, SIM_ACCEL
from harness.commands.common import examples, json_option, print_json
from harness.oracles import ORACLES
from harness.sdk.compilers import HOW, compiler_of
from harness.sdk.projects import LANGUAGES
from scenarios import SCENARIOS, get
from scenarios.built_in import names


def table_of(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


@click.command(short_help="List the built-in scenarios.", epilog=examples("wasm-engine scenarios --json"))
@json_option
def scenarios(as_json: bool) -> int:
    """List the built-in scenarios; `stress` runs the first of them where none is named."""
    rows = []
    for name in names():
        scenario = get(name)
        rows.append(
            {
                "name": name,
                "title": scenario.title,
                "agents": len(scenario.agents),
                "ticks": scenario.config(1).last_tick + 1,
                "by_default": name in SCENARIOS,
            }
        )
    if as_json:
        print_json({"scenarios": rows})
        return 0
    table = table_of("scenario", "agents", "ticks", "in stress", "what happens")
    for row in rows:
        usual = "yes" if row["by_default"] else ""
        table.add_row(str(row["name"]), str(row["agents"]), str(row["ticks"]), usual, str(row["title"]))
    Console().print(table)
    return 0


@click.command(
    short_help="List the faults that can be typed.", epilog=examples("wasm-engine faults", "wasm-engine faults --json")
)
@json_option
def faults(as_json: bool) -> int:
    """List the faults that can be typed, and the rows of the catalogue that are not available yet."""
    kinds = [
        {"kind": k.slug, "class": k.class_, "rows": list(k.rows), "what": k.title, "usage": usage(k)} for k in KINDS
    ]
    missing = [
        {"row": r.id, "class": r.class_, "what": r.title, "state": r.state} for r in ROWS if r.state != "available"
    ]
    if as_json:
        print_json({"faults": kinds, "not_available": missing})
        return 0
    for kind in KINDS:
        print(f"{kind.slug}  [{kind.class_}; {' '.join(kind.rows)}]  {kind.title}")
        print(f"    {usage(kind)}")
    print(f"\n{len(missing)} of {len(ROWS)} rows of the catalogue are not available yet; --json names them")
    return 0


@click.command(
    short_help="List the profiles, or show one.",
    epilog=examples("wasm-engine profiles", "wasm-engine profiles field", "wasm-engine profiles my-rack.toml --json"),
)
@click.argument("name", required=False, default="", metavar="[NAME|FILE]")
@json_option
def profiles(name: str, as_json: bool) -> int:
    """List the profiles that faults are drawn from, or show what one decides, kind by kind."""
    if not name:
        told = [describe(find(one)) for one in BUILT_IN]
        if as_json:
            print_json({"profiles": told})
        else:
            _print_profiles(told)
        return 0
    one = describe(find(name))
    if as_json:
        print_json(one)
    else:
        _print_profile(one)
    return 0


def _print_profiles(told: list[dict[str, Any]]) -> None:
    table = table_of("profile", "faults in a plan", "what it is")
    for one in told:
        low, high = one["faults"]
        table.add_row(one["name"], f"{low} to {high}" if high else "none", one["title"])
    Console().print(table)
    print("\nwasm-engine profiles NAME shows one; write your own as a TOML file (docs/profiles.md)")


def _print_profile(one: dict[str, Any]) -> None:
    low, high = one["faults"]
    print(f"{one['name']}: {one['title']}")
    print(f"{low} to {high} faults in a plan{', a random subset of the kinds in each run' if one['swarm'] else ''}")
    for class_, runs in one["classes"].items():
        if runs:
            print(f"  {class_} kinds in {'every run' if runs == 1 else f'one run of {runs}'}")
    if one["hours_per_fault"]:
        print(f"a fault stands for {one['hours_per_fault']} hours of one machine")
    table = table_of("kind", "weight", "parameters", "source")
    for kind in one["kinds"]:
        narrowed = [f"{name}={'|'.join(values)}" if values else name for name, values in kind["ranges"].items()]
        table.add_row(kind["kind"], str(kind["weight"]), ", ".join(narrowed), kind.get("source", ""))
    Console().print(table)


@click.command(short_help="List the oracles and what each compares.", epilog=examples("wasm-engine oracles"))
@json_option
def oracles(as_json: bool) -> int:
    """List the oracles: what each compares, and those that are not built yet."""
    built = [{"id": o.id, "name": o.name, "compares": o.records} for o in ORACLES.values()]
    missing = [{"id": o.id, "name": o.name, "state": o.state} for o in CATALOGUE_ORACLES if o.id not in ORACLES]
    if as_json:
        print_json({"oracles": built, "not_available": missing})
        return 0
    table = table_of("oracle", "name", "compares")
    for oracle in ORACLES.values():
        table.add_row(oracle.id, oracle.name, oracle.records)
    Console().print(table)
    print(f"\nnot available yet: {', '.join(str(o['id']) for o in missing)}")
    return 0


@click.command(short_help="Say what this machine offers.", epilog=examples("wasm-engine doctor --json"))
@json_option
def doctor(as_json: bool) -> int:
    """Say what this machine offers, and for each missing thing why, and what it would be good for."""
    checks = [*_machine(), *_libraries(), *_devices(), *_optional()]
    if as_json:
        print_json({"checks": [{"what": w, "ok": ok, "found": found} for w, ok, found in checks]})
    else:
        for what, ok, found in checks:
            print(f"{'ok ' if ok else 'no '} {what:<14} {found}")
    return 0 if all(ok for what, ok, _ in checks if what in _REQUIRED) else 1


_REQUIRED = ("python", "wasmtime", "simpy", "hypothesis", "msgspec", "pandas")


def _machine() -> list[tuple[str, bool, str]]:
    memory = psutil.virtual_memory()
    shared = Path("/dev/shm")
    free = shutil.disk_usage(Path.cwd()).free
    return [
        ("python", sys.version_info >= (3, 11), f"{platform.python_version()} on {platform.system()}"),
        ("cores", True, f"{os.cpu_count()} (campaigns use them all; --jobs changes it)"),
        ("memory", memory.available > 1 << 30, f"{memory.available >> 20} MiB available; 1 GiB is needed"),
        ("disk", free > 1 << 30, f"{free >> 20} MiB free here; 1 GiB is enough for thousands of runs"),
        (
            "shared memory",
            shared.is_dir(),
            f"{shutil.disk_usage(shared).free >> 20} MiB in {shared}" if shared.is_dir() else "no /dev/shm",
        ),
    ]


def _libraries() -> list[tuple[str, bool, str]]:
    found = []
    for name in _REQUIRED[1:]:
        try:
            found.append((name, True, version(name)))
        except PackageNotFoundError:
            found.append((name, False, "not installed; run make setup"))
    return found


def _devices() -> list[tuple[str, bool, str]]:
    """The devices of a simulated run, and what is known of a real one without trying it."""
    try:
        cpu = (True, f"by ONNX Runtime {version('onnxruntime')}; every result can be computed here")
    except PackageNotFoundError:
        cpu = (False, "onnxruntime is not installed, so scenarios with models cannot run; run make setup")
    accelerator = DEVICE_NAMES[SIM_ACCEL]
    driver = Path("/proc/driver/nvidia/version").exists()
    return [
        ("device 0", cpu[0], f"{DEVICE_NAMES[CPU]}, {cpu[1]}"),
        ("device 1", cpu[0], f"{accelerator}, the same kernels on the CPU, with invented times, memory and deaths"),
        ("GPU", driver, _gpu(driver)),
    ]


def _gpu(driver: bool) -> str:
    """Whether there could be one, and what finds out whether it may serve."""
    here = "NVIDIA driver found" if driver else "no NVIDIA driver"
    return f"{here}; wasm-engine devices tries each device and says why it may serve or may not"


def _compiler(language: str) -> tuple[str, bool, str]:
    """What `wasm-engine agent build` would use for a language."""
    found = compiler_of(language, Path.cwd())
    if found is None:
        return language, False, f"no compiler; only agents written in it need one. {HOW[language]}"
    return language, True, f"{found.name}: {shlex.join(found.command)}"


def _optional() -> list[tuple[str, bool, str]]:
    return [
        *(_compiler(language) for language in LANGUAGES if language != "wat"),
        ("uv", shutil.which("uv") is not None, shutil.which("uv") or "not found; make setup uses pip instead"),
    ]
