// The real `openai` package of npm against a running server: node api_node.cjs URL NODE_MODULES
const assert = require('node:assert/strict');
const { createRequire } = require('node:module');

const [, , url, modules] = process.argv;
const OpenAI = createRequire(modules + '/')('openai');
const client = new OpenAI({ baseURL: url + '/v1', apiKey: 'none', maxRetries: 0, timeout: 120_000 });
const request = {
  model: 'tandem-demo',
  messages: [{ role: 'user', content: 'What is the package nginx?' }],
  max_tokens: 100,
  temperature: 0,
};

async function chatAndStream() {
  const answer = await client.chat.completions.create(request);
  const text = answer.choices[0].message.content;
  assert.ok(text.length > 0);
  assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
  const stream = await client.chat.completions.create({ ...request, stream: true });
  let streamed = '';
  for await (const chunk of stream) streamed += chunk.choices[0]?.delta?.content ?? '';
  assert.equal(streamed, text);
}

async function streamHelper() {
  const runner = client.chat.completions.stream(request);
  const final = await runner.finalChatCompletion();
  assert.equal(final.choices[0].finish_reason, 'stop');
}

async function structuredOutput() {
  const answer = await client.chat.completions.create({
    ...request,
    response_format: {
      type: 'json_schema',
      json_schema: { name: 'yes', strict: true, schema: { type: 'object', additionalProperties: false,
        properties: { ok: { type: 'boolean' } }, required: ['ok'] } },
    },
  });
  assert.equal(typeof JSON.parse(answer.choices[0].message.content).ok, 'boolean');
}

async function errors() {
  await assert.rejects(client.chat.completions.create({ ...request, model: 'gpt-4o' }),
    OpenAI.NotFoundError);
  await assert.rejects(client.chat.completions.create({ ...request, top_p: 2 }),
    (error) => error instanceof OpenAI.BadRequestError && error.param === 'top_p');
}

async function abort() {
  const stream = await client.chat.completions.create(
    { ...request, max_tokens: 1000, stream: true, ignore_eos: true });
  for await (const chunk of stream) {
    assert.ok(chunk.id);
    stream.controller.abort();
    break;
  }
}

(async () => {
  for (const test of [chatAndStream, streamHelper, structuredOutput, errors, abort]) {
    await test();
    console.log('ok', test.name);
  }
})().catch((error) => {
  console.error(error);
  process.exit(1);
});
