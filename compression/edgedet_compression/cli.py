"""``edgedet-compress``: the entry point; it says which extra to install when one is missing."""

import os
import signal
import sys


def main() -> None:
    """Run the command."""
    # Imports take a second, and some native modules turn a KeyboardInterrupt into an ImportError. There is nothing to
    # clean up yet.
    on_interrupt = signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    try:
        from edgedet_runtime.malloc import keep_freed_memory  # noqa: PLC0415 - what it imports may be missing

        from edgedet_compression.run_commands import app  # noqa: PLC0415
    except ModuleNotFoundError as error:
        sys.exit(f"edgedet-compress needs {error.name}: pip install '.[compression]' in a clone of EdgeDet")
    signal.signal(signal.SIGINT, on_interrupt)
    keep_freed_memory()  # a step of training frees and asks again for all of its tensors: a quarter of its time
    app()
