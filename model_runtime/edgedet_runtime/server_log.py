"""The log of the servers: one JSON object a line on stdout; needs structlog."""

import logging
import sys
from contextlib import suppress
from typing import TextIO, cast

import structlog

_UNWRITABLE = (OSError, ValueError)
"""A pipe without a reader, a full disk; a closed stream."""


class LogOutput:
    """A text stream for lines; those that cannot be written are lost: a full disk must not end a server's work."""

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


def configure_log(level: str) -> None:
    """Our own lines from `level` on, and what libraries warn of."""
    output = cast(TextIO, LogOutput(sys.stdout))
    processors: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*processors, structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(output),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(output)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=processors,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
