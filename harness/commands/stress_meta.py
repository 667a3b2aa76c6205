"""What the runs of a campaign have in common, for its report."""

from __future__ import annotations

import hashlib
from importlib.metadata import version
from pathlib import Path

from faults import catalogue_rows
from faults.profiles import Profile
from harness import builds, sometimes
from harness.commands.common import present
from harness.commands.folders import commit_of
from harness.oracles import ORACLES
from harness.pairing import Pair
from harness.runner import SHARED
from reports import Meta, NotTested, Sometimes
from scenarios import get

LIBRARIES = ("wasmtime", "simpy", "hypothesis", "msgspec", "pandas")


def meta_of(names: list[str], profile: Profile, wanted: tuple[str, ...], pairs: tuple[Pair, ...]) -> Meta:
    """`wanted` are the `sometimes` properties, and `pairs` the pairs of kinds, that these scenarios can reach."""
    build = builds.current()
    commit, dirty = commit_of(Path(build) if build else builds.ROOT)
    missing = [
        NotTested(what=f"{row.id} {row.title}", why=row.state)
        for row in catalogue_rows.ROWS
        if row.state != catalogue_rows.AVAILABLE
    ]
    missing += [NotTested(what=f"{o.id} {o.name}", why=o.state) for o in catalogue_rows.ORACLES if o.id not in ORACLES]
    return Meta(
        title="Stress report",
        profile=profile.name,
        random=not pairs,
        arguments=present().arguments,
        build=build or "the harness's own runtime",
        commit=commit,
        dirty=dirty,
        versions={name: version(name) for name in ("wasm-engine", *LIBRARIES)},
        hashes={
            "profile": hashlib.sha256(profile.model_dump_json().encode()).hexdigest(),
            "runtime": builds.identity(),
            **{name: _modules_hash(name) for name in names},
        },
        fault_kinds=tuple(kind.slug for kind, weight in profile.kinds() if weight),
        oracles=tuple(ORACLES),
        assumptions=_assumptions(profile),
        sometimes=tuple(Sometimes(name=n, sentence=sometimes.PROPERTIES[n].sentence) for n in wanted),
        pairs=pairs,
        meanings={oracle.id: f"{oracle.name}: {oracle.records}" for oracle in ORACLES.values()},
        not_tested=tuple(missing),
    )


def _assumptions(profile: Profile) -> tuple[str, ...]:
    found = [f"{SHARED} runs in a row share a workload, and differ in their faults: one trial."]
    found.append(f"Profile {profile.name}: {profile.title}.")
    if profile.rates:
        found.append(
            f"By its rates a fault stands for {profile.hours_per_fault()} hours of one machine; "
            "kinds without a known rate are not drawn."
        )
    return tuple(found)


def _modules_hash(name: str) -> str:
    return hashlib.sha256("".join(sorted(get(name).modules)).encode()).hexdigest()
