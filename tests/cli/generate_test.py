"""`tandem generate`: prompts, sampling, output, interruption."""

import json
import os
import re
import signal
import subprocess
import time

import program


class Generate(program.ProgramTest):
    def generate(self, *arguments, tokens=12, **options):
        return self.json("generate", self.model, "-m", tokens, *arguments, **options)

    def test_json_is_one_object_with_the_documented_fields(self):
        text = self.output("generate", self.model, "-p", "hi", "-m", 5, "--json").decode()
        self.assertEqual(text.count("\n"), 1)
        answer = json.loads(text)
        self.assertEqual(list(answer), ["text", "ids", "finish_reason", "prompt_tokens",
                                        "completion_tokens", "prompt_tps", "decode_tps", "ranks"])
        self.assertEqual(answer["prompt_tokens"], 2)
        self.assertEqual(answer["completion_tokens"], 5)
        self.assertEqual(len(answer["ids"]), 5)
        self.assertEqual(answer["finish_reason"], "length")
        self.assertGreater(answer["prompt_tps"], 0)
        self.assertGreater(answer["decode_tps"], 0)
        rank, = answer["ranks"]
        self.assertEqual(list(rank), ["rank", "layers", "memory_bytes"])
        self.assertEqual(rank["layers"], [0, 3])
        self.assertGreater(rank["memory_bytes"], 1 << 20)

    def test_ranks_are_listed_with_half_open_layers(self):
        ranks = self.generate("-p", "hi", "--ranks", 2)["ranks"]
        self.assertEqual([rank["rank"] for rank in ranks], [0, 1])
        self.assertEqual(ranks[0]["layers"][0], 0)
        self.assertEqual(ranks[0]["layers"][1], ranks[1]["layers"][0])
        self.assertEqual(ranks[1]["layers"][1], 3)

    def test_prompts_from_everywhere_are_the_same(self):
        by_flag = self.generate("-p", "a\\nb\\tc")["ids"]
        self.assertEqual(self.generate("-p", "-", stdin=b"a\nb\tc")["ids"], by_flag)
        self.assertEqual(self.generate(stdin=b"a\nb\tc")["ids"], by_flag)
        self.assertEqual(self.generate("--prompt-ids", "97,198,98,197,99")["ids"],
                         self.generate("--prompt-ids", "97,198,98,197,99")["ids"])

    def test_prompt_ids_are_used_as_they_are(self):
        letters = [self.letter(c) for c in "hello"]
        self.assertEqual(self.generate("--prompt-ids", ",".join(letters))["ids"],
                         self.generate("-p", "hello", "--ignore-chat-template")["ids"])

    def letter(self, c):
        tokenizer = json.loads((self.model / "tokenizer.json").read_text())
        return str(tokenizer["model"]["vocab"][c])

    def test_system_prompt_and_prefill_reach_the_template(self):
        joined = self.generate("-p", "bc", "--system-prompt", "a")["ids"]
        self.assertEqual(joined, self.generate("-p", "abc")["ids"])
        self.assertEqual(self.generate("-p", "ab", "--prefill-response", "c")["ids"], joined)

    def test_chat_template_config_reaches_the_template(self):
        model = self.variant("kwargs", tokenizer_config__json=json.dumps(
            {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>",
             "chat_template": "{{ word }}{{ messages[0]['content'] }}"}))
        got = self.json("generate", model, "-p", "c", "-m", 8, "--chat-template-config",
                        '{"word": "ab"}')
        self.assertEqual(got["ids"], self.generate("-p", "abc", tokens=8)["ids"])

    def test_greedy_is_repeatable_and_the_first_tokens_do_not_depend_on_the_limit(self):
        long = self.generate("-p", "hello", tokens=40)["ids"]
        self.assertEqual(self.generate("-p", "hello", tokens=7)["ids"], long[:7])

    def test_seeds_decide_the_draws(self):
        flags = ("-p", "hello", "--temp", 1.5)
        one = self.generate(*flags, "--seed", 1, tokens=30)["ids"]
        self.assertEqual(self.generate(*flags, "--seed", 1, tokens=30)["ids"], one)
        self.assertNotEqual(self.generate(*flags, "--seed", 2, tokens=30)["ids"], one)
        free = {tuple(self.generate(*flags, tokens=30)["ids"]) for _ in range(3)}
        self.assertEqual(len(free), 3)

    def test_top_k_one_is_greedy_at_any_temperature(self):
        self.assertEqual(self.generate("-p", "x", "--temp", 2, "--top-k", 1)["ids"],
                         self.generate("-p", "x")["ids"])

    def test_an_extra_eos_token_ends_the_answer_and_is_not_printed(self):
        letters = json.loads((self.model / "tokenizer.json").read_text())["model"]["vocab"]
        names = {index: letter for letter, index in letters.items()}
        ids = self.generate("-p", "hello", tokens=30)["ids"]
        stop = ids[4]
        answer = self.generate("-p", "hello", "--extra-eos-token", names[stop], tokens=30)
        self.assertEqual(answer["ids"], ids[:ids.index(stop) + 1])
        self.assertEqual(answer["finish_reason"], "stop")
        self.assertEqual(answer["completion_tokens"], len(answer["ids"]))

    def test_without_a_limit_the_context_is_the_limit(self):
        config = json.loads((self.model / "config.json").read_text())
        config["max_position_embeddings"] = 100
        model = self.variant("short", config__json=json.dumps(config))
        answer = self.json("generate", model, "-p", "hello", "-m", -1)
        self.assertEqual(answer["prompt_tokens"] + answer["completion_tokens"], 100)
        self.assertEqual(answer["finish_reason"], "length")

    def test_people_see_ranks_answer_and_speed(self):
        done = self.run_tandem("generate", self.model, "-p", "hi", "-m", 20, "--ranks", 2)
        errors = done.stderr.decode()
        for words in (r"rank 0: loaded [0-9.]+ kB", r"rank 0 on [\w.:]+: layers? 0",
                      r"rank 1 on [\w.:]+: layers? \d", r"prompt: 2 tokens, [0-9.]+ tok/s",
                      r"answer: 20 tokens, [0-9.]+ tok/s", r"memory: [0-9.]+ [MG]B in 2 ranks"):
            self.assertRegex(errors, words)
        self.assertNotIn("loaded 0 B", errors)
        self.assertEqual(done.stdout.decode(), self.generate("-p", "hi", tokens=20)["text"] + "\n")

    def test_not_verbose_is_the_answer_only(self):
        done = self.run_tandem("generate", self.model, "-p", "hi", "-m", 20, "--verbose", "False")
        self.assertEqual(done.stderr, b"")
        self.assertEqual(done.stdout.decode(), self.generate("-p", "hi", tokens=20)["text"] + "\n")

    def test_text_is_streamed_and_is_whole_utf8_at_every_moment(self):
        process = self.start("generate", self.model, "-p", "hi", "-m", 20000)
        seen = b""
        for _ in range(20):
            seen += os.read(process.stdout.fileno(), 1 << 16)
            seen.decode()  # raises on half a character
        self.assertIsNone(process.poll(), "the whole answer came at once")

    def test_ctrl_c_ends_cleanly(self):
        for ranks in (1, 2):
            process = self.start("generate", self.model, "-p", "hi", "-m", 60000, "--ranks", ranks,
                                 start_new_session=True)
            os.read(process.stdout.fileno(), 1)
            begin = time.monotonic()
            os.killpg(process.pid, signal.SIGINT)  # a terminal tells the whole group
            _, errors = process.communicate(timeout=program.DEADLINE)
            self.assertEqual(process.returncode, 130, errors)
            self.assertLess(time.monotonic() - begin, 10)
            self.assertNotIn(b"error", errors)

    def test_a_model_of_the_hugging_face_cache_is_found_by_name(self):
        hub = self.folder / "hub" / "models--org--tiny"
        (hub / "refs").mkdir(parents=True)
        (hub / "refs" / "main").write_text("0123abcd")
        (hub / "snapshots").mkdir()
        (hub / "snapshots" / "0123abcd").symlink_to(self.model)
        answer = self.json("generate", "org/tiny", "-p", "hi", "-m", 12,
                           env={"HF_HUB_CACHE": str(self.folder / "hub")})
        self.assertEqual(answer["ids"], self.generate("-p", "hi")["ids"])

    def test_prefill_in_steps_changes_nothing(self):
        prompt = "the quick brown fox jumps over the lazy dog " * 8
        whole = self.generate("-p", prompt)["ids"]
        for step in (1, 7, 64):
            self.assertEqual(self.generate("-p", prompt, "--prefill-step-size", step)["ids"], whole)

    def test_threads_and_instruction_sets_are_accepted(self):
        one = self.generate("-p", "hello", "--threads", 1)["ids"]
        self.assertEqual(self.generate("-p", "hello", "--threads", 3)["ids"], one)
        self.generate("-p", "hello", "--cpu-isa", "portable")
        self.generate("-p", "hello", "--mlx-kernels", "--activations", "f32")

    def test_help_and_version(self):
        self.assertRegex(self.output("--version").decode(), r"^tandem \d+\.\d+\.\d+\n$")
        text = self.output("--help").decode()
        for word in ("generate", "chat", "score", "bench", "worker", "Examples"):
            self.assertIn(word, text)
        flags = self.output("generate", "--help").decode()
        for flag in ("--max-tokens", "--temp", "--top-p", "--min-p", "--top-k", "--xtc-probability",
                     "--xtc-threshold", "--min-tokens-to-keep", "--seed", "--system-prompt",
                     "--prefill-response", "--ignore-chat-template", "--chat-template-config",
                     "--extra-eos-token", "--verbose", "--ranks", "--hosts", "--hostfile",
                     "--transport", "--prompt-ids", "--json", "--prefill-step-size", "--device",
                     "--activations", "--cpu-isa", "--threads"):
            self.assertIn(flag, flags)
        self.assertEqual(len(re.findall(r"(?m)^Examples:", flags)), 1)


class Reader(program.ProgramTest):
    def test_a_reader_that_goes_away_ends_the_run_with_a_line(self):
        process = self.start("generate", self.model, "-p", "hi", "-m", 60000)
        os.read(process.stdout.fileno(), 1)
        process.stdout.close()
        errors = process.stderr.read().decode()
        self.assertEqual(process.wait(timeout=program.DEADLINE), 1)
        self.assertIn("tandem: error: standard output cannot be written", errors)

    def test_a_full_disk_is_reported(self):
        with open("/dev/full", "wb") as full:
            done = subprocess.run([program.Options.tandem, "generate", self.model, "-p", "hi"],
                                  stdout=full, stderr=subprocess.PIPE, timeout=program.DEADLINE)
        self.assertIn("standard output cannot be written", self.error_line(done, 1))

    def test_a_closed_output_is_reported(self):
        done = self.run_tandem("generate", self.model, "-p", "hi", preexec_fn=lambda: os.close(1))
        self.assertIn("standard output cannot be written", self.error_line(done, 1))


if __name__ == "__main__":
    program.main()
