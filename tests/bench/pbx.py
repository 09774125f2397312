"""The sender: a process of its own that speaks just enough AMI, and sends the recording at a fixed rate.

It prints its port, lets one client log in, waits for a line on standard input, sends, and prints what it did as JSON:
``begun`` and ``ended`` (seconds since the epoch), ``events``, ``bytes``, ``late`` (how late, in seconds, the slowest
piece left because the client did not read). It ends when its standard input does.
"""

import json
import socket
import sys
import threading
import time
from collections.abc import Iterable

from tests.bench.recording import played

TICK_SECONDS = 0.01


def answer(connection: socket.socket) -> None:
    """Answer actions for as long as the client is there; lists are refused, so they conclude nothing."""
    pending = b""
    while data := connection.recv(65536):
        *actions, pending = (pending + data).split(b"\r\n\r\n")
        for action in actions:
            headers = dict(line.split(b": ", 1) for line in action.split(b"\r\n"))
            word, reply = headers[b"Action"], b"Response: Success\r\nMessage: Authentication accepted"
            if word == b"Ping":
                reply = b"Response: Success\r\nPing: Pong"
            elif word != b"Login":
                reply = b"Response: Error\r\nMessage: Invalid/unknown command: " + word
            with SENDING:
                connection.sendall(reply + b"\r\nActionID: " + headers[b"ActionID"] + b"\r\n\r\n")
                if word == b"Login":
                    connection.sendall(b"Event: FullyBooted\r\nStatus: Fully Booted\r\n\r\n")


SENDING = threading.Lock()


def send(connection: socket.socket, total: int, rate: int) -> dict[str, float]:
    """Send ``total`` events, ``rate`` a second; 0 is as fast as they are read.

    A real PBX is another machine: what is sent as fast as possible is made before the clock runs.
    """
    pieces: Iterable[tuple[int, bytes]] = played(
        total, int(time.time()), max(1, int(rate * TICK_SECONDS)) if rate else 1000
    )
    if not rate:
        pieces = list(pieces)
    start = time.time()
    sent = size = 0
    late = 0.0
    for count, data in pieces:
        if rate:
            ahead = start + (sent + count) / rate - time.time()
            if ahead > 0:
                time.sleep(ahead)
        with SENDING:
            connection.sendall(data)
        sent += count
        size += len(data)
        if rate:
            late = max(late, time.time() - start - sent / rate)
    return {"begun": start, "ended": time.time(), "events": sent, "bytes": size, "late": late}


def main() -> None:
    total, rate = int(sys.argv[1]), int(sys.argv[2])
    listening = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"{listening.getsockname()[1]}\n")
    sys.stdout.flush()
    connection, _ = listening.accept()
    connection.sendall(b"Asterisk Call Manager/11.0.0\r\n")
    threading.Thread(target=answer, args=(connection,), daemon=True).start()
    next(played(1, 0, 1))  # unpack the recording before the clock runs
    if sys.stdin.readline():
        sys.stdout.write(json.dumps(send(connection, total, rate)) + "\n")
        sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    main()
