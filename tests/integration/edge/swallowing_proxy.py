"""A TCP proxy between edge and cloud that passes bytes on or swallows them."""

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

_PIECE = 65536


class SwallowingProxy:
    """Threads that copy; what it does with bytes may change at any time.

    Swallowed bytes are lost: a connection that lost some is closed when bytes pass again, as a network that comes
    back would end it sooner or later.
    """

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = (host, int(port))
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._server.getsockname()[1]}"
        self._open: set[socket.socket] = set()
        self._swallowing = False
        self._lock = threading.Lock()
        self.swallowed_bytes = 0

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        self._close_all()

    def swallow(self) -> None:
        """From now on bytes vanish in both directions; new connections are taken and then silent."""
        self._swallowing = True

    def recover(self) -> None:
        """Bytes pass again, over new connections."""
        self._swallowing = False
        self._close_all()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:  # closed: the test is over
                return
            try:
                upstream = socket.create_connection(self._target)
            except OSError:
                client.close()
                continue
            for one in (client, upstream):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self._lock:
                self._open |= {client, upstream}
            for source, sink in ((client, upstream), (upstream, client)):
                threading.Thread(target=self._copy, args=(source, sink), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(_PIECE):
                if self._swallowing:
                    self.swallowed_bytes += len(data)
                else:
                    sink.sendall(data)
        self._close({source, sink})

    def _close_all(self) -> None:
        with self._lock:
            everything = set(self._open)
        self._close(everything)

    def _close(self, sockets: set[socket.socket]) -> None:
        for one in sockets:
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        with self._lock:
            self._open -= sockets
