"""``python -m pvehelm``."""

from __future__ import annotations


def main() -> int:
    try:
        from pvehelm.faces.cli.app import main as run
    except KeyboardInterrupt:
        # Ctrl-C while modules are read: nothing has begun.
        return 130
    return run()


if __name__ == "__main__":
    raise SystemExit(main())
