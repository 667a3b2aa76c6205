"""Planted bugs for docs/spec.md, where the row's own test is what must find them (and not an oracle, as for mutants).

`python tests/spec_bugs.py [NAME…]` plants each in a copy of the sources and runs its row's test there: it must fail.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("runtime", "faults", "scenarios", "harness", "reports", "tests", "docs")
FILES = ("pyproject.toml", "README.md")
SECONDS = 300


class Bug(NamedTuple):
    """Replace `before`, which stands exactly once in `file`, by `after`."""

    file: str
    before: str
    after: str


BUGS = {
    "submitted_before_the_start": Bug("runtime/calls.py", 'if self.phase == "boot" or ', "if "),
    "paused_agent_pauses_again": Bug(
        "runtime/lifecycle.py", '_FROM = {"pause": (ACTIVE,)', '_FROM = {"pause": (PAUSED,)'
    ),
    "operated_after_the_steps": Bug("runtime/lifecycle.py", "move(index, agent, ACTIONS[action], events)", "pass"),
    "threads_allowed": Bug("runtime/configuration.py", "_only(False, ", "_only(True, "),
    "time_without_epoch": Bug("runtime/fold.py", "now_ms = config.epoch_ms + tick", "now_ms = tick"),
    "one_task_more_per_tick": Bug(
        "runtime/scheduler.py",
        "chosen = ordered[: config.max_tasks_per_tick]",
        "chosen = ordered[: 1 + config.max_tasks_per_tick]",
    ),
    "sender_of_a_message_forgotten": Bug("runtime/state.py", "(sender + 1) << 32 | number", "number"),
    "journal_version_unread": Bug("runtime/journal.py", 'if versions.get("journal") != JOURNAL:', "if not versions:"),
    "slots_overlap": Bug(
        "runtime/buffers.py", "return HEAD + (capacity + 63) // 64 * 64", "return capacity // 64 * 64"
    ),
    "true_is_a_number": Bug(
        "runtime/wasm/values.py",
        "if not isinstance(value, int) or isinstance(value, bool):",
        "if not isinstance(value, int):",
    ),
    "code_1_is_valid": Bug(
        "runtime/validators.py", 'f"code:{code}") if code else ""', 'f"code:{code}") if code > 1 else ""'
    ),
    "linked_with_another_type": Bug(
        "runtime/wasm/linking.py", "            if found != entry.signature:\n", "            if found is None:\n"
    ),
    "unknown_keys_of_a_manifest_ignored": Bug(
        "runtime/manifest.py",
        'ConfigDict(extra="forbid", frozen=True, strict=True)',
        "ConfigDict(frozen=True, strict=True)",
    ),
    "slower_device_admitted": Bug(
        "runtime/inference/admission.py",
        "if 0 <= limits.slower_percent < slower:",
        "if 100 <= limits.slower_percent < slower:",
    ),
    "failing_hook_kept": Bug("runtime/telemetry.py", "self._hooks.remove(hook)", "pass"),
    "export_digest_unread": Bug(
        "runtime/exports.py",
        "if len(body) != length or hashlib.sha256(body).digest() != digest:",
        "if len(body) != length:",
    ),
    "state_one_block_early": Bug("harness/refold.py", "if line.block.tick > tick:", "if line.block.tick >= tick:"),
    "binding_of_another_type": Bug(
        "harness/sdk/files/rust/sdk/src/lib.rs",
        "pub fn send(agent: u32, data: *const u8, length: u32) -> u32;",
        "pub fn send(agent: u32, data: *const u8, length: u64) -> u32;",
    ),
}


def test_of(name: str) -> str:
    """The test of the row of docs/spec.md that names this bug."""
    for line in (ROOT / "docs" / "spec.md").read_text("utf-8").splitlines():
        if f"`{name}`" in line:
            match = re.search(r"\[`(test_\w+)`\]\(\.\./tests/(test_\w+\.py)\)", line)
            if match:
                return f"tests/{match[2]}::{match[1]}"
    raise SystemExit(f"docs/spec.md has no row with the bug {name}")


def found(name: str, folder: Path) -> bool:
    """Whether the row's test fails where this bug is planted below `folder`."""
    for part in PARTS:
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for file in FILES:
        shutil.copy(ROOT / file, folder / file)
    bug = BUGS[name]
    path = folder / bug.file
    text = path.read_text("utf-8")
    assert text.count(bug.before) == 1, (
        f"{name}: the text to change stands {text.count(bug.before)} times in {bug.file}"
    )
    path.write_text(text.replace(bug.before, bug.after), "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n", "0", "-p", "no:cacheprovider", test_of(name)]
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert ended.returncode in (0, 1), ended.stdout + ended.stderr  # anything else is no verdict of the test
    return ended.returncode == 1


def main(names: list[str]) -> int:
    missed = 0
    for name in names or list(BUGS):
        with tempfile.TemporaryDirectory() as folder:
            hit = found(name, Path(folder))
        missed += not hit
        print(f"{'found ' if hit else 'MISSED'}  {name}  by {test_of(name)}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
