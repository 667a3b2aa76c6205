"""Builds: the runtime comes from the build, everything else from here, and neither by accident."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cli_kit import build, child

from harness import builds
from harness.builds import ROOT, BuildRefused, command, folder_of, identity

WHERE = """
import sys
import faults, harness, reports, runtime, scenarios
from runtime import orchestrator
from runtime.wasm import guest

def main(arguments):
    for module in (faults, harness, reports, scenarios, runtime, orchestrator, guest):
        print(module.__name__, module.__file__)
    return 5
"""


def test_a_child_has_the_runtime_of_the_build_and_everything_else_of_ours(tmp_path: Path) -> None:
    folder = build(tmp_path / "build")
    (tmp_path / "where_it_is.py").write_text(WHERE, "utf-8")
    ended = subprocess.run(
        command("where_it_is", [], str(folder)),
        capture_output=True,
        text=True,
        env={"PYTHONPATH": f"{tmp_path}:{ROOT}", "PATH": ""},
        check=False,
    )
    assert ended.returncode == 5, ended.stderr
    places = dict(line.split(" ", 1) for line in ended.stdout.splitlines())
    for name, place in places.items():
        assert Path(place).is_relative_to(folder if name.split(".")[0] == "runtime" else ROOT), (name, place)
    assert len(places) == 7


@pytest.mark.parametrize("name", ["faults", "scenarios", "reports"])
def test_a_folder_on_the_path_that_hides_a_package_of_ours_is_refused(name: str, tmp_path: Path) -> None:
    folder, other = build(tmp_path / "build"), tmp_path / "other"
    (other / name).mkdir(parents=True)
    (other / name / "__init__.py").write_text("", "utf-8")
    script = (
        "import sys\nfrom pathlib import Path\nfrom harness import builds\n"
        f"sys.path.insert(0, {str(other)!r})\nbuilds.install(Path({str(folder)!r}))\n"
    )
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ended.returncode == 1 and "BuildRefused" in ended.stderr and f"{name} came from" in ended.stderr


def test_a_build_cannot_be_put_in_the_place_of_a_runtime_that_is_there(tmp_path: Path) -> None:
    import runtime

    assert runtime.__file__
    with pytest.raises(BuildRefused, match="imported already"):
        builds.install(build(tmp_path))


def test_a_folder_needs_a_runtime_with_our_ports_version(tmp_path: Path) -> None:
    with pytest.raises(BuildRefused, match="no package 'runtime'"):
        folder_of(str(tmp_path))
    folder = build(tmp_path / "build")
    assert folder_of(str(folder)) == folder.resolve()
    versions = folder / "runtime" / "versions.py"
    versions.write_text(versions.read_text("utf-8").replace(f"PORTS = {builds.PORTS}", "PORTS = 99"), "utf-8")
    with pytest.raises(BuildRefused, match=f"version is 99, this harness drives version {builds.PORTS}"):
        folder_of(str(folder))
    versions.unlink()
    with pytest.raises(BuildRefused, match="version is none"):
        folder_of(str(folder))


def test_the_version_that_builds_are_held_to_is_that_of_our_own_ports() -> None:
    from runtime.versions import PORTS

    assert builds.PORTS == PORTS


def test_a_build_is_known_by_its_sources_alone(tmp_path: Path) -> None:
    copy = build(tmp_path / "a")
    assert identity(copy) == identity()
    (copy / "runtime" / "__pycache__").mkdir()
    (copy / "runtime" / "__pycache__" / "x.py").write_text("", "utf-8")
    (copy / "notes.txt").write_text("", "utf-8")
    assert identity(copy) == identity()
    (copy / "runtime" / "errors.py").open("a", encoding="utf-8").write("# another\n")
    assert identity(copy) != identity()


def test_a_copy_of_our_runtime_as_a_build_gives_our_digests(tmp_path: Path) -> None:
    folder = build(tmp_path)
    ended = child("run", "hello", "--build", str(folder), "--json")
    assert ended.code == 0
    assert ended.json == child("run", "hello", "--json").json


def test_the_bootstrap_without_arguments_says_how_it_is_used() -> None:
    ended = subprocess.run(
        [sys.executable, "-P", "-m", "harness.bootstrap"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 4 and ended.stderr.startswith("usage: ") and "Traceback" not in ended.stderr
