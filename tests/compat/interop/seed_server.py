"""seed_server.py [PATH]: the server this project began with, in Python 3. It serves one client after the other."""
import os
import socket
import sys

SERVER_PATH = sys.argv[1] if len(sys.argv) > 1 else './uds_socket'

if os.path.exists(SERVER_PATH):
    os.remove(SERVER_PATH)
print('starting unix domain socket server', file=sys.stderr)

sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
sock.bind(SERVER_PATH)
sock.listen(2)
print('Listening on path: %s' % SERVER_PATH, file=sys.stderr)

while True:
    conn, _ = sock.accept()
    try:
        while True:
            data = conn.recv(1024)
            if not data:
                break
            print('received [%s]' % data.decode('ascii', 'backslashreplace'), file=sys.stderr)
            conn.sendall(data)
    except Exception as error:  # it ends this client, not the server
        print(error)
    finally:
        conn.close()
