"""`tandem worker` processes that run by themselves, and gateways that come and go."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import unittest

import harness


class Workers(harness.ClusterTest):
    def two(self):
        (first, one), (second, two) = self.worker(), self.worker()
        return first, second, f"{one},{two}"

    def test_hosts_and_hostfile_give_the_same_tokens_again_and_again(self):
        alone = self.generate()["ids"]
        _, _, hosts = self.two()
        for _ in range(3):
            self.assertEqual(self.generate("--hosts", hosts, "--ranks", 2)["ids"], alone)
        path = self.folder / "hosts.json"
        entries = [{"ssh": "here", "ips": [host.split(":")[0]], "port": int(host.split(":")[1])}
                   for host in hosts.split(",")]
        for content in (entries, {"backend": "ring", "envs": [], "hosts": entries}):
            path.write_text(json.dumps(content))
            self.assertEqual(self.generate("--hostfile", path)["ids"], alone)

    def test_by_the_mlx_transport(self):
        _, _, hosts = self.two()
        alone = self.generate(tokens=8)["ids"]
        for _ in range(2):
            self.assertEqual(
                self.generate("--hosts", hosts, "--ranks", 2, "--transport", "mlx",
                              tokens=8)["ids"], alone)

    def test_a_worker_outlives_its_compute_process(self):
        first, _, hosts = self.two()
        gateway = self.endless("--hosts", hosts, "--ranks", 2)
        os.kill(harness.children(first.pid)[0], signal.SIGKILL)
        _, error = self.ends(gateway)
        self.assertIn("rank 0 ", error)
        self.assertIn("was killed by signal 9", error)
        self.generate("--hosts", hosts, "--ranks", 2)

    def test_a_stopped_worker_is_named(self):
        _, second, hosts = self.two()
        gateway = self.endless("--hosts", hosts, "--ranks", 2)
        second.send_signal(signal.SIGSTOP)
        took, error = self.ends(gateway)
        print(f"worker on a host stopped: {took:.3f} s", flush=True)
        self.assertIn("rank 1 ", error)
        self.assertIn("stopped answering", error)
        second.send_signal(signal.SIGCONT)
        harness.wait_until(lambda: self.is_free(hosts), 20, "the worker is free again")

    def is_free(self, hosts):
        done = subprocess.run([harness.Options.tandem, "generate", str(self.model), "--prompt-ids",
                               "1", "--max-tokens", "1", "--hosts", hosts, "--ranks", "2"],
                              capture_output=True, timeout=harness.DEADLINE)
        return done.returncode == 0

    def test_a_killed_gateway_frees_its_workers(self):
        first, second, hosts = self.two()
        gateway = self.endless("--hosts", hosts, "--ranks", 2)
        gateway.kill()
        harness.wait_until(lambda: self.is_free(hosts), 5, "the workers are free")
        self.assertIsNone(first.poll())
        self.assertIsNone(second.poll())

    def test_a_stopped_gateway_frees_its_workers(self):
        _, _, hosts = self.two()
        gateway = self.endless("--hosts", hosts, "--ranks", 2)
        gateway.send_signal(signal.SIGSTOP)
        harness.wait_until(lambda: self.is_free(hosts), 20, "the workers are free")
        gateway.send_signal(signal.SIGCONT)
        _, error = self.ends(gateway)
        self.assertIn("rank ", error)

    def test_a_busy_worker_refuses(self):
        _, _, hosts = self.two()
        gateway = self.endless("--hosts", hosts, "--ranks", 2)
        error = self.refused("--hosts", hosts, "--ranks", 2, code=1)
        self.assertIn("is busy: it holds layers", error)
        self.assertIsNone(gateway.poll())

    def test_port_in_use(self):
        _, address = self.worker()
        error = self.refused("--listen", address, code=1, command="worker")
        self.assertIn(address, error)
        self.assertIn("in use", error)

    def test_unreachable_worker(self):
        address = f"127.0.0.1:{harness.free_port()}"
        error = self.refused("--hosts", address, code=1)
        self.assertIn(f"rank 0 ({address}) cannot be reached", error)

    def test_silent_listener_is_no_worker(self):
        with harness.socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            begin = time.monotonic()
            address = f"127.0.0.1:{listener.getsockname()[1]}"
            error = self.refused("--hosts", address, code=1)
            self.assertIn("cannot be reached", error)
            self.assertLess(time.monotonic() - begin, 15)

    def test_beyond_loopback_only_with_a_secret(self):
        error = self.refused("--listen", f"0.0.0.0:{harness.free_port()}", code=2, command="worker")
        self.assertIn("cluster key or TLS", error)

    def test_cluster_key(self):
        key, other = self.folder / "key", self.folder / "other"
        for path, text in ((key, "0123456789abcdef0123"), (other, "a different secret 9")):
            path.write_text(text)
            path.chmod(0o600)
        port = harness.free_port()
        _, address = self.worker("--listen", f"127.0.0.1:{port}", "--cluster-key-file", key)
        good = self.generate("--hosts", address, "--cluster-key-file", key)
        self.assertEqual(good["ids"], self.generate()["ids"])
        self.assertIn("key", self.refused("--hosts", address, "--cluster-key-file", other, code=1))
        self.assertIn("key", self.refused("--hosts", address, code=1))

    def test_a_model_that_is_not_the_gateways_is_refused(self):
        _, address = self.worker()
        other = harness.tiny_model.write(self.folder / "other-model", hidden=32)
        path = self.folder / "elsewhere.json"
        path.write_text(json.dumps([{"ips": [address], "model": str(other)}]))
        error = self.refused("--hostfile", path, code=2)
        self.assertIn("not the gateway's model", error)
        tuned = harness.tiny_model.write(self.folder / "fine-tune", seed=2)
        path.write_text(json.dumps([{"ips": [address], "model": str(tuned)}]))
        self.assertIn("not the gateway's model", self.refused("--hostfile", path, code=2))
        path.write_text(json.dumps([{"ips": [address], "model": str(self.folder / "none")}]))
        self.assertIn(str(self.folder / "none"), self.refused("--hostfile", path, code=2))

    def test_a_config_that_differs_in_what_nobody_reads_is_the_same_model(self):
        _, address = self.worker()
        same = harness.tiny_model.write(self.folder / "same-model")
        config = json.loads((same / "config.json").read_text())
        (same / "config.json").write_text(json.dumps({**config, "transformers_version": "5.0"}))
        path = self.folder / "same.json"
        path.write_text(json.dumps([{"ips": [address], "model": str(same)}]))
        self.assertEqual(self.generate("--hostfile", path)["ids"], self.generate()["ids"])

    def test_sigterm_ends_a_worker_and_its_child(self):
        first, second, hosts = self.two()
        gateway = self.endless("--hosts", hosts, "--ranks", 2)
        pids = [first.pid, second.pid, *harness.children(first.pid), *harness.children(second.pid)]
        self.assertEqual(len(pids), 4)
        first.send_signal(signal.SIGTERM)
        self.ends(gateway)
        second.send_signal(signal.SIGTERM)
        self.assertEqual(first.wait(harness.DEADLINE), 0)
        self.assertEqual(second.wait(harness.DEADLINE), 0)
        harness.wait_until(lambda: not harness.alive(pids), 2, "no process is left")

    @unittest.skipUnless(sys.platform == "linux", "reads /proc")
    def test_idle_ranks_use_no_cpu(self):
        chat = self.start("chat", self.model, "--ranks", 2, "--max-tokens", 4,
                          stdin=subprocess.PIPE)
        chat.stdin.write(b"hello\n")
        chat.stdin.flush()
        self.assertTrue(os.read(chat.stdout.fileno(), 1))
        workers = harness.children(chat.pid)
        ranks = workers + sum((harness.children(worker) for worker in workers), [])
        self.assertEqual(len(ranks), 4)
        time.sleep(0.5)
        before = sum(map(cpu_seconds, ranks))
        time.sleep(2)
        share = (sum(map(cpu_seconds, ranks)) - before) / 2 / len(ranks)
        print(f"idle ranks: {100 * share:.2f} % of a core each", flush=True)
        self.assertLess(share, 0.05)


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    harness.main()
