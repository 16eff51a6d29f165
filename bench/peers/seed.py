#!/usr/bin/env python3
"""The server this project began with, in Python 3 and without what it prints: one client at a time, 1,024 bytes a read,
whatever is at the path removed first. Prints nothing; SIGTERM ends it.

    python3 bench/peers/seed.py ./uds_socket
"""

import os
import socket
import sys

if len(sys.argv) != 2:
    sys.exit(2)
path = sys.argv[1]
if os.path.exists(path):
    os.remove(path)

listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
listener.bind(path)
listener.listen(2)
while True:
    client, _ = listener.accept()
    try:
        while data := client.recv(1024):
            client.sendall(data)
    except OSError:
        pass
    finally:
        client.close()
