"""``edgedet-compress``: the entry point; it says which extra to install when one is missing."""

import signal

from edgedet_runtime.command_start import load_command
from edgedet_runtime.malloc import keep_freed_memory


def main() -> None:
    """Run the command."""
    on_interrupt = signal.getsignal(signal.SIGINT)
    command = load_command("edgedet-compress", "edgedet_compression.run_commands", "compression")
    signal.signal(signal.SIGINT, on_interrupt)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: what is half written is taken away
    # A step of training frees all of its tensors and asks for them again.
    keep_freed_memory(largest_block=1 << 30)
    command.app()
