"""Scenarios of files by name: `name@digest` names one wherever its files can be read, in child interpreters too.

Guards against a run of other files under the same name: what a path holds is read anew by each interpreter, and counts
under the digest of what it means. Children find the paths in an environment variable; a case brings its own copy.
"""

from __future__ import annotations

import atexit
import os
import re
import shlex
import shutil
import tempfile
from pathlib import Path

from runtime.configuration import read_configuration
from runtime.errors import EngineError, Refused
from runtime.validated import BYTES_MAX, read_bytes
from scenarios.base import Scenario
from scenarios.built_in import built_in
from scenarios.files.reading import MAIN, read_scenario, unknown
from scenarios.files.variations import DIGITS, configured

CONFIGURATION = "configuration.toml"
ENVIRONMENT = "WASM_ENGINE_SCENARIOS"
FOLDER = "scenario"  # in a case
PATHS_MAX = 32
_REFERENCE = re.compile(rf".{{1,40}}@[0-9a-f]{{{DIGITS}}}")

_known: dict[str, Scenario] = {}
_typed: dict[str, tuple[str, ...]] = {}


def is_path(name: str) -> bool:
    """Whether a user means a file: a built-in scenario's name has neither a separator nor an ending."""
    return name.endswith(".toml") or "/" in name or os.sep in name


def is_reference(name: str) -> bool:
    return _REFERENCE.fullmatch(name) is not None


def load(path: str) -> Scenario:
    """The scenario in a file or folder, known by its name from now on, to later children as well; raises Refused."""
    scenario = _keep(read_scenario(Path(path), _base))
    _typed[scenario.name] = (path,)
    place = str(Path(path).resolve())
    others = [one for one in _paths() if one != place]
    os.environ[ENVIRONMENT] = os.pathsep.join([place, *others][:PATHS_MAX])
    return scenario


def find(name: str) -> Scenario:
    """The scenario of this `name@digest`; raises Refused where no path that we know of holds it."""
    if name in _known:
        return _known[name]
    for place in _paths():
        try:
            _keep(read_scenario(Path(place), _base))
        except EngineError:  # it may be another one's; whoever asks for that is told
            continue
        if name in _known:
            _typed[name] = (place,)
            return _known[name]
    raise Refused(
        f"the files of scenario {name!a} are not known, or mean something else now",
        "scenarios",
        "give the path of its .toml file",
    )


def adopt(folder: Path, name: str) -> None:
    """Make a case's own scenario known, where it brings one; raises Refused where that is not the one it names."""
    if not is_reference(name) or name in _known or not (folder / FOLDER / MAIN).is_file():
        return
    found = load(str(folder / FOLDER / MAIN))
    if found.name != name:
        what = f"the scenario there is {found.name}, and the case was recorded with {name}"
        raise Refused(what, str(folder / FOLDER), "get the case anew")


def put(scenario: Scenario, folder: Path) -> None:
    """Write the files of a scenario below `folder`, for `adopt`; nothing for a built-in one."""
    for name, data in scenario.files.items():
        path = folder / FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def under(scenario: Scenario, configuration: Path) -> Scenario:
    """The scenario under the configuration of a file, as files of its own, so that children and cases have it too.

    The files lie in a folder that lasts as long as this process. Raises Refused.
    """
    configured(scenario, read_configuration(configuration), str(configuration))
    folder = Path(tempfile.mkdtemp(prefix="wasm-engine-scenario-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    name = scenario.name
    if scenario.files:
        name = f"base/{MAIN}"
        for file, data in scenario.files.items():
            (folder / "base" / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / "base" / file).write_bytes(data)
    (folder / CONFIGURATION).write_bytes(read_bytes(configuration, BYTES_MAX))
    (folder / MAIN).write_text(f'base = "{name}"\nconfig = "{CONFIGURATION}"\n', "utf-8")
    made = load(str(folder))
    _typed[made.name] = (*_typed.get(scenario.name, (scenario.name,)), "--config", str(configuration))
    return made


def typed(name: str) -> str:
    """What a user types for the scenario of this name: a built-in one's name, or a path, with options where needed."""
    return shlex.join(_typed.get(name, (name,)))


def _base(name: str) -> Scenario:
    scenario = built_in(name)
    return unknown(name) if scenario is None else scenario


def _keep(scenario: Scenario) -> Scenario:
    known = _known.get(scenario.name)
    if known is None or known.files != scenario.files:
        _known[scenario.name] = scenario
    return _known[scenario.name]


def _paths() -> list[str]:
    return [one for one in os.environ.get(ENVIRONMENT, "").split(os.pathsep) if one]
