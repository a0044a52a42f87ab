"""`tandem bench`: the figures are there and make sense."""

import program


class Bench(program.ProgramTest):
    def spread(self, value):
        self.assertEqual(list(value), ["median", "min", "max"])
        self.assertLessEqual(value["min"], value["median"])
        self.assertLessEqual(value["median"], value["max"])
        self.assertGreater(value["min"], 0)

    def test_a_model(self):
        got = self.json("bench", self.model, "-p", 16, "-n", 8, "-r", 3, "--ranks", 2,
                        "--concurrency", 3, "--threads", 1)
        self.spread(got["prompt_tps"])
        self.spread(got["decode_tps"])
        self.assertEqual((got["prompt_tokens"], got["generate_tokens"], got["repeats"],
                          got["concurrency"]), (16, 8, 3, 3))
        self.assertEqual(len(got["ranks"]), 2)
        self.assertEqual(got["memory_bytes"], sum(rank["memory_bytes"] for rank in got["ranks"]))
        weights = (self.model / "model.safetensors").stat().st_size
        self.assertLess(got["weight_bytes_per_token"], 1.1 * weights)
        self.assertGreater(got["weight_bytes_per_token"], 0.5 * weights)
        self.assertAlmostEqual(
            got["bandwidth_tps"], got["read_bytes_per_second"] / got["weight_bytes_per_token"],
            delta=1e-6 * got["bandwidth_tps"])

    def test_one_token_is_no_decode(self):
        self.assertIsNone(self.json("bench", self.model, "-p", 4, "-n", 1, "-r", 1)["decode_tps"])

    def test_contexts(self):
        got = self.json("bench", self.model, "--contexts", "100,40", "-n", 4, "-r", 2,
                        "--threads", 1)
        self.assertEqual([context["tokens"] for context in got["contexts"]], [100, 40])
        for context in got["contexts"]:
            for name in ("short_decode_tps", "decode_tps", "read_bytes_per_second"):
                self.spread(context[name])
            cost = context["cost"]
            self.assertLessEqual(cost["min"], cost["median"])
            self.assertLess(cost["max"], 1)
        self.assertEqual((got["generate_tokens"], got["repeats"]), (4, 2))
        text = self.output("bench", self.model, "--contexts", "64", "-n", 4, "-r", 1).decode()
        self.assertRegex(text, r"^after +64 tokens: +[0-9.]+ tok/s .*; after 16 [0-9.]+; "
                               r"cost -?[0-9.]+ % .*; memory read .*/s\n$")

    def test_kv_in_eight_bits_takes_fewer_bytes(self):
        def bytes_of(*flags):
            return self.json("bench", self.model, "--contexts", "20", "-n", 2, "-r", 1,
                             *flags)["kv_bytes_per_token"]

        usual = bytes_of()
        quantized = bytes_of("--kv-bits", 8)
        self.assertLess(quantized, 0.6 * usual)
        self.assertEqual(quantized, bytes_of("--kv-bits", 8, "--ranks", 2))

    def test_people_get_lines(self):
        text = self.output("bench", self.model, "-p", 16, "-n", 8, "-r", 1).decode()
        self.assertRegex(text, r"prompt +16 tokens: +[0-9.]+ tok/s")
        self.assertRegex(text, r"decode +8 tokens: +[0-9.]+ tok/s")
        self.assertRegex(text, r"memory read: .*/s, which allows [0-9.]+ tok/s")

    def test_memory(self):
        runs = self.json("bench", "memory", "--megabytes", 64, "-r", 2)["memory"]["runs"]
        self.assertEqual(runs[0]["threads"], 1)
        for run in runs:
            self.spread(run["read_bytes_per_second"])
            self.assertGreater(run["read_bytes_per_second"]["max"], 5e8)
        self.assertRegex(self.output("bench", "memory", "--megabytes", 64, "--threads", 2).decode(),
                         r"^2 threads: [0-9.]+ [GM]B/s")

    def test_link(self):
        for flags in ((), ("--tls",), ("--transport", "mlx")):
            got = self.json("bench", "link", "--payloads", "64,4096", "--round-trips", 20, *flags)
            self.assertEqual([payload["bytes"] for payload in got["payloads"]], [64, 4096])
            for payload in got["payloads"]:
                self.assertEqual(payload["round_trips"], 20)
                self.assertGreater(payload["one_way_us"], 0)
                self.assertGreater(payload["bytes_per_second"], 0)
            self.assertEqual(got["tls"], "--tls" in flags)


if __name__ == "__main__":
    program.main()
