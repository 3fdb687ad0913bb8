"""``edgedet-compress``: the entry point; it says which extra to install when one is missing."""

import sys


def main() -> None:
    """Run the command."""
    try:
        from edgedet_compression.commands import app  # noqa: PLC0415 - what it imports may be missing
    except ModuleNotFoundError as error:
        sys.exit(f"edgedet-compress needs {error.name}: pip install 'edgedet[compression]'")
    app()
