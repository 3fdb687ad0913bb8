"""``edgedet-iot`` and ``python -m edgedet_iot``: the command, or what to install for it."""

import sys


def main() -> None:
    """Entry point."""
    try:
        from edgedet_iot.cli import main as run  # noqa: PLC0415  (its libraries may be missing)
    except ModuleNotFoundError as missing:
        if str(missing.name).startswith("edgedet_"):
            raise
        sys.exit(f"edgedet-iot needs {missing.name}: pip install 'edgedet[iot]'")
    run()


if __name__ == "__main__":
    main()
