"""The first module of a child interpreter: puts a build's `runtime` in place, then runs the module it was given.

`python -P -m harness.bootstrap BUILD MODULE [ARGUMENT…]`, where BUILD is a folder or "-" for our own runtime.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys

from harness.builds import DONE, ENVIRONMENT, BuildRefused, folder_of, install


def main() -> int:
    if len(sys.argv) < 3:
        print("usage: python -P -m harness.bootstrap BUILD MODULE [ARGUMENT…]", file=sys.stderr)
        return 4
    build, name, *arguments = sys.argv[1:]
    asked = os.environ.pop(DONE, "")  # not for our own children
    try:
        if build == "-":
            os.environ.pop(ENVIRONMENT, None)
        else:
            folder = folder_of(build)
            os.environ[ENVIRONMENT] = str(folder)
            install(folder)
        try:
            with contextlib.redirect_stdout(sys.stderr):
                module = importlib.import_module(name)
        except Exception as error:
            if build == "-":
                raise
            what = f"{type(error).__name__}: {error}"
            raise BuildRefused(f"{build}: its runtime cannot be imported ({what}); mend it first") from error
        code = int(module.main(arguments) or 0)
    except BuildRefused as refused:
        print("wasm-engine: " + " ".join(str(refused).split()), file=sys.stderr)
        code = 4
    if asked:
        os.write(int(asked), b".")
    return code


if __name__ == "__main__":
    sys.exit(main())
