"""What the libraries of the command line import for what commands hardly ever do: imported when one does it.

Typer takes a third of its time for modules that find shells, open browsers, draw tracebacks or read dates; httpx has a
command line of its own, with Rich, Pygments and Click. ``chart.deferred`` says how they are stood in for, and why only
in processes that are ours alone.
"""

from __future__ import annotations

from contextlib import AbstractContextManager

from pvehelm.chart.deferred import Table, deferred, stand_in

_TYPER: Table = {
    "datetime": ("datetime",),
    "difflib": ("get_close_matches",),
    "gettext": ("gettext",),
    "linecache": (),
    "pathlib": ("Path",),
    "platform": (),
    "shellingham": (),
    "shutil": ("get_terminal_size",),
    "subprocess": (),
    "textwrap": (),
    "tokenize": (),
    "traceback": ("FrameSummary", "StackSummary"),
    "uuid": ("UUID",),
}


def later() -> AbstractContextManager[None]:
    """While it lasts, Typer is imported without them; httpx is from now on."""
    stand_in("httpx._main", "main")
    return deferred(_TYPER)
