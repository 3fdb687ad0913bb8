"""Ctrl-C and SIGTERM as a wish to stop at the next good moment."""

import signal
from types import FrameType, TracebackType
from typing import Self


class Interruption:
    """Inside its `with`, both signals set `wished` instead of ending the process; a second one ends it as ever."""

    def __init__(self) -> None:
        self.wished = False
        self._before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def __enter__(self) -> Self:
        for number in self._before:
            signal.signal(number, self._wish)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _wish(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - signal's signature
        self.wished = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
