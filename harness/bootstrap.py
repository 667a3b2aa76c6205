"""The first module of a child interpreter: puts a build's `runtime` in place, then runs the module it was given.

`python -P -m harness.bootstrap BUILD MODULE [ARGUMENT…]`, where BUILD is a folder or "-" for our own runtime.
"""

from __future__ import annotations

import importlib
import os
import sys

from harness.builds import ENVIRONMENT, BuildRefused, folder_of, install


def main() -> int:
    build, module, *arguments = sys.argv[1:]
    try:
        if build == "-":
            os.environ.pop(ENVIRONMENT, None)
        else:
            folder = folder_of(build)
            os.environ[ENVIRONMENT] = str(folder)
            install(folder)
    except BuildRefused as refused:
        print(f"wasm-engine: {refused}", file=sys.stderr)
        return 4
    return int(importlib.import_module(module).main(arguments) or 0)


if __name__ == "__main__":
    sys.exit(main())
