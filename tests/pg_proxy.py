#!/usr/bin/env python3
"""A man in the middle of PostgreSQL connections, on unix sockets.

    pg_proxy.py LISTEN CONNECT WAY [ARG...]

LISTEN and CONNECT are paths of sockets. What the server sends is passed on
    replace OLD NEW   with each OLD made NEW (of one length), wherever the pieces are cut
    cut N             until N bytes went by on one connection, which is then closed
    hold N            until N bytes went by, then nothing more is passed on, and nothing closed
Prints "ready" when it listens. Ends with its parent's SIGTERM.

    pg_proxy.py LISTEN old

answers a startup message itself, as a server of version 12 without passwords, and then every query with an error."""
import os
import socket
import struct
import sys
import threading


def message(kind, body):
    return kind + struct.pack("!I", len(body) + 4) + body


def old_server(client):
    while True:
        (size,) = struct.unpack("!I", client.recv(4, socket.MSG_WAITALL))
        body = client.recv(size - 4, socket.MSG_WAITALL)
        if struct.unpack("!I", body[:4])[0] in (80877103, 80877104):  # SSLRequest, GSSENCRequest
            client.sendall(b"N")
            continue
        break
    client.sendall(message(b"R", struct.pack("!I", 0)) + message(b"S", b"server_version\x0012.22\x00") +
                   message(b"S", b"integer_datetimes\x00on\x00") + message(b"Z", b"I"))
    while client.recv(1):
        (size,) = struct.unpack("!I", client.recv(4, socket.MSG_WAITALL))
        client.recv(size - 4, socket.MSG_WAITALL)
        client.sendall(message(b"E", b"SERROR\x00C42601\x00Msyntax error\x00\x00") + message(b"Z", b"I"))


def replaced(server, client, old, new):
    kept = b""
    while True:
        piece = server.recv(65536)
        text = (kept + piece).replace(old, new)
        # The end may be the start of OLD; a message that is waited for must not be kept back for that.
        keep = next((k for k in range(min(len(old) - 1, len(text)), 0, -1) if old.startswith(text[-k:])), 0)
        kept = text[len(text) - keep:] if piece else b""
        client.sendall(text[:len(text) - len(kept)])
        if not piece:
            return


def limited(server, client, limit, then):
    while limit > 0:
        piece = server.recv(min(limit, 65536))
        if not piece:
            return
        client.sendall(piece)
        limit -= len(piece)
    then.wait()


def forward(a, b):
    try:
        while piece := a.recv(65536):
            b.sendall(piece)
        b.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def serve(client, connect, way, args):
    try:
        if way == "old":
            return old_server(client)
        server = socket.socket(socket.AF_UNIX)
        server.connect(connect)
        threading.Thread(target=forward, args=(client, server), daemon=True).start()
        if way == "replace":
            replaced(server, client, args[0].encode(), args[1].encode())
        else:
            done = threading.Event()
            if way == "cut":
                done.set()
            limited(server, client, int(args[0]), done)
        server.close()
    except OSError:
        pass
    finally:
        # close() alone would leave the connection open while the other thread waits in it.
        try:
            client.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        client.close()


def main():
    listen = sys.argv[1]
    connect, way = (None, "old") if sys.argv[2] == "old" else sys.argv[2:4]
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(listen)
    os.chmod(listen, 0o777)
    listener.listen(16)
    print("ready", flush=True)
    while True:
        client, _ = listener.accept()
        threading.Thread(target=serve, args=(client, connect, way, sys.argv[4:]), daemon=True).start()


main()
