"""liar.py PATH: an echo server that alters one byte of each connection, for a check of the checks."""
import os
import socket
import sys
import threading


def serve(client):
    first = True
    while data := client.recv(65536):
        client.sendall(bytes([data[0] ^ 1]) + data[1:] if first else data)
        first = False
    client.close()


if os.path.exists(sys.argv[1]):
    os.unlink(sys.argv[1])
listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
listener.bind(sys.argv[1])
listener.listen(16)
while True:
    threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
