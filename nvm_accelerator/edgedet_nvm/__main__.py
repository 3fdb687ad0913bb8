"""``edgedet-nvm`` and ``python -m edgedet_nvm``: the command, or what to install for it."""

import os
import signal
import sys


def main() -> None:
    """Entry point."""
    # Libraries take seconds to load; Ctrl-C ends the command then as well, without a traceback.
    on_interrupt = signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    try:
        from edgedet_nvm.cli import app  # noqa: PLC0415  (its libraries may be missing)
    except ModuleNotFoundError as missing:
        if str(missing.name).startswith("edgedet_"):
            raise
        sys.exit(f"edgedet-nvm needs {missing.name}: in a clone of EdgeDet, pip install '.[nvm]'")
    signal.signal(signal.SIGINT, on_interrupt)
    app()


if __name__ == "__main__":
    main()
