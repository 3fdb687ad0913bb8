"""``edgedet-edge`` and ``python -m edgedet_edge``: the command, or what to install for it."""

import sys


def main() -> None:
    """Entry point."""
    try:
        from edgedet_edge.cli import main as run  # noqa: PLC0415  (its libraries may be missing)
    except ModuleNotFoundError as missing:
        if str(missing.name).startswith("edgedet_"):
            raise
        sys.exit(f"edgedet-edge needs {missing.name}: pip install 'edgedet[edge]'")
    run()


if __name__ == "__main__":
    main()
