#!/usr/bin/env python3
"""An echo server on Python's asyncio streams, written the way its documentation writes one. Prints nothing; SIGTERM
ends it.

    python3 bench/peers/asyncio.py ./uds_socket
"""

import sys

# This file has the name of the module that it wants, and its folder comes first where modules are looked for.
sys.path.pop(0)
import asyncio  # noqa: E402


async def echo(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def main(path):
    server = await asyncio.start_unix_server(echo, path)
    async with server:
        await server.serve_forever()


if len(sys.argv) != 2:
    sys.exit(2)
asyncio.run(main(sys.argv[1]))
