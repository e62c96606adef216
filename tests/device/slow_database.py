"""A door to a Tango database that is slow to answer when an admin device is exported."""

import socket
import threading
from contextlib import suppress
from types import TracebackType

CONFIRMATION = 0.3
"""Seconds that such an answer takes; the database has the entry, and gives it to others, before."""


class SlowDatabase:
    """Passes on what a server and the database say to each other."""

    def __init__(self, tango_host: str) -> None:
        host, port = tango_host.rsplit(":", 1)
        self._database = (host, int(port))
        self._door = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = [self._door]
        self._threads = [threading.Thread(target=self._let_in)]
        self._threads[0].start()

    @property
    def tango_host(self) -> str:
        return f"127.0.0.1:{self._door.getsockname()[1]}"

    def __enter__(self) -> "SlowDatabase":
        return self

    def __exit__(
        self, _1: type[BaseException] | None, _2: BaseException | None, _3: TracebackType | None
    ) -> None:
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(5)

    def _let_in(self) -> None:
        with suppress(OSError):
            while True:
                server, _ = self._door.accept()
                database = socket.create_connection(self._database)
                late = threading.Event()
                for thread in (
                    threading.Thread(target=self._ask, args=(server, database, late)),
                    threading.Thread(target=self._answer, args=(database, server, late)),
                ):
                    self._threads.append(thread)
                    thread.start()
                self._sockets += [server, database]

    def _ask(self, server: socket.socket, database: socket.socket, late: threading.Event) -> None:
        with suppress(OSError):
            while data := server.recv(65536):
                if b"DbExportDevice" in data and b"dserver/" in data:
                    late.set()
                database.sendall(data)

    def _answer(
        self, database: socket.socket, server: socket.socket, late: threading.Event
    ) -> None:
        with suppress(OSError):
            while data := database.recv(65536):
                if late.is_set():
                    late.clear()
                    threading.Event().wait(CONFIRMATION)
                server.sendall(data)
