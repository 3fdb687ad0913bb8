"""``edgedet-nvm`` and ``python -m edgedet_nvm``: the command, or what to install for it."""

import signal

from edgedet_runtime.command_start import load_command


def main() -> None:
    """Entry point."""
    on_interrupt = signal.getsignal(signal.SIGINT)
    command = load_command("edgedet-nvm", "edgedet_nvm.cli", "nvm")
    signal.signal(signal.SIGINT, on_interrupt)
    command.app()


if __name__ == "__main__":
    main()
