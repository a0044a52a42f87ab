"""POST /v1/completions of `tandem serve`, as plain HTTP."""

import api_server

TEXT = "/v1/completions"


class Completions(api_server.ServerTest):
    def text(self, prompt="The package nginx is", **fields):
        return {"prompt": prompt, "max_tokens": 8, "temperature": 0, **fields}

    def ids(self, text):
        return self.answer("/tokenize", {"content": text})["tokens"]

    def test_an_answer_has_openais_shape(self):
        answer = self.answer(TEXT, self.text())
        self.assertRegex(answer["id"], r"^cmpl-\w{24}$")
        self.assertEqual(answer["object"], "text_completion")
        [choice] = answer["choices"]
        self.assertEqual(set(choice), {"index", "text", "logprobs", "finish_reason"})
        self.assertTrue(choice["text"])
        self.assertEqual(len(list(self.server.stream(TEXT, self.text()))) > 3, True)

    def test_prompts_come_as_text_or_ids_one_or_many(self):
        prompts = ["The package nginx is", "A library for"]
        each = [self.answer(TEXT, self.text(p))["choices"][0]["text"] for p in prompts]
        many = self.answer(TEXT, self.text(prompts))
        self.assertEqual([c["text"] for c in many["choices"]], each)
        self.assertEqual([c["index"] for c in many["choices"]], [0, 1])
        ids = [self.ids(prompt) for prompt in prompts]
        self.assertEqual(self.answer(TEXT, self.text(ids[0]))["choices"][0]["text"], each[0])
        both = self.answer(TEXT, self.text(ids, n=2))
        self.assertEqual([c["text"] for c in both["choices"]],
                         [each[0], each[0], each[1], each[1]])
        self.assertEqual(both["usage"]["prompt_tokens"], sum(map(len, ids)))

    def test_an_echo_with_log_probabilities_scores_the_prompt(self):
        prompt = "The package nginx is a web server"
        body = self.text(prompt, echo=True, logprobs=2, max_tokens=1)
        choice = self.answer(TEXT, body)["choices"][0]
        self.assertTrue(choice["text"].startswith(prompt))
        logprobs = choice["logprobs"]
        count = len(self.ids(prompt))
        self.assertEqual(len(logprobs["tokens"]), count + 1)
        self.assertEqual("".join(logprobs["tokens"]), choice["text"])
        self.assertIsNone(logprobs["token_logprobs"][0])
        self.assertIsNone(logprobs["top_logprobs"][0])
        for at in range(1, count + 1):
            token = logprobs["tokens"][at]
            self.assertEqual(choice["text"][logprobs["text_offset"][at]:][:len(token)], token)
            self.assertEqual(logprobs["top_logprobs"][at][token], logprobs["token_logprobs"][at])
            self.assertIn(len(logprobs["top_logprobs"][at]), (2, 3))
        only = self.answer(TEXT, self.text(prompt, echo=True, logprobs=2, max_tokens=0))
        self.assertEqual(only["choices"][0]["text"], prompt)
        self.assertEqual(only["choices"][0]["logprobs"]["token_logprobs"],
                         logprobs["token_logprobs"][:-1])
        streamed = list(self.server.stream(TEXT, body))[:-1]
        pieces = [chunk["choices"][0]["logprobs"] for chunk in streamed]
        for key in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
            self.assertEqual([one for piece in pieces if piece for one in piece[key]],
                             logprobs[key])

    def test_the_token_that_ends_a_text_is_scored_and_not_shown(self):
        prompt = ("<|begin|><|user|>What is the package nginx?<|assistant|>"
                  "nginx: small, powerful, scalable web/proxy server.")
        body = self.text(prompt, echo=True, logprobs=1, max_tokens=1)
        answer = self.answer(TEXT, body)
        [choice] = answer["choices"]
        self.assertEqual((choice["text"], choice["finish_reason"]), (prompt, "stop"))
        self.assertEqual(answer["usage"]["completion_tokens"], 1)
        logprobs = choice["logprobs"]
        self.assertEqual(len(logprobs["tokens"]), len(self.ids(prompt)) + 1)
        self.assertEqual(logprobs["tokens"][-1], "<|end|>")
        self.assertEqual(logprobs["text_offset"][-1], len(prompt))
        self.assertEqual(logprobs["top_logprobs"][-1], {"<|end|>": logprobs["token_logprobs"][-1]})
        pieces = [chunk["choices"][0]["logprobs"] for chunk in self.server.stream(TEXT, body)
                  if chunk != "[DONE]"]
        self.assertEqual([token for piece in pieces if piece for token in piece["tokens"]],
                         logprobs["tokens"])

    def test_the_default_is_sixteen_tokens(self):
        answer = self.answer(TEXT, {"prompt": "The", "temperature": 0, "ignore_eos": True})
        self.assertEqual(answer["usage"]["completion_tokens"], 16)
        self.assertEqual(answer["choices"][0]["finish_reason"], "length")

    def test_a_bias_decides_the_token(self):
        [token] = self.ids("a")
        answer = self.answer(TEXT, self.text(max_tokens=4, logit_bias={str(token): 100}))
        self.assertEqual(answer["choices"][0]["text"], "aaaa")

    def test_errors_name_the_prompt(self):
        for prompt in ("", [], [[]], [1, "a"], [-1], [8192], [1.5], {}, [["a"]], [None]):
            error = self.refused(TEXT, self.text(prompt))
            self.assertEqual(error["param"], "prompt", prompt)
        self.assertEqual(self.refused(TEXT, {"max_tokens": 1})["code"],
                         "missing_required_parameter")
        self.assertEqual(self.refused(TEXT, self.text(["a"] * 129))["param"], "prompt")
        self.assertEqual(self.refused(TEXT, self.text("word " * 3000))["code"],
                         "context_length_exceeded")
        self.assertEqual(self.refused(TEXT, self.text(suffix="x"))["code"],
                         "unsupported_parameter")
        self.answer(TEXT, self.text(suffix=""))


if __name__ == "__main__":
    api_server.main()
