"""``edgedet-iot``: the entry point; Ctrl-C ends it without a traceback, also while libraries are loaded."""

import sys


def main() -> None:
    """Run the command."""
    try:
        from edgedet_iot.commands import app  # noqa: PLC0415 - loading takes long enough to be interrupted
    except KeyboardInterrupt:
        sys.exit(130)
    app()
