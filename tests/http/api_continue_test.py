"""Continue against `tandem serve`: its command line `cn`, without the editor."""

import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import unittest

import api_server

ROOT = pathlib.Path(__file__).parent.parent.parent
CN = ROOT / ".deps/http-npm/node_modules/@continuedev/cli/dist/cn.js"
MODEL = ROOT / "models/tandem-demo"
CONFIG = """\
name: tandem
version: 0.0.1
schema: v1
models:
  - name: tandem-demo
    provider: openai
    model: tandem-demo
    apiBase: {url}/v1
    apiKey: none
    roles: [chat, edit, apply]
"""
# Shows tools to the model, which the demo's own does not.
TEMPLATE = """\
<|begin|>{% if tools %}<|user|>{{ tools | tojson }}{% endif %}{% for message in messages %}\
{% if message.role == 'assistant' %}<|assistant|>{{ message.content }}\
{% for call in message.tool_calls or [] %}<tool_call>{{ call.function | tojson }}</tool_call>\
{% endfor %}<|end|>\
{% else %}<|user|>{{ message.content }}{% endif %}{% endfor %}<|assistant|>"""


def tool_model(folder):
    """The demo's weights as a model with tools and room for them."""
    shutil.copytree(MODEL, folder)
    for name, changes in (("config.json", {"max_position_embeddings": 16384}),
                          ("tokenizer_config.json", {"chat_template": TEMPLATE})):
        file = folder / name
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


class Continue(unittest.TestCase):
    def setUp(self):
        self.assertTrue(CN.is_file(), "tools/setup/setup.sh test installs it")
        self.home = tempfile.TemporaryDirectory()
        self.addCleanup(self.home.cleanup)

    def ask(self, server, *arguments):
        config = pathlib.Path(self.home.name) / "config.yaml"
        config.write_text(CONFIG.format(url=server.url))
        done = subprocess.run(
            ["node", CN, "--config", config, *arguments, "-p", "What is the package nginx?"],
            cwd=self.home.name, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=api_server.DEADLINE,
            env={"PATH": os.environ["PATH"], "HOME": self.home.name, "CI": "1",
                 "CONTINUE_TELEMETRY_ENABLED": "0"})
        return done.returncode, done.stdout + done.stderr

    def serve(self, *arguments):
        server = api_server.Server(*arguments)
        self.addCleanup(server.kill)
        return server

    def test_a_question_is_answered(self):
        code, printed = self.ask(self.serve(), "--exclude", "*")
        self.assertEqual((code, printed.strip()),
                         (0, "nginx: small, powerful, scalable web/proxy server."))

    def test_a_model_without_tools_says_so(self):
        code, printed = self.ask(self.serve())
        self.assertNotEqual(code, 0, printed)
        self.assertIn("chat template shows it no tools", printed)

    def test_its_tools_reach_the_model(self):
        folder = pathlib.Path(self.home.name) / "model"
        tool_model(folder)
        server = self.serve(folder, "--model-name", "tandem-demo", "--log-prompts")
        code, printed = self.ask(server)
        self.assertEqual(code, 0, printed)
        line = server.wait_for(r" POST /v1/chat/completions 200 .* stream ")
        self.assertIn(r'"name\": \"Read\"', line)


if __name__ == "__main__":
    api_server.main()
