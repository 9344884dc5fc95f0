"""The library: every function of Helm's templates that needs no engine, by name."""

from __future__ import annotations

from pvehelm.chart.gotpl import (
    builtins,
    crypto,
    dates,
    encoding,
    jsontext,
    lists,
    maps,
    numbers,
    regex,
    semvers,
    strings,
    toml,
    words,
    yamlin,
    yamlout,
)
from pvehelm.chart.gotpl.builtins import BUILTINS
from pvehelm.chart.gotpl.signatures import FUNCTIONS, SIGNATURES, ArgumentError, Signature

#: Those that register their functions when they are imported.
MODULES = (
    builtins,
    crypto,
    dates,
    encoding,
    jsontext,
    lists,
    maps,
    numbers,
    regex,
    semvers,
    strings,
    toml,
    words,
    yamlin,
    yamlout,
)

__all__ = ["BUILTINS", "FUNCTIONS", "MODULES", "SIGNATURES", "ArgumentError", "Signature"]
