"""``python -m pvehelm``."""

from __future__ import annotations


def main() -> int:
    from pvehelm.faces.cli.app import main as run

    return run()


if __name__ == "__main__":
    raise SystemExit(main())
