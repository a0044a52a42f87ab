"""`tandem score`: log-probabilities that add up and round-trip."""

import json
import math
import struct

import program


class Score(program.ProgramTest):
    def score(self, ids, *arguments, **options):
        file = self.folder / "score.json"
        file.write_text(json.dumps(ids))
        return self.json("score", self.model, "--ids", file, *arguments, **options)["tokens"]

    def test_fields(self):
        tokens = self.score([5, 17, 200], "--top-logprobs", 3)
        self.assertEqual([token["id"] for token in tokens], [5, 17, 200])
        self.assertIsNone(tokens[0]["logprob"])
        self.assertEqual(tokens[0]["top"], [])
        for token in tokens[1:]:
            self.assertEqual(list(token), ["id", "logprob", "top"])
            self.assertLess(token["logprob"], 0)
            self.assertEqual(len(token["top"]), 3)
            values = [candidate["logprob"] for candidate in token["top"]]
            self.assertEqual(values, sorted(values, reverse=True))

    def test_all_candidates_are_a_distribution(self):
        for token in self.score([1, 2, 3, 4], "--top-logprobs", program.VOCABULARY)[1:]:
            by_id = {candidate["id"]: candidate["logprob"] for candidate in token["top"]}
            self.assertEqual(sorted(by_id), list(range(program.VOCABULARY)))
            self.assertAlmostEqual(sum(map(math.exp, by_id.values())), 1, places=4)
            self.assertEqual(by_id[token["id"]], token["logprob"])

    def test_numbers_are_the_shortest_that_name_the_float(self):
        for token in self.score(list(range(50)), "--top-logprobs", 5)[1:]:
            for value in [token["logprob"], *(top["logprob"] for top in token["top"])]:
                as_float, = struct.unpack("f", struct.pack("f", value))
                self.assertLessEqual(len(repr(value).strip("-0.").replace(".", "")), 9)
                again, = struct.unpack("f", struct.pack("f", float(repr(value))))
                self.assertEqual(again, as_float)

    def test_the_likeliest_candidate_is_the_greedy_token(self):
        prompt = [7, 8, 9]
        drawn = self.json("generate", self.model, "--prompt-ids", "7,8,9", "-m", 10)["ids"]
        tokens = self.score(prompt + drawn, "--top-logprobs", 1)
        self.assertEqual([token["top"][0]["id"] for token in tokens[len(prompt):]], drawn)

    def test_chunks_and_ranks_change_no_bit(self):
        ids = [(i * 37) % program.VOCABULARY for i in range(90)]
        whole = self.score(ids, "--top-logprobs", 2)
        self.assertEqual(self.score(ids, "--top-logprobs", 2, "--prefill-step-size", 7), whole)
        self.assertEqual(self.score(ids, "--top-logprobs", 2, "--ranks", 2), whole)

    def test_one_token_has_no_probability(self):
        self.assertEqual(self.score([4]), [{"id": 4, "logprob": None, "top": []}])

    def test_ids_from_standard_input(self):
        printed = self.json("score", self.model, "--ids", "-", stdin=b"[1, 2]")
        self.assertEqual(len(printed["tokens"]), 2)

    def test_people_get_a_table_with_the_perplexity(self):
        file = self.folder / "table.json"
        file.write_text("[1, 2, 3]")
        text = self.output("score", self.model, "--ids", file).decode()
        tokens = self.score([1, 2, 3])
        mean = sum(token["logprob"] for token in tokens[1:]) / 2
        self.assertRegex(text, r"(?m)^perplexity [0-9.]+ over 2 tokens$")
        self.assertAlmostEqual(float(text.split()[-4]) / math.exp(-mean), 1, places=5)


if __name__ == "__main__":
    program.main()
