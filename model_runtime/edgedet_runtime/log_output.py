"""Where a server's log goes: that nobody reads it any more, or a disk is full, must not end the server's work."""

from contextlib import suppress
from typing import TextIO

_UNWRITABLE = (OSError, ValueError)
"""A pipe without a reader, a full disk; a closed stream."""


class LogOutput:
    """A text stream for lines; those that cannot be written are lost."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, if it can be written; the length of `text`."""
        with suppress(*_UNWRITABLE):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Hand over what is written, if it can be."""
        with suppress(*_UNWRITABLE):
            self._stream.flush()
