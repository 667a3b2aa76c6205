"""An agent's folder: manifest, source, bindings and a conversation, all of them the author's own from then on.

Guards against half a folder (it is made whole under another name, then renamed), against overwriting one that is
there, and against names that mean something else in a manifest, a shell or a path.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import NamedTuple

from runtime.errors import Refused
from runtime.manifest import Manifest, read_manifest
from runtime.versions import ABI, ABI_MINOR

FILES = Path(__file__).parent / "files"
MANIFEST, CONVERSATION, MODULE = "agent.toml", "conversation.toml", "agent.wasm"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

# What makes a folder one of this language, and under which name a file of ours goes into it.
SOURCES = {"wat": "agent.wat", "rust": "Cargo.toml", "c": "agent.c", "assemblyscript": "agent.ts"}
MAIN = {"wat": "agent.wat", "rust": "src/lib.rs", "c": "agent.c", "assemblyscript": "agent.ts"}  # what one writes
_PLACES: dict[str, dict[str, str]] = {
    "wat": {"agent.wat": "agent.wat"},
    "rust": {
        "Cargo.toml": "Cargo.toml",
        "cargo_config.toml": ".cargo/config.toml",
        "src/lib.rs": "src/lib.rs",
        "sdk/Cargo.toml": "sdk/Cargo.toml",
        "sdk/src/lib.rs": "sdk/src/lib.rs",
    },
    "c": {"agent.c": "agent.c", "wasm_engine.h": "sdk/wasm_engine.h"},
    "assemblyscript": {
        "agent.ts": "agent.ts",
        "sdk/exports.ts": "sdk/exports.ts",
        "sdk/migrating.ts": "sdk/migrating.ts",
        "sdk/seat.ts": "sdk/seat.ts",
        "sdk/wasm_engine.ts": "sdk/wasm_engine.ts",
    },
}
_COMMON = {"agent.toml": MANIFEST, "conversation.toml": CONVERSATION, "README.md": "README.md", "ignored": ".gitignore"}
LANGUAGES = tuple(SOURCES)


class Project(NamedTuple):
    """One agent's folder; `module` is what building it makes, the entry of its manifest."""

    folder: Path
    language: str
    manifest: Manifest
    module: Path

    @property
    def source(self) -> Path:
        return self.folder / SOURCES[self.language]

    @property
    def sources(self) -> list[Path]:
        """All that the compiler reads."""
        ends = (".wat", ".rs", ".c", ".h", ".ts")
        made = ("target", "node_modules")
        return sorted(
            path
            for path in self.folder.rglob("*")
            if path.suffix in ends and not any(part in made for part in path.relative_to(self.folder).parts)
        )


def create(name: str, language: str, beside: Path) -> list[str]:
    """Makes the folder `name` in `beside`; the names of its files. Raises Refused."""
    if not _NAME.fullmatch(name):
        todo = "use letters, digits, . _ and -, at most 64, the first one a letter or a digit"
        raise Refused(f"{name[:80]!a} is no name of an agent", "agent new", todo)
    folder = beside / name
    if folder.exists() or folder.is_symlink():
        raise Refused("is there already", str(folder), "give another name")
    places = {FILES / "common" / key: place for key, place in _COMMON.items()}
    places |= {FILES / language / key: place for key, place in _PLACES[language].items()}
    words = {"@NAME@": name, "@ABI@": f"{ABI}.{ABI_MINOR}", "@LANGUAGE@": language}
    making = beside / f".{name}.new"
    try:
        making.mkdir(parents=True)
        try:
            for source, place in places.items():
                (making / place).parent.mkdir(parents=True, exist_ok=True)
                (making / place).write_text(_filled(source.read_text("utf-8"), words), "utf-8")
            making.rename(folder)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    except OSError as error:
        raise Refused(f"cannot be made: {error.strerror}", str(folder), "give a place that can be written") from None
    return sorted(places.values())


def _filled(text: str, words: dict[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(word, value)
    return text


def find(folder: Path) -> Project:
    """The agent in a folder; raises Refused where there is none, or one of no language that is known."""
    if not (folder / MANIFEST).is_file():
        raise Refused(
            f"there is no {MANIFEST}", str(folder), "give the folder of an agent, or make one: agent new NAME"
        )
    manifest = read_manifest(folder / MANIFEST)
    languages = [language for language, source in SOURCES.items() if (folder / source).is_file()]
    if len(languages) != 1:
        what = "no source" if not languages else f"sources of {' and '.join(languages)}"
        todo = f"an agent has one of {', '.join(SOURCES.values())}"
        raise Refused(f"{what} beside {MANIFEST}", str(folder), todo)
    module = folder / manifest.module.entry
    if module.suffix != ".wasm":
        raise Refused(f"module.entry is {manifest.module.entry!r}", str(folder / MANIFEST), "name the .wasm to build")
    if not module.resolve().is_relative_to(folder.resolve()):
        raise Refused("module.entry: a link leads out of the folder", str(folder / MANIFEST), "put the file there")
    return Project(folder, languages[0], manifest, module)
