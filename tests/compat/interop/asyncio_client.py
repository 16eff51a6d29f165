"""asyncio_client.py PATH: stdin to the server, what comes back to stdout; half-closes after the last byte."""
import asyncio
import sys


async def main():
    reader, writer = await asyncio.open_unix_connection(sys.argv[1])

    async def send():
        while data := sys.stdin.buffer.read(200000):
            writer.write(data)
            await writer.drain()
        writer.write_eof()

    sending = asyncio.ensure_future(send())
    while data := await reader.read(65536):
        sys.stdout.buffer.write(data)
    await sending
    writer.close()
    await writer.wait_closed()


asyncio.run(main())
