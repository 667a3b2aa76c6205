"""The house's rules, as tests: each is a function from source to findings, shown first to fail on a planted breach."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("runtime", "faults", "scenarios", "harness", "reports")
CLOSED = ("runtime", "faults", "scenarios")  # where nothing may depend on this process, this machine, this moment
FUNCTION_LINES, FILE_LINES = 60, 500

# Code that turns bytes into behaviour: a case or a journal from elsewhere must never reach it.
FORBIDDEN_MODULES = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle", "yaml", "ruamel"}
FORBIDDEN_CALLS = {"eval", "exec"}
UNREPEATABLE_MODULES = {"random", "secrets", "uuid"}
UNREPEATABLE_ATTRIBUTES = {
    ("time", "time"),
    ("time", "time_ns"),
    ("time", "sleep"),
    ("datetime", "now"),
    ("datetime", "utcnow"),
    ("os", "urandom"),
    ("np", "random"),
    ("numpy", "random"),
}
UNREPEATABLE_CALLS = {"id", "hash"}

Rule = Callable[[Path, ast.Module], Iterator[str]]


def sources(root: Path, packages: tuple[str, ...]) -> list[Path]:
    return sorted(path for package in packages for path in (root / package).rglob("*.py"))


def findings(rule: Rule, root: Path, packages: tuple[str, ...] = PACKAGES) -> list[str]:
    return [
        f"{path.relative_to(root)}: {finding}"
        for path in sources(root, packages)
        for finding in rule(path, ast.parse(path.read_text(encoding="utf-8")))
    ]


def imports(tree: ast.AST) -> Iterator[str]:
    """The absolute names of what is imported, `from a import b` as both `a` and `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def long_functions(path: Path, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES:
                yield f"{node.name} has {lines} lines, more than {FUNCTION_LINES}"


def long_files(path: Path, tree: ast.Module) -> Iterator[str]:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    if lines > FILE_LINES:
        yield f"{lines} lines, more than {FILE_LINES}"


def undocumented(path: Path, tree: ast.Module) -> Iterator[str]:
    if tree.body and not ast.get_docstring(tree):
        yield "no docstring that says what the module guarantees"


def relative_imports(path: Path, tree: ast.Module) -> Iterator[str]:
    """`imports` reads absolute names only, so the rules below rest on this one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield f"line {node.lineno}: a relative import"


def bytes_into_behaviour(path: Path, tree: ast.Module) -> Iterator[str]:
    yield from sorted({f"imports {name}" for name in imports(tree) if name.split(".")[0] in FORBIDDEN_MODULES})
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FORBIDDEN_CALLS:
            yield f"line {node.lineno}: calls {node.func.id}"


def unrepeatable(path: Path, tree: ast.Module) -> Iterator[str]:
    names = set(imports(tree))
    yield from sorted(f"imports {name}" for name in names if name.split(".")[0] in UNREPEATABLE_MODULES)
    yield from sorted(
        f"imports {module}.{name}" for module, name in UNREPEATABLE_ATTRIBUTES if f"{module}.{name}" in names
    )
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if (node.value.id, node.attr) in UNREPEATABLE_ATTRIBUTES:
                yield f"line {node.lineno}: uses {node.value.id}.{node.attr}"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in UNREPEATABLE_CALLS:
            yield f"line {node.lineno}: calls {node.func.id}()"


def module_name(root: Path, path: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def dead_modules(root: Path, entries: set[str]) -> list[str]:
    """Modules that nothing leads to from `entries`, by import or by a whole string that names the module.

    The string covers `python -m` and lazy loading. An import of a.b reaches a too; packages are entries only if said.
    """
    modules = {module_name(root, path): path for path in sources(root, PACKAGES)}
    reached: set[str] = set()
    waiting = sorted(entries & modules.keys())
    while waiting:
        name = waiting.pop()
        if name in reached:
            continue
        reached.add(name)
        tree = ast.parse(modules[name].read_text(encoding="utf-8"))
        strings = {
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        for target in {*imports(tree), *strings}:
            parts = target.split(".")
            waiting += [found for n in range(len(parts)) if (found := ".".join(parts[: n + 1])) in modules]
    return sorted(modules.keys() - reached)


def index_addresses(lock: str) -> list[str]:
    """Lines of a requirements file that say where packages come from; the file says only which, and their hashes."""
    pattern = re.compile(
        r"://|--(?:extra-)?index-url|--find-links|--trusted-host|(?:^|\s)-[if]\s| @ |file:|\.(?:org|com|net|io)\b"
    )
    return [line for line in lock.splitlines() if pattern.search(line)]


def unpinned(lock: str) -> list[str]:
    """Requirements without an exact version or without a hash."""
    entries = re.sub(r"\\\n\s*", " ", re.sub(r"(?m)^\s*#.*\n?", "", lock)).splitlines()
    return [
        entry.split()[0]
        for entry in entries
        if entry.strip() and not re.match(r"[a-z0-9._-]+==\S+ .*--hash=sha256:[0-9a-f]{64}", entry)
    ]


def plant(root: Path, path: str, source: str) -> None:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(source, encoding="utf-8")


PLANTED: dict[str, tuple[Rule, tuple[str, ...]]] = {
    "long function": (long_functions, ("def f():\n" + "    x = 1\n" * 60,)),
    "long file": (long_files, ("x = 1\n" * 501,)),
    "undocumented": (undocumented, ("x = 1\n",)),
    "relative import": (relative_imports, ("from . import other\n", "from ..other import thing\n")),
    "bytes into behaviour": (
        bytes_into_behaviour,
        ("import pickle\n", "from marshal import loads\n", "import yaml\n", "eval('1')\n", "def f():\n    exec('x')\n"),
    ),
    "unrepeatable": (
        unrepeatable,
        (
            "import random\n",
            "from random import Random\n",
            "import time\nstart = time.time()\n",
            "from time import time_ns\n",
            "x = id(3)\n",
            "x = hash('a')\n",
            "import os\nkey = os.urandom(8)\n",
            "from datetime import datetime\nnow = datetime.now()\n",
            "import numpy as np\nx = np.random.rand()\n",
        ),
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_each_rule_finds_what_is_planted_against_it(name: str, tmp_path: Path) -> None:
    rule, breaches = PLANTED[name]
    for n, source in enumerate(breaches):
        root = tmp_path / str(n)
        plant(root, "runtime/planted.py", source)
        assert findings(rule, root), source


def test_no_rule_objects_to_an_ordinary_module(tmp_path: Path) -> None:
    source = '"""Keeps things."""\n\nimport time\n\n\ndef random(n: int) -> int:\n    return time.monotonic_ns() + n\n'
    plant(tmp_path, "runtime/ordinary.py", source)
    assert [finding for rule, _ in PLANTED.values() for finding in findings(rule, tmp_path)] == []


@pytest.mark.parametrize("rule", [long_functions, long_files, undocumented, relative_imports, bytes_into_behaviour])
def test_every_package_keeps_the_rule(rule: Rule) -> None:
    assert len(sources(ROOT, PACKAGES)) > 20, "the packages were not found"
    assert findings(rule, ROOT) == []


def test_what_reaches_journal_or_trace_depends_on_nothing_unrepeatable() -> None:
    assert findings(unrepeatable, ROOT, CLOSED) == []


def test_a_module_that_nothing_leads_to_is_found_even_when_dead_ones_import_each_other(tmp_path: Path) -> None:
    plant(tmp_path, "harness/__init__.py", "")
    plant(tmp_path, "harness/cli.py", "import harness.used\nCHILD = 'harness.child'\n")
    plant(tmp_path, "harness/used.py", "")
    plant(tmp_path, "harness/child.py", "")
    plant(tmp_path, "harness/one.py", "from harness import two\n")
    plant(tmp_path, "harness/two.py", "from harness import one\n")
    plant(tmp_path, "harness/build.py", 'import sys\n\nif __name__ == "__main__":\n    sys.exit(0)\n')
    assert commands(tmp_path) == {"harness.build"}
    assert dead_modules(tmp_path, {"harness", "harness.cli"} | commands(tmp_path)) == ["harness.one", "harness.two"]


def commands(root: Path) -> set[str]:
    """Modules that are commands themselves (`python -m`): those that end in the guard for it."""
    guarded = [path for path in sources(root, PACKAGES) if '\nif __name__ == "__main__":\n' in path.read_text("utf-8")]
    return {module_name(root, path) for path in guarded}


def entry_points() -> set[str]:
    """The console scripts, the commands, and each package, whose exports are the public interface."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {target.partition(":")[0] for target in project["scripts"].values()} | commands(ROOT) | set(PACKAGES)


def test_no_module_is_dead() -> None:
    assert dead_modules(ROOT, entry_points()) == []


def test_an_index_address_or_a_missing_hash_in_a_lock_is_found() -> None:
    pinned = f"click==8.5.1 \\\n    --hash=sha256:{'0' * 64}\n"
    assert index_addresses(pinned) == [] and unpinned(pinned) == []
    for line in (
        "--index-url https://pypi.example/simple",
        "--extra-index-url somewhere",
        "-i mirror",
        "--find-links /wheels",
        "-f wheels",
        "--trusted-host mirror",
        "click @ file:///wheels/click.whl",
        "# from pypi.org",
    ):
        assert index_addresses(pinned + line) == [line]
    assert unpinned("click==8.5.1\n" + pinned) == ["click==8.5.1"]
    assert unpinned(pinned + "rich>=15 \\\n    --hash=sha256:" + "0" * 64) == ["rich>=15"]


def test_the_lock_has_exact_versions_and_hashes_and_no_address() -> None:
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert lock.count("--hash=sha256:") > 500
    assert index_addresses(lock) == []
    assert unpinned(lock) == []


def test_the_lock_and_the_project_name_the_same_versions() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = {*project["dependencies"], *project["optional-dependencies"]["dev"]}
    locked = set(re.findall(r"(?m)^([a-z0-9._-]+==[^\s;]+)", (ROOT / "requirements.lock").read_text(encoding="utf-8")))
    assert all(re.fullmatch(r"[a-z0-9._-]+==[0-9][^,\s]*", requirement) for requirement in wanted)
    assert wanted - locked == set()
    assert {name.partition("==")[0] for name in locked} >= {"setuptools", "wheel"}, "the editable install needs them"


def test_every_package_is_typed_and_packaged() -> None:
    tool = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    assert set(tool["setuptools"]["packages"]["find"]["include"]) == {f"{name}*" for name in PACKAGES}
    assert set(tool["mypy"]["files"]) == set(PACKAGES)
    for package in PACKAGES:
        assert (ROOT / package / "py.typed").is_file()
