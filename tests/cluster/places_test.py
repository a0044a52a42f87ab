"""What each rank has: layers, device, memory and threads, by flags, worker or host file."""

import json
import subprocess

import harness
from tested import Options


class Places(harness.ClusterTest):
    def two(self, *second):
        """Two workers, the second with further flags; their addresses."""
        _, one = self.worker()
        _, two = self.worker("--listen", f"127.0.0.1:{harness.free_port()}", *second)
        return [one, two]

    def layers(self, *arguments):
        report = self.generate(*arguments, tokens=8)
        self.assertEqual(report["ids"], self.alone)
        return [tuple(rank["layers"]) for rank in report["ranks"]]

    def setUp(self):
        super().setUp()
        self.alone = self.generate(tokens=8)["ids"]

    def hostfile(self, *entries):
        path = self.folder / "hosts.json"
        path.write_text(json.dumps(list(entries)))
        return path

    def entry(self, host, **more):
        name, port = host.split(":")
        return {"ips": [name], "port": int(port), **more}

    def test_layers_by_flag(self):
        self.assertEqual(self.layers("--layers", "0-4,5-6"), [(0, 5), (5, 7)])
        self.assertEqual(self.layers("--ranks", 3, "--layers", "0,1-2,3-6"),
                         [(0, 1), (1, 3), (3, 7)])
        self.assertEqual(self.layers("--hosts", ",".join(self.two()), "--layers", "0-5,6"),
                         [(0, 6), (6, 7)])

    def test_layers_that_are_no_split(self):
        for layers, words in (("0-3,5-6", "rank 1 must begin with layer 4"),
                              ("0-3", "7 layers"), ("0-3,4-9", "0 to 6"), ("1-6", "begin with")):
            with self.subTest(layers=layers):
                self.assertIn(words, self.refused("--layers", layers, code=2))
        self.assertIn("--layers: 2 ranges, and 3 ranks",
                      self.refused("--layers", "0-3,4-6", "--ranks", 3, code=2))

    def test_a_small_machine_holds_few_layers(self):
        even = self.layers("--hosts", ",".join(self.two()), "--ranks", 2)
        self.assertEqual(even, [(0, 4), (4, 7)])
        # The margin alone is 12 MB; the model's head and a layer are small beside it.
        small = None
        for kilobytes in range(12_600, 16_000, 100):
            _, one = self.worker("--listen", f"127.0.0.1:{harness.free_port()}", "--memory",
                                 f"{kilobytes}K")
            _, two = self.worker()
            done = self.start("generate", self.model, "--prompt-ids", harness.PROMPT,
                              "--max-tokens", 8, "--json", "--hosts", f"{one},{two}",
                              "--ranks", 2)
            out, error = done.communicate(timeout=harness.DEADLINE)
            if done.returncode == 0:
                small = json.loads(out)
                break
            self.assertEqual(done.returncode, 1, error)
            self.assertIn("no split of its layers fits", error.decode())
        self.assertIsNotNone(small, "some memory is enough")
        self.assertEqual(small["ids"], self.alone)
        first, last = small["ranks"][0]["layers"]
        self.assertLess(last - first, 4, "fewer than an even split gives it")

    def test_hosts_that_are_too_small_are_refused_before_anything_loads(self):
        hosts = ",".join(self.two("--memory", "1M"))
        error = self.refused("--hosts", hosts, "--ranks", 2, code=1)
        self.assertIn("rank 1 1.00 MB", error)
        self.assertIn("one more host", error)

    def test_a_worker_keeps_to_its_owner(self):
        hosts = self.two("--device", "cpu", "--threads", 1)
        self.layers("--hosts", ",".join(hosts))
        error = self.refused("--hosts", ",".join(hosts), "--device", "cpu,gpu", code=2)
        self.assertIn("rank 1 ", error)
        self.assertIn("--device cpu", error)

    def test_host_files_say_it_for_each_host(self):
        one, two = self.two()
        path = self.hostfile(self.entry(one, layers="0-1", threads=1, kv_memory="4M"),
                             self.entry(two, layers="2-6", device="cpu", memory="400M"))
        self.assertEqual(self.layers("--hostfile", path), [(0, 2), (2, 7)])
        path = self.hostfile(self.entry(one, layers="0-1"), self.entry(two))
        self.assertIn("for all hosts or for none", self.refused("--hostfile", path, code=2))
        path = self.hostfile(self.entry(one, memory="much"))
        self.assertIn("memory", self.refused("--hostfile", path, code=2))

    def test_a_host_that_only_costs_time_is_left_out_in_a_line(self):
        hosts = self.two()
        done = subprocess.run([Options.tandem, "generate", self.model, "--prompt-ids",
                               harness.PROMPT, "--max-tokens", "2", "--hosts", ",".join(hosts)],
                              capture_output=True, text=True, timeout=harness.DEADLINE)
        self.assertEqual(done.returncode, 0, done.stderr)
        plans = [line for line in done.stderr.splitlines() if line.startswith("plan: ")]
        self.assertEqual(len(plans), 1, done.stderr)
        self.assertRegex(plans[0], r"layers 0-6; .* tok/s expected of one stream")
        self.assertRegex(plans[0], "left out, for it is faster without: 127.0.0.1:")
        self.assertEqual(len(self.layers("--hosts", ",".join(hosts))), 1)

    def test_local_ranks_are_never_left_out(self):
        for ranks in (2, 4, 7):
            self.assertEqual(len(self.layers("--ranks", ranks)), ranks)

    def test_plan_asks_the_workers(self):
        _, plain = self.worker()
        address = f"127.0.0.1:{harness.free_port()}"
        measured = self.start("worker", "--listen", address)
        line = measured.stderr.readline().decode()
        self.assertRegex(line, r"read .* GB/s .* and multiply at .* GFLOPS each|not measured")
        self.assertIn("waiting for a gateway", measured.stderr.readline().decode())
        hosts = [plain, address]

        def plan(*more, code=0):
            done = subprocess.run([Options.tandem, "plan", self.model, "--hosts", ",".join(hosts),
                                   "--json", *more], capture_output=True, text=True,
                                  timeout=harness.DEADLINE)
            self.assertEqual(done.returncode, code, done.stderr)
            return json.loads(done.stdout)
        report = plan()
        self.assertTrue(report["fits"])
        self.assertEqual([host["host"] for host in report["hosts"]], hosts)
        self.assertEqual([host["measured"] for host in report["hosts"]],
                         [False, "not measured" not in line])
        for host in report["hosts"]:
            self.assertGreater(host["bandwidth_gbs"], 0)
            self.assertGreater(host["latency_ms"], 0)
            self.assertGreater(host["memory_bytes"], 0)
        named = plan("--layers", "0-1,2-6")
        self.assertEqual([(stage["host"], stage["layers"]) for stage in named["stages"]],
                         [(hosts[0], [0, 2]), (hosts[1], [2, 7])])
        path = self.hostfile(*(self.entry(host) for host in hosts))
        done = subprocess.run([Options.tandem, "plan", self.model, "--hostfile", path],
                              capture_output=True, text=True, timeout=harness.DEADLINE)
        self.assertIn("not measured: usual figures", done.stdout)
        self.assertIn("limited by: ", done.stdout)

    def test_kv_memory_bounds_the_context(self):
        error = self.refused("--kv-memory", "1K", code=1)
        self.assertIn("KV memory", error)
        self.layers("--kv-memory", "64M")


if __name__ == "__main__":
    harness.main()
