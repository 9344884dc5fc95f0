"""The library: every function of Helm's templates that needs no engine, by name."""

from __future__ import annotations

from pvehelm.chart.gotpl import builtins
from pvehelm.chart.gotpl.signatures import FUNCTIONS, SIGNATURES, ArgumentError, Signature

__all__ = ["FUNCTIONS", "SIGNATURES", "ArgumentError", "Signature", "builtins"]
