"""Where a build comes from: a folder, a wheel, an interpreter, or this harness's own runtime; as a folder in the end.

Guards against what such a file may hold: a wheel's names cannot leave the folder it is unpacked into, its size is
bounded before a byte is written, and an interpreter is asked where `runtime` lies, without importing it.
"""

from __future__ import annotations

import os
import subprocess
import zipfile
from pathlib import Path, PurePosixPath

from harness.builds import OWN, ROOT, BuildRefused, folder_of

WHEEL_BYTES_MAX = 1 << 26  # of `runtime` alone; ours has 400 KB
FILES_MAX = 5000
PATIENCE_S = 20
_ASK = (
    "import importlib.util as u; s = u.find_spec('runtime'); "
    "print(s.submodule_search_locations[0] if s and s.submodule_search_locations else '')"
)


def build_of(text: str, scratch: Path) -> Path:
    """The folder that holds the build's `runtime`; wheels are unpacked below `scratch`. Raises BuildRefused.

    `-` is this harness's own runtime, as is `.` where the present folder has none.
    """
    path = Path(text)
    if text == OWN or (text == "." and not (path / "runtime").is_dir()):
        return folder_of(str(ROOT))
    if path.is_dir():
        return folder_of(text)
    if not path.is_file():
        raise BuildRefused(f"{text}: no such build; give a folder with runtime/, a wheel, or an interpreter")
    if path.suffix == ".whl":
        return folder_of(str(_unpacked(path, scratch)))
    if os.access(path, os.X_OK):
        return folder_of(str(_asked(path)))
    raise BuildRefused(f"{text}: neither a wheel nor an interpreter; give a folder with runtime/, or one of them")


def _unpacked(wheel: Path, scratch: Path) -> Path:
    """The wheel's `runtime` below `scratch`, nothing else of it."""
    target = scratch / wheel.stem
    try:
        with zipfile.ZipFile(wheel) as archive:
            infos = [info for info in archive.infolist() if info.filename.startswith("runtime/")]
            if len(infos) > FILES_MAX or sum(info.file_size for info in infos) > WHEEL_BYTES_MAX:
                raise BuildRefused(f"{wheel}: its runtime is larger than {WHEEL_BYTES_MAX} bytes; give another wheel")
            for info in infos:
                name = PurePosixPath(info.filename)
                if ".." in name.parts or "\\" in info.filename or "\0" in info.filename:
                    raise BuildRefused(f"{wheel}: {info.filename!a} leads out of the wheel; give another one")
                if not info.is_dir():
                    place = target.joinpath(*name.parts)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    with archive.open(info) as file:
                        place.write_bytes(file.read(info.file_size))
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError, EOFError) as error:
        raise BuildRefused(f"{wheel}: cannot be unpacked ({error}); give another wheel") from None
    if not target.is_dir():
        raise BuildRefused(f"{wheel}: there is no package 'runtime' in it; build the wheel anew")
    return target


def _asked(interpreter: Path) -> Path:
    """The folder whose `runtime` that interpreter would import; its other packages are not used."""
    try:
        ended = subprocess.run(
            [str(interpreter), "-I", "-c", _ASK],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BuildRefused(f"{interpreter}: is no Python interpreter ({type(error).__name__}); give one") from None
    place = ended.stdout.strip()
    if ended.returncode or not place or not Path(place).is_dir():
        raise BuildRefused(f"{interpreter}: has no package 'runtime' installed; install the build there first")
    return Path(place).parent
