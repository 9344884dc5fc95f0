"""Helm's own template syntax (``engine: gotpl``): Go templates with Sprig's and Helm's functions, in Python."""
