"""Real sshd processes of this machine, each as a host of its own. Standard library only."""

import os
import pathlib
import pwd
import shutil
import socket
import subprocess
import time

SERVER = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def keygen(path):
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


class Network:
    """Hosts that `ssh NAME` reaches, for processes whose PATH begins with `bin`."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.bin = self.folder / "bin"
        self.bin.mkdir()
        self.config = self.folder / "ssh_config"
        self.config.write_text("")
        wrapper = self.bin / "ssh"
        wrapper.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {self.config} "$@"\n')
        wrapper.chmod(0o755)
        keygen(self.folder / "client")
        keygen(self.folder / "server")
        self.public = (self.folder / "client.pub").read_text()
        # Where sshd as root wants an empty folder of its own.
        if os.getuid() == 0:
            os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
        self.servers = []

    def environment(self):
        return {**os.environ, "PATH": f"{self.bin}:{os.environ['PATH']}"}

    def add(self, name, address, port, user=None, within=()):
        """Starts an sshd at the address, inside a namespace if `within` is its command prefix."""
        user = user or pwd.getpwuid(os.getuid()).pw_name
        keys = self.folder / f"{name}.keys"
        keys.write_text(self.public)
        keys.chmod(0o644)
        config = self.folder / f"{name}.sshd"
        config.write_text(f"Port {port}\nListenAddress {address}\nHostKey {self.folder}/server\n"
                          f"AuthorizedKeysFile {keys}\nStrictModes no\nPidFile none\nUsePAM no\n"
                          "PasswordAuthentication no\n")
        server = subprocess.Popen([*within, SERVER, "-D", "-e", "-f", str(config)],
                                  stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.servers.append(server)
        with self.config.open("a") as file:
            file.write(f"Host {name}\nHostName {address}\nPort {port}\nUser {user}\n"
                       f"IdentityFile {self.folder}/client\nIdentitiesOnly yes\n"
                       "StrictHostKeyChecking no\nUserKnownHostsFile /dev/null\nLogLevel ERROR\n")
        end = time.monotonic() + 20
        while not within and time.monotonic() < end:
            if server.poll() is not None:
                raise RuntimeError(f"sshd for {name} ended with {server.returncode}")
            try:
                socket.create_connection((address, port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)

    def close(self):
        for server in self.servers:
            server.kill()
            server.wait()
