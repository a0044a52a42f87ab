"""The routes of `tandem serve`, as plain HTTP."""

import json
import math
import pathlib
import re
import time

import api_server

ROOT = pathlib.Path(__file__).parent.parent.parent

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"


class Chat(api_server.ServerTest):
    def test_an_answer_has_openais_shape(self):
        answer = self.answer(CHAT, self.chat())
        self.assertRegex(answer["id"], r"^chatcmpl-\w{24}$")
        self.assertEqual(answer["object"], "chat.completion")
        self.assertEqual(answer["model"], "tandem-demo")
        self.assertRegex(answer["system_fingerprint"], r"^fp_[0-9a-f]{10}$")
        [choice] = answer["choices"]
        self.assertEqual(choice["index"], 0)
        self.assertEqual(choice["message"]["role"], "assistant")
        self.assertTrue(choice["message"]["content"])
        self.assertIsNone(choice["logprobs"])
        self.assertIn(choice["finish_reason"], ("stop", "length"))
        usage = answer["usage"]
        self.assertEqual(usage["total_tokens"],
                         usage["prompt_tokens"] + usage["completion_tokens"])
        self.assertLessEqual(usage["completion_tokens"], 12)
        self.assertEqual(answer["timings"]["predicted_n"], usage["completion_tokens"])

    def test_a_stream_is_the_same_answer_in_pieces(self):
        whole = self.answer(CHAT, self.chat())["choices"][0]
        chunks = list(self.server.stream(CHAT, self.chat()))
        self.assertEqual(chunks.pop(), "[DONE]")
        self.assertEqual(chunks[0]["choices"][0]["delta"], {"role": "assistant", "content": ""})
        self.assertTrue(all(chunk["object"] == "chat.completion.chunk" for chunk in chunks))
        self.assertEqual(len({chunk["id"] for chunk in chunks}), 1)
        text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
        self.assertEqual(text, whole["message"]["content"])
        self.assertEqual(chunks[-1]["choices"][0]["finish_reason"], whole["finish_reason"])
        self.assertTrue(all("usage" not in chunk for chunk in chunks))

    def test_a_stream_ends_with_its_usage_when_asked(self):
        body = self.chat(stream_options={"include_usage": True})
        chunks = list(self.server.stream(CHAT, body))
        self.assertEqual(chunks[-1], "[DONE]")
        self.assertEqual(chunks[-2]["choices"], [])
        self.assertGreater(chunks[-2]["usage"]["prompt_tokens"], 0)
        self.assertTrue(all(chunk["usage"] is None for chunk in chunks[:-2]))

    def test_a_stop_string_ends_the_text_before_it(self):
        full = self.answer(CHAT, self.chat(max_tokens=24))["choices"][0]["message"]["content"]
        stop = full[7:12]  # somewhere inside tokens
        cut = self.answer(CHAT, self.chat(max_tokens=24, stop=stop))["choices"][0]
        self.assertEqual(cut["message"]["content"], full[:full.index(stop)])
        self.assertEqual(cut["finish_reason"], "stop")
        chunks = list(self.server.stream(CHAT, self.chat(max_tokens=24, stop=["\0", stop])))
        text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks[:-1])
        self.assertEqual(text, full[:full.index(stop)])

    def test_n_choices_differ_by_their_seed_alone(self):
        def texts(**fields):
            answer = self.answer(TEXT, {"prompt": "<|user|>", "max_tokens": 8, "temperature": 1,
                                        "ignore_eos": True, **fields})
            return [choice["text"] for choice in answer["choices"]]
        first = texts(n=3, seed=5)
        self.assertEqual(texts(n=3, seed=5), first)
        self.assertEqual(len(set(first)), 3)
        self.assertEqual(texts(seed=6), first[1:2])

    def test_log_probabilities_are_of_the_tokens_of_the_text(self):
        body = self.chat(logprobs=True, top_logprobs=3)
        choice = self.answer(CHAT, body)["choices"][0]
        content = choice["logprobs"]["content"]
        self.assertEqual("".join(token["token"] for token in content),
                         choice["message"]["content"])
        for token in content:
            self.assertEqual(bytes(token["bytes"]).decode(), token["token"])
            top = token["top_logprobs"]
            self.assertEqual(len(top), 3)
            self.assertEqual(top[0]["token"], token["token"], "greedy takes the likeliest")
            self.assertEqual(sorted(top, key=lambda one: -one["logprob"]), top)
            self.assertLessEqual(sum(math.exp(one["logprob"]) for one in top), 1.001)
        chunks = list(self.server.stream(CHAT, body))[:-1]
        streamed = [token for chunk in chunks if chunk["choices"][0]["logprobs"]
                    for token in chunk["choices"][0]["logprobs"]["content"]]
        self.assertEqual(streamed, content)

    def test_a_conversation_that_is_too_long_says_so(self):
        error = self.refused(CHAT, self.chat("word " * 3000))
        self.assertEqual(error["code"], "context_length_exceeded")
        self.assertEqual(error["param"], "messages")
        self.assertIn("2048 tokens", error["message"])

    def test_the_template_may_refuse_a_conversation(self):
        body = {"messages": [{"role": "tool", "tool_call_id": "a", "content": "x"}]}
        error = self.refused(CHAT, body)
        self.assertEqual(error["param"], "messages")
        self.assertIn("roles", error["message"])

    def test_an_answer_without_a_limit_ends_by_itself_or_with_the_context(self):
        body = self.chat()
        del body["max_tokens"]
        answer = self.answer(CHAT, body)
        self.assertLessEqual(answer["usage"]["total_tokens"], 2048)
        larger = self.answer(CHAT, self.chat(max_tokens=1000000))
        self.assertEqual(larger["choices"], answer["choices"])

    def test_a_message_can_be_continued(self):
        first = self.answer(CHAT, self.chat())["choices"][0]["message"]["content"]
        start = first[:5]
        body = {"messages": self.chat()["messages"] + [{"role": "assistant", "content": start}],
                "continue_final_message": True, "max_tokens": 3, "temperature": 0}
        rendered = self.answer("/apply-template", {
            "messages": body["messages"], "continue_final_message": True})["prompt"]
        self.assertTrue(rendered.endswith(start), rendered)
        self.assertTrue(self.answer(CHAT, body)["choices"][0]["message"]["content"])


class Others(api_server.ServerTest):
    def test_models(self):
        _, _, models = self.server.request("GET", "/v1/models")
        self.assertEqual(models["object"], "list")
        [model] = models["data"]
        self.assertEqual((model["id"], model["object"]), ("tandem-demo", "model"))
        self.assertEqual(model["meta"]["n_ctx"], 2048)
        self.assertEqual(self.server.request("GET", "/models")[2], models)
        _, _, one = self.server.request("GET", "/v1/models/tandem-demo")
        self.assertEqual(one, model)
        status, _, error = self.server.request("GET", "/v1/models/gpt-4o")
        self.assertEqual((status, error["error"]["code"]), (404, "model_not_found"))

    def test_health_and_the_cluster(self):
        status, _, health = self.server.request("GET", "/health")
        self.assertEqual((status, health), (200, {"status": "ok"}))
        _, _, cluster = self.server.request("GET", "/cluster")
        [rank] = cluster["ranks"]
        self.assertEqual(rank["layers"], [0, 10])
        self.assertGreater(rank["memory_bytes"], 1 << 20)
        self.assertEqual(cluster["requests"], {"running": 0, "waiting": 0})
        self.assertGreater(cluster["kv"]["capacity"], 0)

    def test_text_there_and_back(self):
        text = "Grüße, 世界 🙂\n"
        tokens = self.answer("/tokenize", {"content": text})
        self.assertEqual(tokens["count"], len(tokens["tokens"]))
        back = self.answer("/detokenize", {"tokens": tokens["tokens"]})
        self.assertEqual(back["content"], text)
        pieces = self.answer("/tokenize", {"content": "a b", "with_pieces": True})["tokens"]
        self.assertEqual("".join(piece["piece"] for piece in pieces), "a b")
        self.assertEqual(self.refused("/detokenize", {"tokens": [8192]})["param"], "tokens")
        self.assertEqual(self.refused("/tokenize", {})["param"], "content")
        rendered = self.answer("/apply-template", {"messages": self.chat("hi")["messages"]})
        self.assertEqual(rendered["prompt"], "<|begin|><|user|>hi<|assistant|>")

    def test_metrics_count_what_was_done(self):
        def sample(name):
            # Figures are of the last whole step, which may end just after the answer.
            end = time.monotonic() + api_server.DEADLINE
            while time.monotonic() < end:
                _, _, cluster = self.server.request("GET", "/cluster")
                if cluster["requests"]["running"] == 0:
                    break
            _, headers, text = self.server.request("GET", "/metrics")
            self.assertIn("version=0.0.4", headers["Content-Type"])
            return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
                    for line in text.splitlines() if not line.startswith("#")}[name]
        self.answer(CHAT, self.chat())
        before = sample("tandem_generated_tokens_total")
        used = self.answer(CHAT, self.chat(max_tokens=3, ignore_eos=True))["usage"]
        self.assertEqual(used["completion_tokens"], 3)
        self.assertEqual(sample("tandem_generated_tokens_total"), before + 3)
        key = 'tandem_requests_total{route="/v1/chat/completions",status="200"}'
        self.assertGreaterEqual(sample(key), 2)
        self.assertGreaterEqual(sample("tandem_token_gap_seconds_count"), 2)

    def test_every_metric_is_in_the_documentation(self):
        _, _, text = self.server.request("GET", "/metrics")
        names = re.findall(r"^# TYPE tandem_(\w+) ", text, re.M)
        self.assertGreater(len(names), 30)
        documented = (ROOT / "docs/api.md").read_text()
        for name in names:
            self.assertRegex(documented, f"`{name}[`{{]", name)

    def test_wrong_paths_methods_and_types(self):
        status, _, answer = self.server.request("GET", "/v1/nothing")
        self.assertEqual((status, answer["error"]["message"]),
                         (404, "Invalid URL (GET /v1/nothing)"))
        status, headers, _ = self.server.request("GET", CHAT)
        self.assertEqual((status, headers["Allow"]), (405, "POST, OPTIONS"))
        status, headers, _ = self.server.request("POST", "/v1/models", {})
        self.assertEqual((status, headers["Allow"]), (405, "GET, HEAD, OPTIONS"))
        status, headers, body = self.server.request("OPTIONS", CHAT)
        self.assertEqual((status, headers["Allow"], body), (204, "POST, OPTIONS", ""))
        for path in (CHAT + "/", "/v1/models/", "//v1/models", "/V1/models"):
            self.assertEqual(self.server.request("GET", path)[0], 404, path)
        status, _, answer = self.server.request("POST", CHAT, b"{}", {"Content-Type": "text/plain"})
        self.assertEqual((status, answer["error"]["code"]), (415, "unsupported_media_type"))
        self.assertEqual(self.server.request("POST", CHAT, b"{}")[0], 415)

    def test_bodies_that_are_no_json(self):
        for body in (b"", b"{", b"[]", b"null", b'"x"', b"{}x", b'{"a":1,"a":2}', b"\xff",
                     b'{"messages":"\xff"}', b"[" * 100000, b'{"n":1e999}', b'{"a":\x00}',
                     b'{"messages":"\\ud800"}'):
            status, _, answer = self.server.request("POST", CHAT, body,
                                                    {"Content-Type": "application/json"})
            self.assertEqual(status, 400, body[:20])
            self.assertEqual(answer["error"]["type"], "invalid_request_error")

    def test_a_body_is_json_whatever_the_charset_says(self):
        body = json.dumps(self.chat()).encode()
        status, _, _ = self.server.request(
            "POST", CHAT, body, {"Content-Type": "Application/JSON; charset=utf-8"})
        self.assertEqual(status, 200)


if __name__ == "__main__":
    api_server.main()
