"""`tandem launch`: workers by real sshd processes, and nothing left of them."""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import unittest
import urllib.request

import harness
import slow_link
import sshd
import tiny_model
from tested import Options

USERS = ("tandem-one", "tandem-two")


def may_make_users():
    """Other users must be able to run what was built here."""
    if os.getuid() != 0:
        return False
    return subprocess.run(["setpriv", "--reuid=65534", "--clear-groups", "test", "-x",
                           Options.tandem]).returncode == 0


def workers():
    """pids of all launched workers of this machine."""
    listing = subprocess.run(["ps", "-A", "-o", "pid=,args="], capture_output=True, text=True,
                             check=True).stdout
    return [int(line.split()[0]) for line in listing.splitlines()
            if re.match(r" *\d+ \S+ worker --launched$", line)]


class Launch(harness.ClusterTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.folder.chmod(0o755)
        cls.network = sshd.Network(cls.folder)
        cls.users = []
        hosts = []
        for number, user in enumerate(USERS):
            home = cls.folder / f"home{number}"
            home.mkdir()
            if may_make_users():
                # Of an account without a password; that of a locked one sshd refuses.
                subprocess.run(["useradd", "--home-dir", home, "--shell", "/bin/sh", "--password",
                                "*", user], check=True)
                cls.users.append(user)
            shutil.copytree(cls.model, home / "models" / f"mine-{number}")
            binary = home / f"tandem-{number}"
            binary.write_text(f'#!/bin/sh\nexec {Options.tandem} "$@"\n')
            binary.chmod(0o755)
            if cls.users:
                subprocess.run(["chown", "-R", user, home], check=True)
            name = f"host{number}"
            cls.network.add(name, f"127.0.0.{number + 2}", harness.free_port(),
                            user if cls.users else None)
            hosts.append({"ssh": name, "binary": str(binary),
                          "model": str(home / "models" / f"mine-{number}")})
        cls.entries = hosts
        cls.hostfile = cls.folder / "hosts.json"
        cls.hostfile.write_text(json.dumps({"hosts": hosts}))

    @classmethod
    def tearDownClass(cls):
        cls.network.close()
        for user in cls.users:
            subprocess.run(["userdel", user], check=True)
        super().tearDownClass()

    def tearDown(self):
        super().tearDown()
        harness.wait_until(lambda: not workers(), 10, "no worker is left")

    def launch(self, *arguments, code=0, ranks=2, within=()):
        """A generation under launch over all workers; its JSON, or its error line."""
        flags = [*map(str, arguments)]
        done = subprocess.run(
            [*within, Options.tandem, "launch", *flags, "--", "generate", str(self.model),
             "--prompt-ids", harness.PROMPT, "--max-tokens", "24", "--json",
             "--ranks", str(ranks)],
            capture_output=True, timeout=harness.DEADLINE, env=self.network.environment())
        text = done.stderr.decode()
        self.assertEqual(done.returncode, code, text)
        if code == 0:
            return json.loads(done.stdout)
        return next(line for line in text.splitlines() if line.startswith("tandem: error: "))

    def endless(self, *arguments):
        gateway = self.start("launch", *arguments, "--", "generate", self.model, "--prompt-ids",
                             harness.PROMPT, "--max-tokens", 60000, "--ranks", 2,
                             env=self.network.environment())
        self.assertTrue(os.read(gateway.stdout.fileno(), 1))
        return gateway

    def test_other_users_homes_binaries_paths_and_ports(self):
        alone = self.generate()["ids"]
        self.assertEqual(self.launch("--hostfile", self.hostfile)["ids"], alone)
        if self.users:
            gateway = self.endless("--hostfile", self.hostfile)
            owners = {subprocess.run(["ps", "-o", "user:32=", "-p", str(pid)], capture_output=True,
                                     text=True, check=True).stdout.strip() for pid in workers()}
            self.assertEqual(owners, set(USERS))
            gateway.send_signal(signal.SIGINT)
            self.assertEqual(gateway.wait(harness.DEADLINE), 130)

    def test_here_and_elsewhere(self):
        alone = self.generate()["ids"]
        self.assertEqual(self.launch("-n", 2)["ids"], alone)
        mixed = self.folder / "mixed.json"
        mixed.write_text(json.dumps([self.entries[0], {"ssh": "localhost"}]))
        self.assertEqual(self.launch("--hostfile", mixed)["ids"], alone)
        self.assertEqual(self.launch("--hosts", "localhost,host1", "--repeat-hosts", 2, "--binary",
                                     self.entries[1]["binary"], ranks=4)["ids"], alone)

    def test_ctrl_c_ends_all(self):
        gateway = self.endless("--hostfile", self.hostfile)
        self.assertEqual(len(workers()), 2)
        gateway.send_signal(signal.SIGINT)
        self.assertEqual(gateway.wait(harness.DEADLINE), 130)
        self.assertEqual(workers(), [])

    def test_nothing_is_left_of_a_killed_launcher(self):
        gateway = self.endless("--hostfile", self.hostfile)
        gateway.kill()
        harness.wait_until(lambda: not workers(), 5, "workers end with their launcher")

    def test_the_key_is_in_no_command_line_and_no_log(self):
        gateway = self.start("launch", "--verbose", "--hostfile", self.hostfile, "--", "generate",
                             self.model, "--prompt-ids", harness.PROMPT, "--max-tokens", 60000,
                             env=self.network.environment())
        self.assertTrue(os.read(gateway.stdout.fileno(), 1))
        listing = subprocess.run(["ps", "-A", "-ww", "-o", "args="], capture_output=True,
                                 text=True, check=True).stdout
        listing = "\n".join(line for line in listing.splitlines() if "launch" in line)
        gateway.send_signal(signal.SIGINT)
        log = gateway.communicate(timeout=harness.DEADLINE)[1].decode()
        self.assertNotRegex(listing + log, r"[0-9a-f]{64}")
        self.assertRegex(log, r"(?m)^\[1 host1\] \S+ tandem worker: waiting for a gateway at")

    def test_variables_and_folder_reach_the_workers(self):
        gateway = self.start("launch", "-n", 2, "--env", "TANDEM_TEST=a b'c", "--cwd", self.folder,
                             "--", "generate", self.model, "--prompt-ids", harness.PROMPT,
                             "--max-tokens", 60000, "--ranks", 2)
        self.assertTrue(os.read(gateway.stdout.fileno(), 1))
        self.assertEqual(len(workers()), 2)
        for pid in workers():
            child = pathlib.Path("/proc", str(harness.children(pid)[0]))
            self.assertIn(b"TANDEM_TEST=a b'c", (child / "environ").read_bytes().split(b"\0"))
            self.assertEqual(os.readlink(child / "cwd"), str(self.folder))
        gateway.send_signal(signal.SIGINT)
        gateway.wait(harness.DEADLINE)

    def test_what_does_not_start_is_named(self):
        self.assertRegex(self.launch("--hosts", "host0", "--binary", "/no/such/tandem", code=1),
                         r"host0: the worker exited with code 127 \(no such program there: name it "
                         r"with --binary.*\): .*/no/such/tandem")
        self.assertRegex(self.launch("--hosts", "unknown-host.invalid", code=1),
                         r"unknown-host\.invalid: the worker exited with code 255: ssh: ")
        self.assertRegex(
            self.launch("-n", 2, "--cwd", "/no/such/folder", code=1),
            r"localhost: the worker exited with code 2: .*--cwd: /no/such/folder: No such file")

    def test_words_that_a_shell_would_read_are_refused(self):
        for hosts in ("host0;true", "a b", "$(true)", "host0,,host1", "me@-oProxyCommand=true"):
            self.assertIn("--hosts: ", self.launch("--hosts", hosts, code=2))
        self.assertIn("--binary", self.launch("--hosts", "host0", "--binary", "a;b", code=2))
        bad = self.folder / "bad.json"
        bad.write_text(json.dumps([{"ssh": "host0", "binary": "$(true)"}]))
        self.assertIn("host0: \"$(true)\" must be a path", self.launch("--hostfile", bad, code=2))

    def complete(self, port, strike=None):
        """The text of a streamed completion, with a strike after its first tokens."""
        body = {"prompt": [int(token) for token in harness.PROMPT.split(",")], "max_tokens": 3000,
                "temperature": 0, "stream": True, "ignore_eos": True}
        request = urllib.request.Request(f"http://127.0.0.1:{port}/v1/completions",
                                         json.dumps(body).encode(),
                                         {"Content-Type": "application/json"})
        text, pieces = "", 0
        with urllib.request.urlopen(request, timeout=harness.DEADLINE) as answer:
            for line in answer:
                if not line.startswith(b"data: {"):
                    continue
                text += json.loads(line[6:])["choices"][0]["text"]
                pieces += 1
                if strike and pieces == 20:
                    strike()
        self.assertGreater(pieces, 20)
        return text

    def test_a_killed_worker_comes_back_and_the_request_goes_on(self):
        port = harness.free_port()
        server = self.start("launch", "-n", 2, "--", "serve", self.model, "--port", port,
                            "--ranks", 2)

        def healthy():
            try:
                url = f"http://127.0.0.1:{port}/health"
                return urllib.request.urlopen(url, timeout=5).status == 200
            except OSError:
                return False

        harness.wait_until(healthy, harness.DEADLINE, "the server is ready")
        whole = self.complete(port)
        self.assertEqual(self.complete(port, lambda: os.kill(workers()[0], signal.SIGKILL)), whole)
        server.send_signal(signal.SIGTERM)
        log = server.communicate(timeout=harness.DEADLINE)[1].decode()
        self.assertEqual(server.returncode, 0, log)
        self.assertRegex(log, r"\[[01] localhost\] the worker is started again")


@unittest.skipIf(slow_link.refusal(), f"no namespaces here: {slow_link.refusal()}")
class Namespaces(harness.ClusterTest):
    def test_a_local_worker_waits_where_the_other_machine_sees_this_one(self):
        network = sshd.Network(self.folder)
        self.addCleanup(network.close)
        link = slow_link.SlowLink(rate=100e6)
        self.addCleanup(link.close)
        network.add("far", "10.99.0.2", 22022, within=slow_link.inside(link.far))
        for hosts in ("localhost,far", "far,localhost"):
            done = subprocess.run(
                slow_link.inside(link.near, Options.tandem, "launch", "--verbose", "--hosts", hosts,
                                 "--binary", Options.tandem, "--", "generate", self.model,
                                 "--prompt-ids", harness.PROMPT, "--max-tokens", 24, "--json",
                                 "--ranks", 2),
                capture_output=True, timeout=harness.DEADLINE, env=network.environment())
            self.assertEqual(done.returncode, 0, done.stderr.decode())
            self.assertEqual(json.loads(done.stdout)["ids"], self.generate()["ids"])
            self.assertIn("[%d localhost]" % hosts.startswith("far"), done.stderr.decode())
            self.assertIn("waiting for a gateway at 10.99.0.1:", done.stderr.decode())


if __name__ == "__main__":
    harness.main()
