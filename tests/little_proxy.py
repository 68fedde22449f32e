"""A reverse proxy as nginx is: it takes a sub-path off or leaves it on, and says who asked and over what."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def proxied(
    url: str, prefix: str = "", strips: bool = True, headers: str = "", source: str = "127.0.0.1"
) -> Iterator[str]:
    """A proxy in front of `url`; `headers` are added to each request, `source` is where it connects from."""
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(
        target=_accept, args=(listener, url, prefix, strips, headers, source), daemon=True
    ).start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}{prefix}/"
    finally:
        listener.close()


def _accept(listener: socket.socket, *settings: object) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_serve, args=(client, *settings), daemon=True).start()


def _serve(client: socket.socket, url: str, prefix: str, strips: bool, headers: str, source: str) -> None:
    host, port = url.removeprefix("http://").split(":")
    with suppress(OSError), client:
        head = b""
        while b"\r\n\r\n" not in head:
            head += (piece := client.recv(65536))
            if not piece:
                return
        line, _, rest = head.partition(b"\r\n")
        if strips:
            line = line.replace(f" {prefix}/".encode(), b" /", 1)
        added = f"\r\nconnection: close\r\n{headers}".encode()
        rest = rest.replace(b"Connection: keep-alive\r\n", b"").replace(b"connection: keep-alive\r\n", b"")
        with socket.create_connection((host, int(port)), source_address=(source, 0)) as server:
            server.sendall(line + added + rest)
            threading.Thread(target=_pipe, args=(client, server), daemon=True).start()
            _pipe(server, client)


def _pipe(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)
        sink.shutdown(socket.SHUT_WR)
