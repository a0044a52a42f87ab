"""Every user's mistake: one line that names what and why, exit code 2."""

import json
import os
import pathlib
import socket
import subprocess

import program


class Errors(program.ProgramTest):
    def names(self, words, *arguments, **options):
        line = self.refused(*arguments, **options)
        for word in words:
            self.assertIn(word, line)

    def generate_names(self, words, *arguments, **options):
        self.names(words, "generate", self.model, *arguments, **options)

    def test_commands_and_flags(self):
        self.names(["fly", "is not a command"], "fly")
        self.names(["--what"], "generate", "--what")
        self.names(["--top-p"], "generate", "--top-p", "2")
        self.names(["--max-tokens"], "generate", "-m", "0")
        self.names(["--json"], "generate", "--json=3")
        self.names(["--ids"], "score")
        self.names(["subcommand"], "--")

    def test_a_model_that_is_not_there_says_where_it_looked(self):
        self.names(["./nowhere", "no such folder"], "generate", "./nowhere", "-p", "x")
        self.names(["org/none", "models--org--none"], "generate", "org/none", "-p", "x")
        self.names(["must be a model folder"], "generate", self.model / "config.json", "-p", "x")

    def test_prompts(self):
        self.generate_names(["--prompt", "empty"], "-p", "")
        self.generate_names(["standard input", "empty"], "-p", "-")
        self.generate_names(["--prompt", "UTF-8"], "-p", b"a\xff")
        self.generate_names(["standard input", "UTF-8"], stdin=b"\xc3")
        self.generate_names(["--extra-eos-token", "nonsense"], "-p", "x", "--extra-eos-token",
                            "nonsense")

    def test_text_flags_are_utf8(self):
        self.generate_names(["--system-prompt", "UTF-8"], "-p", "x", "--system-prompt", b"\xff")
        self.generate_names(["--prefill-response", "UTF-8"], "-p", "x", "--prefill-response",
                            b"\xc3")
        self.generate_names(["--chat-template-config"], "-p", "x", "--chat-template-config",
                            b'{"a": "\xff"}')
        self.generate_names(["--extra-eos-token"], "-p", "x", "--extra-eos-token", b"\xff")

    def test_prompt_ids(self):
        for bad in ("", "1,", "1,,2", "a", "-1", "2147483648", "1, 2"):
            self.generate_names(["--prompt-ids"], "--prompt-ids", bad)
        self.generate_names(["258", "vocabulary"], "--prompt-ids", "1,258")

    def test_unreadable_standard_input(self):
        closed = self.run_tandem("generate", self.model, stdin=None,
                                 preexec_fn=lambda: os.close(0))
        self.assertIn("standard input cannot be read", self.error_line(closed, 2))
        folder = os.open(self.folder, os.O_RDONLY)
        self.addCleanup(os.close, folder)
        done = subprocess.run([program.Options.tandem, "generate", self.model], stdin=folder,
                              capture_output=True, timeout=program.DEADLINE)
        self.assertIn("standard input cannot be read", self.error_line(done, 2))

    def test_a_prompt_longer_than_the_context(self):
        config = json.loads((self.model / "config.json").read_text())
        config["max_position_embeddings"] = 16
        model = self.variant("context", config__json=json.dumps(config))
        self.names(["16 tokens"], "generate", model, "-p", "a" * 16)
        self.names(["16 tokens", "ids.json"], "score", model, "--ids",
                   self.ids(list(range(17))))

    def ids(self, value):
        file = self.folder / "ids.json"
        file.write_text(value if isinstance(value, str) else json.dumps(value))
        return file

    def test_more_ranks_than_layers(self):
        self.generate_names(["4", "3 layers"], "-p", "x", "--ranks", 4)

    def test_flags_without_a_meaning_are_not_ignored(self):
        bare = self.variant("bare", tokenizer_config__json=json.dumps(
            {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>"}))
        self.names(["--system-prompt", "chat template"], "generate", bare, "-p", "x",
                   "--system-prompt", "y")
        self.names(["chat template"], "chat", bare)
        self.generate_names(["--prefill-response"], "-p", "x", "--ignore-chat-template",
                            "--prefill-response", "y")
        for flags in (["--insecure"], ["--mlx-backend", "ring"], ["--transport", "mlx"],
                      ["--cpu-isa", "portable", "--mlx-kernels"], ["--verbose", "True", "--json"]):
            self.generate_names([flags[0], "has no meaning"], "-p", "x", *flags)
        self.names(["--ranks", "bench memory"], "bench", "--ranks", 2, "memory")
        self.generate_names(["--min-p", "below 1"], "-p", "x", "--min-p", 1)
        self.generate_names(["--hostfile", "--hosts"], "-p", "x", "--hosts", "a", "--hostfile", "b")

    def test_a_template_that_refuses_the_messages(self):
        model = self.variant("raising", tokenizer_config__json=json.dumps(
            {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>",
             "chat_template": "{{ raise_exception('no system message please') }}"}))
        self.names(["no system message please"], "generate", model, "-p", "x")

    def test_ids_files(self):
        score = ("score", self.model, "--ids")
        self.names(["--ids", "missing.json"], *score, self.folder / "missing.json")
        for bad in ("", "[]", "{}", "[1,]", "[-1]", "[1.5]", '["1"]', "[1] x", "\xff"):
            self.names(["--ids", "ids.json"], *score, self.ids(bad))
        self.names(["--ids", "999", "vocabulary"], *score, self.ids([1, 999]))
        self.names(["--ids"], *score, self.folder)

    def test_model_files(self):
        self.names(["config.json"], "generate", self.variant("c0", config__json=None), "-p", "x")
        self.names(["config.json"], "generate", self.variant("c1", config__json="{"), "-p", "x")
        self.names(["tokenizer.json"], "generate", self.variant("t0", tokenizer__json=None),
                   "-p", "x")
        self.names(["tokenizer.json"], "generate", self.variant("t1", tokenizer__json="[]"),
                   "-p", "x")
        self.names(["safetensors"], "generate", self.variant("w0", model__safetensors=None),
                   "-p", "x")
        self.names(["model.safetensors"], "generate", self.variant("w1", model__safetensors="x"),
                   "-p", "x")
        config = json.loads((self.model / "config.json").read_text())
        config["model_type"] = "lama"
        self.names(["lama", "llama"], "generate",
                   self.variant("m0", config__json=json.dumps(config)), "-p", "x")

    def test_truncated_weights(self):
        model = self.variant("cut")
        weights = model / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-100])
        self.names(["model.safetensors"], "generate", model, "-p", "x")

    def test_hosts(self):
        self.generate_names(["--hosts", "0"], "-p", "x", "--hosts", "a:0")
        self.generate_names(["/no/such/hosts.json"], "-p", "x", "--hostfile", "/no/such/hosts.json")
        self.generate_names(["--ranks", "host"], "-p", "x", "--hosts", "127.0.0.1:1", "--ranks", 2)

    def test_a_worker_port_in_use(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            line = self.refused("worker", "--listen", f"127.0.0.1:{port}", code=1)
        self.assertIn(str(port), line)

    def test_a_message_is_one_line_of_plain_text(self):
        line = self.refused("generate", b"no\nsuch\x1b[31mmodel/x", "-p", "x")
        self.assertTrue(line.isprintable(), line)
        line = self.refused("generate", b"/tmp/\xff", "-p", "x")
        self.assertIn("UTF-8", line)
        self.assertTrue(line.isprintable(), line)


class EmbeddedModel(program.ProgramTest):
    def test_without_a_model_the_embedded_one_answers_or_its_places_are_named(self):
        done = self.run_tandem("generate", "-p", "hello", "-m", 2)
        if done.returncode == 0:
            self.assertIn(b"rank 0", done.stderr)
            return
        line = self.error_line(done, 2)
        self.assertIn("tandem-demo", line)
        self.assertIn(str(pathlib.Path("share/tandem/models")), line)


if __name__ == "__main__":
    program.main()
