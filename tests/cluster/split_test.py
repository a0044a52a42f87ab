"""The same prompt gives the same tokens however the layers are split, by both transports."""

import harness
import tiny_model


class Split(harness.ClusterTest):
    def test_same_tokens_with_any_number_of_ranks(self):
        for sampling in ((), ("--temp", 0.9, "--top-p", 0.95, "--seed", 11)):
            alone = self.generate(*sampling)
            for ranks in (2, 3, 5, 7):
                with self.subTest(ranks=ranks, sampling=sampling):
                    split = self.generate("--ranks", ranks, *sampling)
                    self.assertEqual(split["ids"], alone["ids"])

    def test_same_tokens_by_the_mlx_transport(self):
        alone = self.generate(tokens=8)
        for ranks in (2, 3):
            with self.subTest(ranks=ranks):
                split = self.generate("--ranks", ranks, "--transport", "mlx", tokens=8)
                self.assertEqual(split["ids"], alone["ids"])

    def test_every_layer_is_on_exactly_one_rank(self):
        for ranks in (2, 3, 5, 7):
            report = self.generate("--ranks", ranks, tokens=1)["ranks"]
            edges = [rank["layers"] for rank in report]
            self.assertEqual([rank["rank"] for rank in report], list(range(ranks)))
            self.assertEqual(edges[0][0], 0)
            self.assertEqual(edges[-1][1], 7)
            for before, behind in zip(edges, edges[1:]):
                self.assertEqual(before[1], behind[0])
            for first, last in edges:
                self.assertLess(first, last)
            for rank in report:
                self.assertGreater(rank["memory_bytes"], 0)

    def test_small_prefill_chunks_change_nothing(self):
        prompt = ",".join(str(i * 7 % 256) for i in range(200))
        whole = self.generate(prompt=prompt)
        chunked = self.generate("--ranks", 3, "--prefill-step-size", 16, prompt=prompt)
        self.assertEqual(whole["ids"], chunked["ids"])

    def test_more_ranks_than_layers_names_both_numbers(self):
        error = self.refused("--ranks", 8, code=2)
        self.assertIn("8 ranks", error)
        self.assertIn("7 layers", error)


class RecurrentSplit(harness.ClusterTest):
    """States of recurrent layers lie where these do; the first rank may have nothing else."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.model = tiny_model.write(cls.folder / "recurrent", recurrent=True)

    def test_same_tokens_with_any_ranks_and_chunks(self):
        prompt = ",".join(str(i * 7 % 256) for i in range(200))
        for sampling in ((), ("--temp", 0.9, "--top-p", 0.95, "--seed", 11)):
            alone = self.generate(*sampling, prompt=prompt)
            for ranks, step in ((2, 2048), (3, 16), (7, 50)):
                with self.subTest(ranks=ranks, sampling=sampling):
                    split = self.generate("--ranks", ranks, "--prefill-step-size", step, *sampling,
                                          prompt=prompt)
                    self.assertEqual(split["ids"], alone["ids"])


if __name__ == "__main__":
    harness.main()
