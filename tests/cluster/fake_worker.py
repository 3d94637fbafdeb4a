"""Stands in for any worker of a cluster: beats, serves a port if it is a gateway, and misbehaves on request.

``python fake_worker.py NAME FOLDER``: the file FOLDER/NAME says how it misbehaves. It imports nothing that is slow.
"""

import contextlib
import json
import os
import select
import signal
import socket
import sys
import time


def main() -> None:
    """Live until SIGTERM."""
    name, folder = sys.argv[1:3]
    stopping = []
    mood = _mood(folder, name)
    signal.signal(signal.SIGTERM, signal.SIG_IGN if mood == "stubborn" else lambda number, _: stopping.append(number))
    sys.stderr.write(f"{name} starts\n")
    sys.stderr.flush()
    if mood == "crash":
        sys.stderr.write(f"{name}: the first entry cannot be read\n")
        sys.exit(3)
    server = _listen() if name.startswith("gateway") else None
    next_beat = 0.0
    while not stopping:
        if time.monotonic() >= next_beat and mood != "deaf":
            next_beat = time.monotonic() + 0.2
            with contextlib.suppress(OSError):
                _beat(name, "PostgreSQL is ahead" if mood == "troubled" else "")
        if server is None:
            time.sleep(0.05)
        else:
            _answer(server)


def _mood(folder: str, name: str) -> str:
    try:
        with open(os.path.join(folder, name)) as file:
            return file.read().strip()
    except FileNotFoundError:
        return ""


def _listen() -> socket.socket:
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((os.environ["MATCHBOX_HOST"], int(os.environ["MATCHBOX_PORT"])))
    server.listen()
    return server


def _answer(server: socket.socket) -> None:
    if select.select([server], [], [], 0.05)[0]:
        client, _ = server.accept()
        with client:
            client.recv(4096)
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")


def _beat(name: str, error: str) -> None:
    sign = {"pid": os.getpid(), "host": socket.gethostname(), "state": "running", "time": time.time_ns()}
    text = json.dumps(sign | {"sequence": 7, "lag": 0, "error": error})
    own = f"matchbox:beat:{name}@{socket.gethostname()}:{os.getpid()}"
    commands = [["SET", key, text, "EX", "5"] for key in (f"matchbox:beat:{name}", own)]
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1)
        client.connect(os.environ["MATCHBOX_REDIS_URL"].removeprefix("unix://"))
        for words in commands:
            client.sendall(b"".join([b"*5\r\n", *(b"$%d\r\n%s\r\n" % (len(word), word.encode()) for word in words)]))
        client.recv(100)


if __name__ == "__main__":
    main()
