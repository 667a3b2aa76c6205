"""The folders that commands write their results into."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from runtime.errors import Refused


@contextmanager
def fresh(store: Path, kind: str) -> Iterator[Path]:
    """A new folder below `store`, made before the first run, so that a bad --store costs none; gone if unused.

    Its name orders by time and says what made it.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    folder = store / f"{stamp}-{kind}"
    for attempt in itertools.count(1):
        try:
            folder.mkdir(parents=True)
        except OSError as error:
            if isinstance(error, FileExistsError) and folder.exists():
                folder = store / f"{stamp}-{kind}-{attempt}"
                continue
            what = f"cannot make a folder there: {error.strerror}"
            raise Refused(what, str(store), "give another --store") from None
        break
    try:
        yield folder
    finally:
        with suppress(OSError):  # not empty: it holds what this command wrote
            folder.rmdir()


def commit_of(folder: Path) -> tuple[str, bool | None]:
    """The commit that a folder is at and whether its runtime differs from it; ("", None) where git does not know."""
    git = shutil.which("git")
    if git is None:
        return "", None
    head = subprocess.run([git, "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if head.returncode:
        return "", None
    status = subprocess.run(
        [git, "-C", str(folder), "status", "--porcelain", "--", "runtime"], capture_output=True, text=True, check=False
    )
    return head.stdout.strip(), bool(status.stdout.strip())
