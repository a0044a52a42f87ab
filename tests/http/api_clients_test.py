"""LangChain, LiteLLM and llm against `tandem serve`."""

import os
import pathlib
import subprocess
import sys
import tempfile

import langchain_openai

import api_server

# Without it the import below asks the network for prices.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm  # noqa: E402

MODEL = "tandem-demo"
QUESTION = "What is the package nginx?"


class Clients(api_server.ServerTest):
    def setUp(self):
        self.plain = self.answer("/v1/chat/completions", self.chat(QUESTION))
        self.text = self.plain["choices"][0]["message"]["content"]

    def test_langchain(self):
        model = langchain_openai.ChatOpenAI(
            model=MODEL, base_url=self.server.url + "/v1", api_key="none", temperature=0,
            max_tokens=12, timeout=api_server.DEADLINE)
        message = model.invoke(QUESTION)
        self.assertEqual(message.content, self.text)
        self.assertEqual(message.usage_metadata["input_tokens"],
                         self.plain["usage"]["prompt_tokens"])
        self.assertEqual("".join(chunk.content for chunk in model.stream(QUESTION)), self.text)
        self.assertEqual([m.content for m in model.batch([QUESTION] * 3)], [self.text] * 3)

    def test_litellm(self):
        arguments = {"model": "openai/" + MODEL, "api_base": self.server.url + "/v1",
                     "api_key": "none", "temperature": 0, "max_tokens": 12,
                     "messages": [{"role": "user", "content": QUESTION}]}
        answer = litellm.completion(**arguments)
        self.assertEqual(answer.choices[0].message.content, self.text)
        chunks = litellm.completion(**arguments, stream=True)
        self.assertEqual("".join(c.choices[0].delta.content or "" for c in chunks), self.text)
        with self.assertRaises(litellm.exceptions.ContextWindowExceededError):
            litellm.completion(**{**arguments, "messages": [
                {"role": "user", "content": "word " * 3000}]})

    def test_llm(self):
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "extra-openai-models.yaml").write_text(
                f"- model_id: demo\n  model_name: {MODEL}\n  api_base: {self.server.url}/v1\n"
                "  api_key_name: none\n")
            done = subprocess.run(
                [sys.executable, "-m", "llm", "-m", "demo", "-o", "temperature", "0", "-o",
                 "max_tokens", "12", "--key", "none", QUESTION], capture_output=True, text=True,
                timeout=api_server.DEADLINE,
                env={"PATH": os.environ["PATH"], "LLM_USER_PATH": folder, "HOME": folder})
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.strip(), self.text.strip())


if __name__ == "__main__":
    api_server.main()
