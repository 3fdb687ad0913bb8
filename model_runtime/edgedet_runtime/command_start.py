"""How a command starts: its libraries may be missing, and loading them takes long enough to be interrupted.

Imports nothing but the standard library: it must work where everything else is missing.
"""

import os
import signal
import sys
from importlib import import_module
from types import ModuleType


def load_command(command: str, module: str, extra: str) -> ModuleType:
    """Import the module of a command, or end with what to install for it.

    From here on Ctrl-C ends the process at once, without a traceback: some native modules turn a KeyboardInterrupt into
    an ImportError. The caller sets a handler of its own when there is something to clean up.

    Args:
        command: as the user called it.
        module: where it is.
        extra: of EdgeDet, that has all it needs.
    """
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    try:
        return import_module(module)
    except ModuleNotFoundError as missing:
        if str(missing.name).startswith("edgedet_"):
            raise
        sys.exit(f"{command} needs {missing.name}: in a clone of EdgeDet, pip install '.[{extra}]'")
