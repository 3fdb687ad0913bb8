"""``edgedet-cloud`` and ``python -m edgedet_cloud``: the command, or what to install for it."""

import os
import signal
import sys


def main() -> None:
    """Entry point."""
    # Libraries and packages take seconds to load; Ctrl-C ends the command then as well, without a traceback.
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    try:
        from edgedet_cloud.cli import main as run  # noqa: PLC0415  (its libraries may be missing)
    except ModuleNotFoundError as missing:
        if str(missing.name).startswith("edgedet_"):
            raise
        sys.exit(f"edgedet-cloud needs {missing.name}: in a clone of EdgeDet, pip install '.[cloud]'")
    run()


if __name__ == "__main__":
    main()
