"""``python -m pvehelm``."""

from __future__ import annotations

import gc
import os
import sys


def main() -> int:
    # What modules make stays; looking for garbage among it every 700 objects is a tenth of a short command's time.
    gc.set_threshold(100_000)
    _occupy()
    try:
        from pvehelm.faces.cli import early

        early.begin(sys.argv[1:])
        from pvehelm.faces.cli import rare

        with rare.later():
            from pvehelm.faces.cli.app import main as run
    except KeyboardInterrupt:
        # Ctrl-C while modules are read: nothing has begun.
        return 130
    try:
        return run()
    finally:
        # What is left goes with the process; nobody needs to find out which of it is garbage.
        gc.freeze()


def _occupy() -> None:
    """Nothing that is opened may get into the place of a standard stream that is closed."""
    for stream in range(3):
        try:
            os.fstat(stream)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


if __name__ == "__main__":
    raise SystemExit(main())
