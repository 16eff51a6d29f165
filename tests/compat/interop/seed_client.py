"""seed_client.py [PATH [FILE]]: the client this project began with, in Python 3. With FILE its content is the message.

It sends all before it reads, as the original does. What it received goes to stdout too, for the hash."""
import socket
import sys

server_address = sys.argv[1] if len(sys.argv) > 1 else './uds_socket'
message = b'This is the message, This will be echoed back'
if len(sys.argv) > 2:
    with open(sys.argv[2], 'rb') as file:
        message = file.read()


def shown(data):
    return data.decode('ascii', 'backslashreplace')


sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
print('connecting to %s' % server_address, file=sys.stderr)
try:
    sock.connect(server_address)
except OSError as error:
    print(error, file=sys.stderr)
    sys.exit(1)

try:
    print('sending [%s]' % shown(message), file=sys.stderr)
    sock.sendall(message)
    amount_received = 0
    amount_expected = len(message)
    while amount_received < amount_expected:
        data = sock.recv(1024)
        amount_received += len(data)
        print('received [%s]' % shown(data), file=sys.stderr)
        sys.stdout.buffer.write(data)
finally:
    print('closing socket', file=sys.stderr)
    sock.close()
