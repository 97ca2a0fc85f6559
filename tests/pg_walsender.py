#!/usr/bin/env python3
"""A server that speaks just enough of PostgreSQL's protocol to be taken for a walsender, and then misbehaves.

    pg_walsender.py SOCKET_DIR SCENARIO

Serves one connection after the other on SOCKET_DIR/.s.PGSQL.5432 until it is killed. Messages: PostgreSQL's
documentation, "Message Formats" and "Streaming Replication Protocol"; nothing here is a model of a real server.
"""
import os
import socket
import struct
import sys
import time

SYSTEM = "7000000000000000001"
START = 0x3000000


def message(kind, body=b""):
    return kind + struct.pack("!i", len(body) + 4) + body


def row(*values):
    columns = b"".join(
        b"c%d\0" % i + struct.pack("!ihihih", 0, 0, 25, -1, -1, 0) for i in range(len(values)))
    fields = b"".join(struct.pack("!i", len(v)) + v.encode() for v in values)
    count = struct.pack("!h", len(values))
    return message(b"T", count + columns) + message(b"D", count + fields)


def error(state, text):
    return message(b"E", b"SERROR\0VERROR\0C" + state.encode() + b"\0M" + text.encode() + b"\0\0")


def data(at, n, end=None):
    return b"w" + struct.pack("!QQQ", at, end or at + n, 0) + b"\x5a" * n


def copy(body):
    return message(b"d", body)


DONE = message(b"C", b"DONE\0")
READY = message(b"Z", b"I")

# What follows CopyBothResponse.
STREAMS = {
    "short-data": copy(data(START, 10)[:24]),
    "short-keepalive": copy(b"k" + bytes(16)),
    "unknown": copy(b"x" + bytes(40)),
    "gap": copy(data(START, 100)) + copy(data(START + 101, 100)),
    "wrap": copy(data((1 << 64) - 50, 100, START)),
    "no-wal": copy(data(START, 1 << 20)),
    "end-of-words": message(b"c") + row("two", "0/4000000") + DONE + DONE + READY,
    "end-of-one": message(b"c") + row("2") + DONE + DONE + READY,
    "end-at-nothing": message(b"c") + row("2", "nowhere") + DONE + DONE + READY,
    "removed": error("58P01", "requested WAL segment has already been removed") + READY,
    "silent": b"",
}


def answer(scenario, query):
    """The answer to a command, and whether a stream follows."""
    if query.startswith("IDENTIFY_SYSTEM"):
        at = "%X/%X" % (START >> 32, START)
        if scenario == "no-system":
            return row("nobody", "1", at, "") + DONE + READY
        if scenario == "no-timeline":
            return row(SYSTEM, "-1x", at, "") + DONE + READY
        if scenario == "no-position":
            return row(SYSTEM, "1", "here", "") + DONE + READY
        return row(SYSTEM, "1", at, "") + DONE + READY
    if query.startswith("SHOW wal_segment_size"):
        return row({"odd-size": "3MB", "huge-size": "4096GB", "no-size": ""}.get(scenario, "1MB")) + DONE + READY
    if query.startswith("SHOW"):
        return row("off") + DONE + READY
    if query.startswith("START_REPLICATION"):
        if scenario == "refused":
            return error("55006", "replication slot \"x\" is active for PID 1") + READY
        return message(b"W", b"\0\0\0") + STREAMS.get(scenario, b"")
    return DONE + READY


def receive(c, n):
    got = b""
    while len(got) < n:
        part = c.recv(n - len(got))
        if not part:
            raise ConnectionError
        got += part
    return got


def serve(c, scenario):
    length, = struct.unpack("!i", receive(c, 4))
    receive(c, length - 4)
    if scenario == "starting":
        c.sendall(error("57P03", "the database system is starting up"))
        return
    version = {"too-old": "12.22", "too-new": "19.1"}.get(scenario, "15.1")
    c.sendall(message(b"R", struct.pack("!i", 0)) +
              message(b"S", b"server_version\0" + version.encode() + b"\0") +
              message(b"K", struct.pack("!ii", 1, 1)) + READY)
    while True:
        kind = receive(c, 1)
        length, = struct.unpack("!i", receive(c, 4))
        body = receive(c, length - 4)
        if kind == b"Q":
            c.sendall(answer(scenario, body.rstrip(b"\0").decode()))
        elif kind == b"X":
            return


def main():
    path = os.path.join(sys.argv[1], ".s.PGSQL.5432")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen(5)
        while True:
            c, _ = listener.accept()
            with c:
                try:
                    serve(c, sys.argv[2])
                except (ConnectionError, BrokenPipeError):
                    pass
                time.sleep(0.01)


main()
