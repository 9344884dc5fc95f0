"""``python -m pvehelm``."""

from __future__ import annotations

import gc
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pvehelm.bundle import Bundle

_INTERRUPTED = 130


def main() -> int:
    # What modules make stays; looking for garbage among it every 700 objects is a tenth of a short command's time.
    gc.set_threshold(100_000)
    _occupy()
    try:
        from pvehelm.faces.cli import early

        early.begin(sys.argv[1:])
        from pvehelm import bundle

        modules = bundle.use("command")
        from pvehelm.faces.cli import rare

        with rare.later():
            from pvehelm.faces.cli.app import main as run
    except KeyboardInterrupt:
        # Ctrl-C while modules are read: nothing has begun.
        return _INTERRUPTED
    try:
        code = run()
        if modules is not None and code != _INTERRUPTED:
            _renew(modules)
        return code
    finally:
        # What is left goes with the process; nobody needs to find out which of it is garbage.
        gc.freeze()


def _renew(modules: Bundle) -> None:
    try:
        modules.renew()
    except KeyboardInterrupt:
        # The command is done; the next one can do this as well.
        return


def _occupy() -> None:
    """Nothing that is opened may get into the place of a standard stream that is closed."""
    for stream in range(3):
        try:
            os.fstat(stream)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)


if __name__ == "__main__":
    raise SystemExit(main())
