"""TCP ports that stand before others and can be cut. Linux: all of 127/8 is this machine."""

import socket
import threading


class CutProxy:
    """Passes what comes to `there`:port on to 127.0.0.1:port, for each port, until cut()."""

    def __init__(self, there, ports):
        self.lock = threading.Lock()
        self.open = []
        self.listeners = []
        for port in ports:
            listener = socket.create_server((there, port))
            self.listeners.append(listener)
            threading.Thread(target=self.accept, args=(listener, port), daemon=True).start()

    def accept(self, listener, port):
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", port))
            except OSError:
                near.close()
                continue
            with self.lock:
                self.open += [near, far]
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.carry_both, args=(near, far), daemon=True).start()

    def carry_both(self, near, far):
        back = threading.Thread(target=self.carry, args=(far, near), daemon=True)
        back.start()
        self.carry(near, far)
        back.join()
        with self.lock:
            self.open = [end for end in self.open if end not in (near, far)]
        near.close()
        far.close()

    @staticmethod
    def carry(one, other):
        try:
            while data := one.recv(1 << 16):
                other.sendall(data)
        except OSError:
            pass
        for end in (one, other):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def cut(self):
        """Ends the connections of now; new ones are welcome."""
        with self.lock:
            for end in self.open:
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass

    def close(self):
        for listener in self.listeners:
            listener.close()
        self.cut()
