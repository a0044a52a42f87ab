"""A TCP relay that takes its time. Standard library only."""

import asyncio
import threading


class DelayProxy:
    """Passes on what comes to (host, port) to (target, port), and back, `delay` seconds later."""

    def __init__(self, host, target, ports, delay):
        self.host, self.target, self.ports, self.delay = host, target, ports, delay
        self.loop = asyncio.new_event_loop()
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self.loop.run_until_complete, args=(self.serve(),))
        self.thread.start()
        self.ready.wait()

    async def serve(self):
        self.stop = asyncio.Event()
        servers = [await asyncio.start_server(
            lambda reader, writer, port=port: self.relay(reader, writer, port), self.host, port)
            for port in self.ports]
        self.ready.set()
        await self.stop.wait()
        for server in servers:
            server.close()
        for task in asyncio.all_tasks():
            if task is not asyncio.current_task():
                task.cancel()

    async def relay(self, reader, writer, port):
        try:
            there, back = await asyncio.open_connection(self.target, port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(self.pump(reader, back), self.pump(there, writer))

    async def pump(self, reader, writer):
        """Each piece keeps its own time, so that a delay is no limit of speed."""
        pieces = asyncio.Queue()

        async def write():
            while (piece := await pieces.get()) is not None:
                due, data = piece
                await asyncio.sleep(max(0, due - self.loop.time()))
                writer.write(data)
                await writer.drain()
            writer.close()

        writing = asyncio.ensure_future(write())
        try:
            while data := await reader.read(1 << 16):
                pieces.put_nowait((self.loop.time() + self.delay, data))
            pieces.put_nowait(None)
            await writing
        except OSError:
            writing.cancel()
            writer.close()

    def close(self):
        self.loop.call_soon_threadsafe(self.stop.set)
        self.thread.join()
        self.loop.close()
