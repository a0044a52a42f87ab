"""Whatever JSON is sent to the POST routes, as a body or as a field's value: an answer, or a
refusal in OpenAI's shape, over one connection that lives on."""

import http.client
import json

import api_server
import json_cases

MESSAGES = b'[{"role":"user","content":"hi"}]'
ROUTES = {
    "/v1/chat/completions": {"messages": MESSAGES, "max_tokens": b"1"},
    "/chat/completions": {"messages": MESSAGES, "max_tokens": b"1"},
    "/v1/completions": {"prompt": b'"hi"', "max_tokens": b"1"},
    "/tokenize": {"content": b'"hi"'},
    "/detokenize": {"tokens": b"[1]"},
    "/apply-template": {"messages": MESSAGES},
}
COMMON = ["temperature", "top_p", "top_k", "min_p", "n", "seed", "stop", "logit_bias", "logprobs",
          "top_logprobs", "presence_penalty", "frequency_penalty", "repetition_penalty", "stream",
          "stream_options", "max_tokens", "priority", "user", "metadata", "ignore_eos",
          "xtc_probability"]
CHAT = ["messages", "tools", "tool_choice", "parallel_tool_calls", "response_format",
        "structured_outputs", "reasoning_effort", "chat_template_kwargs", "max_completion_tokens",
        "continue_final_message", "add_generation_prompt", "modalities"]
FIELDS = {
    "/v1/chat/completions": COMMON + CHAT,
    "/v1/completions": COMMON + ["prompt", "echo", "best_of", "suffix"],
    "/tokenize": ["content", "prompt", "add_special", "with_pieces", "model"],
    "/detokenize": ["tokens", "model"],
    "/apply-template": ["messages", "tools", "chat_template_kwargs", "model"],
}
# Numbers: from, to, and whether the last one counts.
RANGES = {"temperature": (0, 2, True), "top_p": (0, 1, True), "min_p": (0, 1, False),
          "repetition_penalty": (0, 100, True), "presence_penalty": (-2, 2, True),
          "frequency_penalty": (-2, 2, True), "xtc_probability": (0, 1, True)}
# Where a text may stand inside a field.
WITHIN = [
    ("/v1/chat/completions", "messages", b'[{"role":"user","content":%s}]'),
    ("/v1/chat/completions", "messages", b'[{"role":%s,"content":"x"}]'),
    ("/v1/chat/completions", "messages", b'[{"role":"user","content":[{"type":"text",'
     b'"text":%s}]}]'),
    ("/v1/chat/completions", "messages", b'[{"role":"assistant","tool_calls":[{"type":"function",'
     b'"id":"a","function":{"name":"f","arguments":%s}}]}]'),
    ("/v1/chat/completions", "tools", b'[{"type":"function","function":{"name":"f",'
     b'"parameters":%s}}],"tool_choice":"required"'),
    ("/v1/chat/completions", "response_format", b'{"type":"json_schema","json_schema":{"name":"s",'
     b'"schema":%s}}'),
    ("/v1/chat/completions", "response_format", b'{"type":"json_schema","json_schema":{"name":"s",'
     b'"schema":{"type":"object","properties":{"a":{"enum":[%s]}}}}}'),
    ("/v1/chat/completions", "structured_outputs", b'{"choice":[%s]}'),
    ("/v1/chat/completions", "structured_outputs", b'{"regex":%s}'),
    ("/v1/completions", "logit_bias", b'{"5":%s}'),
    ("/v1/completions", "prompt", b'[%s]'),
    ("/v1/completions", "stop", b'[%s]'),
    ("/detokenize", "tokens", b'[%s]'),
    ("/apply-template", "chat_template_kwargs", b'{"x":%s}'),
]


def body_of(route, changes):
    fields = {**ROUTES[route], **changes}
    return b"{" + b",".join(json.dumps(name).encode() + b":" + value
                            for name, value in fields.items()) + b"}"


def status_of(name, text):
    """What a number's field owes a text: null is an absent field."""
    value = json.loads(text)
    if value is None:
        return 200
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return 400
    low, high, closed = RANGES[name]
    return 200 if low <= value and (value < high or closed and value == high) else 400


class AnyJson(api_server.ServerTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.connection = http.client.HTTPConnection(cls.server.host, cls.server.port,
                                                    timeout=api_server.DEADLINE)
        cls.sent = 0

    @classmethod
    def tearDownClass(cls):
        cls.connection.close()
        super().tearDownClass()

    def ask(self, route, body):
        """The status and the error's message; every answer comes over the first connection."""
        self.connection.request("POST", route, body, {"Content-Type": "application/json"})
        socket = self.connection.sock
        answer = self.connection.getresponse()
        text = answer.read()
        self.assertIs(self.connection.sock, socket, "the connection lives on")
        type(self).sent += 1
        what = (route, body[:300], answer.status, text[:300])
        if answer.status == 200:
            if not answer.getheader("Content-Type").startswith("text/event-stream"):
                json.loads(text)
            return 200, ""
        error = json.loads(text)["error"]
        known = answer.status == 400 or error["code"] == "model_not_found"
        self.assertTrue(known, what)
        self.assertEqual(set(error), {"message", "type", "param", "code"}, what)
        self.assertEqual(error["type"], "invalid_request_error", what)
        self.assertLess(len(text), 4000, what[:2])
        return answer.status, error["message"]

    def parsed(self, route, body):
        return not self.ask(route, body)[1].startswith("We could not parse the JSON body")

    def test_bodies_that_are_json_are_read(self):
        for route in ROUTES:
            for text in json_cases.right():
                self.assertTrue(self.parsed(route, text), (route, text[:80]))
            self.assertTrue(self.parsed(route, b"\xef\xbb\xbf{}"), "one byte order mark")

    def test_bodies_that_are_not_json_are_refused_as_such(self):
        for route in ROUTES:
            for text in json_cases.wrong():
                self.assertFalse(self.parsed(route, text), (route, text[:80]))

    def test_every_field_takes_or_refuses_every_value(self):
        for route, names in FIELDS.items():
            for name in names:
                for text in json_cases.right():
                    if name == "n" and text == b"123":
                        continue  # that many answers take long, and are right
                    self.assertTrue(self.parsed(route, body_of(route, {name: text})),
                                    (route, name, text[:80]))

    def test_a_sampling_number_is_taken_in_its_range_and_refused_outside(self):
        more = [b"1e-7", b"1e-45", b"2", b"2.1", b"100", b"100.5", b"0.999999"]
        for route in ("/v1/chat/completions", "/v1/completions"):
            for name in RANGES:
                for text in json_cases.right() + more:
                    status, message = self.ask(route, body_of(route, {name: text}))
                    what = (route, name, text[:80], message)
                    self.assertEqual(status, status_of(name, text), what)
                    self.assertTrue(status == 200 or name in message, what)

    def test_texts_deep_inside_fields(self):
        for route, name, around in WITHIN:
            for text in json_cases.right():
                self.assertTrue(self.parsed(route, body_of(route, {name: around % text})),
                                (route, name, text[:80]))
            for text in json_cases.wrong():
                # Two values, or none, are right inside a list.
                if text.strip() and not text.endswith(b",") and b",," not in text:
                    self.ask(route, body_of(route, {name: around % text}))

    def test_the_server_is_well_after_all_this(self):
        self.assertEqual(self.ask("/v1/chat/completions", body_of("/v1/chat/completions", {})),
                         (200, ""))
        _, _, cluster = self.server.request("GET", "/cluster")
        self.assertEqual(cluster["requests"], {"running": 0, "waiting": 0})


if __name__ == "__main__":
    api_server.main()
