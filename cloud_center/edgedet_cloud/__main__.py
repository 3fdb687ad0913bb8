"""``edgedet-cloud`` and ``python -m edgedet_cloud``: the command, or what to install for it."""

from edgedet_runtime.command_start import load_command


def main() -> None:
    """Entry point; Ctrl-C ends it at once until the server takes over, as packages take seconds to load, too."""
    load_command("edgedet-cloud", "edgedet_cloud.cli", "cloud").app()


if __name__ == "__main__":
    main()
