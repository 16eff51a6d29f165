"""orderly_asyncio.py PEER PATH: the asyncio server PEER, which on SIGTERM closes its server and serves those who are
connected until they left."""
import asyncio
import runpy
import signal
import sys

start = asyncio.start_unix_server
clients = set()


async def orderly_start(echo, path):
    async def counted(reader, writer):
        clients.add(asyncio.current_task())
        try:
            await echo(reader, writer)
        finally:
            clients.discard(asyncio.current_task())

    server = await start(counted, path)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.close)
    forever = server.serve_forever

    async def serve_forever():
        try:
            await forever()
        except asyncio.CancelledError:  # what closing the server makes of it
            while clients:
                await asyncio.wait(clients)

    server.serve_forever = serve_forever
    return server


asyncio.start_unix_server = orderly_start
peer, sys.argv = sys.argv[1], sys.argv[1:]
sys.path.insert(0, '')  # the peer takes the first place away
runpy.run_path(peer, run_name='__main__')
