"""The real `openai` package against `tandem serve`."""

import asyncio
import concurrent.futures
import time
import typing
import unittest

import openai
import pydantic
from openai.types import completion_create_params as completion
from openai.types.chat import completion_create_params as chat

import api_server

KEY = "sk-test-0123456789abcdef"
QUESTION = [{"role": "user", "content": "What is the package nginx?"}]
MODEL = "tandem-demo"


class Weather(pydantic.BaseModel):
    city: typing.Literal["Oslo", "Rome"]
    rain: bool


TOOL = {"type": "function", "function": {
    "name": "get_weather", "strict": True, "description": "The weather of a city",
    "parameters": {"type": "object", "additionalProperties": False,
                   "properties": {"city": {"type": "string", "enum": ["Oslo", "Rome"]}},
                   "required": ["city"]}}}


class OpenAi(api_server.ServerTest):
    arguments = ("--api-key", KEY, "--max-waiting", "2", "--max-sequences", "2")

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.client = cls.make_client(KEY)

    @classmethod
    def tearDownClass(cls):
        cls.client.close()
        super().tearDownClass()

    @classmethod
    def make_client(cls, key, **options):
        options = {"timeout": api_server.DEADLINE, "max_retries": 0, **options}
        return openai.OpenAI(base_url=cls.server.url + "/v1", api_key=key, **options)

    def create(self, **fields):
        fields = {"model": MODEL, "messages": QUESTION, "max_tokens": 12, "temperature": 0,
                  **fields}
        return self.client.chat.completions.create(**fields)

    def test_chat(self):
        answer = self.create()
        self.assertEqual(answer.choices[0].message.role, "assistant")
        self.assertTrue(answer.choices[0].message.content)
        self.assertEqual(answer.usage.prompt_tokens_details.cached_tokens >= 0, True)
        again = self.create(messages=QUESTION + [
            answer.choices[0].message.model_dump(), {"role": "user", "content": "And apache2?"}])
        self.assertTrue(again.choices[0].message.content)

    def test_stream(self):
        whole = self.create().choices[0].message.content
        with self.create(stream=True, stream_options={"include_usage": True}) as stream:
            chunks = list(stream)
        text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
        self.assertEqual(text, whole)
        self.assertGreater(chunks[-1].usage.completion_tokens, 0)

    def test_the_sdks_own_stream_helper(self):
        with self.client.chat.completions.stream(model=MODEL, messages=QUESTION, max_tokens=100,
                                                 temperature=0) as stream:
            kinds = {event.type for event in stream}
            final = stream.get_final_completion()
        self.assertIn("content.delta", kinds)
        self.assertTrue(final.choices[0].message.content)

    def test_logprobs_n_stop_and_seed(self):
        answer = self.create(logprobs=True, top_logprobs=2, n=2, temperature=1, seed=3)
        self.assertEqual(len(answer.choices), 2)
        for choice in answer.choices:
            self.assertEqual(len(choice.logprobs.content[0].top_logprobs), 2)
        full = self.create().choices[0].message.content
        cut = self.create(stop=[full[5:8]])
        self.assertEqual(cut.choices[0].message.content, full[:full.index(full[5:8])])
        self.assertEqual(cut.choices[0].finish_reason, "stop")

    def test_completions(self):
        answer = self.client.completions.create(model=MODEL, prompt=["The", "A"], max_tokens=4,
                                                logprobs=1, echo=True)
        self.assertEqual([choice.index for choice in answer.choices], [0, 1])
        self.assertTrue(answer.choices[0].text.startswith("The"))
        self.assertIsNone(answer.choices[0].logprobs.token_logprobs[0])

    def test_models(self):
        self.assertEqual([model.id for model in self.client.models.list()], [MODEL])
        self.assertEqual(self.client.models.retrieve(MODEL).object, "model")

    def test_a_schema_parses_into_its_class(self):
        answer = self.client.chat.completions.parse(
            model=MODEL, messages=QUESTION, max_tokens=200, response_format=Weather,
            temperature=0, seed=1)
        choice = answer.choices[0]
        self.assertEqual(choice.finish_reason, "stop")
        self.assertIsInstance(choice.message.parsed, Weather)

    def test_a_call_that_is_required_comes_with_arguments_that_fit(self):
        for choice in ("required", {"type": "function", "function": {"name": "get_weather"}}):
            answer = self.create(tools=[TOOL], tool_choice=choice, max_tokens=100,
                                 parallel_tool_calls=False).choices[0]
            self.assertEqual(answer.finish_reason, "tool_calls")
            [call] = answer.message.tool_calls
            self.assertEqual(call.function.name, "get_weather")
            self.assertIn(call.function.arguments.replace(" ", ""),
                          ('{"city":"Oslo"}', '{"city":"Rome"}'))
            with self.create(tools=[TOOL], tool_choice=choice, max_tokens=100, stream=True,
                             parallel_tool_calls=False) as stream:
                pieces = [call for chunk in stream for call in chunk.choices[0].delta.tool_calls
                          or []]
            self.assertEqual(pieces[0].function.name, "get_weather")
            self.assertEqual("".join(piece.function.arguments for piece in pieces),
                             call.function.arguments)

    def test_every_field_of_the_sdk_is_read_or_refused_by_its_name(self):
        for path, parameters, least in (
                ("/v1/chat/completions", chat.CompletionCreateParamsNonStreaming,
                 {"messages": QUESTION, "max_tokens": 1}),
                ("/v1/completions", completion.CompletionCreateParamsNonStreaming,
                 {"prompt": "a", "max_tokens": 1})):
            fields = typing.get_type_hints(parameters)
            self.assertGreater(len(fields), 15)
            for field in fields:
                _, _, answer = self.server.post(path, {**least, field: 1.5},
                                                Authorization="Bearer " + KEY)
                code = answer.get("error", {}).get("code")
                self.assertNotEqual(code, "unknown_parameter", field)

    def test_errors_raise_the_classes_that_openai_raises(self):
        with self.assertRaises(openai.NotFoundError) as raised:
            self.create(model="gpt-4o")
        self.assertEqual(raised.exception.code, "model_not_found")
        with self.assertRaises(openai.BadRequestError) as raised:
            self.create(temperature=3)
        self.assertEqual(raised.exception.param, "temperature")
        with self.assertRaises(openai.BadRequestError) as raised:
            self.create(messages=[{"role": "user", "content": "word " * 3000}])
        self.assertEqual(raised.exception.code, "context_length_exceeded")
        with self.make_client("sk-wrong-0123456789abcdef") as stranger:
            with self.assertRaises(openai.AuthenticationError) as raised:
                stranger.models.list()
        self.assertEqual(raised.exception.code, "invalid_api_key")
        with self.assertRaises(openai.BadRequestError) as raised:
            self.create(response_format={"type": "json_schema", "json_schema": {
                "name": "x", "schema": {"type": "no such type"}}})
        self.assertIn("schema", raised.exception.param)

    def test_too_many_at_once_are_told_to_wait(self):
        def ask(_):
            try:
                return self.create(max_tokens=600, extra_body={"ignore_eos": True})
            except openai.RateLimitError as error:
                return error
        with concurrent.futures.ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(ask, range(12)))
        refused = [one for one in answers if isinstance(one, openai.RateLimitError)]
        self.assertTrue(0 < len(refused) < 12, answers)
        self.assertEqual(refused[0].code, "rate_limit_exceeded")
        self.assertGreaterEqual(int(refused[0].response.headers["retry-after"]), 1)
        self.create()

    def test_a_timeout_and_a_cancel_free_the_server(self):
        with self.assertRaises(openai.APITimeoutError):
            self.client.with_options(timeout=0.2).chat.completions.create(
                model=MODEL, messages=QUESTION, extra_body={"ignore_eos": True})
        with self.create(stream=True, max_tokens=None, extra_body={"ignore_eos": True}) as stream:
            next(iter(stream))
        self.wait_until_idle()

    def wait_until_idle(self):
        end = time.monotonic() + api_server.DEADLINE
        while time.monotonic() < end:
            _, _, cluster = self.server.request("GET", "/cluster",
                                                headers={"Authorization": "Bearer " + KEY})
            if cluster["requests"] == {"running": 0, "waiting": 0}:
                return
            time.sleep(0.05)
        self.fail(f"still busy: {cluster}")


class Async(unittest.IsolatedAsyncioTestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = api_server.Server()

    @classmethod
    def tearDownClass(cls):
        cls.server.kill()

    async def test_many_at_once_answer_as_each_alone(self):
        questions = ["What is nginx?", "What is git?", "What is bash?", "What is vim?"]
        async with openai.AsyncOpenAI(base_url=self.server.url + "/v1", api_key="none",
                                      timeout=api_server.DEADLINE) as client:
            async def ask(question):
                answer = await client.chat.completions.create(
                    model=MODEL, messages=[{"role": "user", "content": question}], max_tokens=16,
                    temperature=0.8, seed=4)
                return answer.choices[0].message.content
            alone = [await ask(question) for question in questions]
            together = await asyncio.gather(*map(ask, questions * 2))
        self.assertEqual(together, alone * 2)


if __name__ == "__main__":
    api_server.main()
