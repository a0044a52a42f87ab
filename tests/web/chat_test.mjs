// A conversation with the real model: send, stream, stop, again, edit, keep, delete.

import assert from 'node:assert/strict';
import test from 'node:test';

import { answered, answerWith, DEMO_END, openPage, say, server } from './browser.mjs';

// Slow loops: an answer has to last until it is stopped.
const url = await server('--max-context', '2048', '--cpu-isa', 'portable', '--threads', '1');

test('an answer comes with its speed and is kept', async () => {
  const page = await openPage(url);
  await say(page, 'What is the package cmake?');
  const answer = await answered(page);
  const text = await answer.locator('.prose').last().innerText();
  assert.match(text, /\w{3}/);
  assert.match(await answer.locator('.meta').innerText(), /\d+ tokens · [\d.,]+ tok\/s/);
  assert.equal(await page.title(), `${await page.innerText('#model-name')} · tandem`);

  await page.reload();
  await page.click('.conversation');
  assert.equal(await page.locator('.bubble').innerText(), 'What is the package cmake?');
  assert.equal(await page.locator('.assistant .prose').last().innerText(), text);
  assert.deepEqual(page.faults, []);
});

test('an answer streams in until stop, which keeps what came', async () => {
  const page = await openPage(url);
  // The demo model is brief, so it is kept from ending by itself.
  await page.route('**/v1/chat/completions', (route) => {
    const body = JSON.parse(route.request().postData());
    route.continue({ postData: JSON.stringify({ ...body, max_tokens: 1500, logit_bias: { [DEMO_END]: -100 } }) });
  });
  await say(page, 'Tell me about many packages, one after another.');
  await page.waitForSelector('#stop:not([hidden])');
  const answer = page.locator('.assistant');
  const written = answer.locator('> .prose');
  await page.waitForFunction(() => document.querySelector('.assistant > .prose').textContent.length > 20);
  const first = (await written.innerText()).length;
  await page.waitForFunction((size) => document.querySelector('.assistant > .prose').textContent.length > size + 20, first);
  await page.waitForFunction(() => /^[\d.,]+ tok\/s$/.test(document.querySelector('#speed').innerText));
  const running = await page.evaluate(async () => (await (await fetch('/cluster')).json()).requests.running);
  assert.equal(running, 1);
  await page.click('#stop');
  await answered(page);
  assert.match(await answer.locator('.meta').innerText(), /^Stopped/);
  assert.ok((await written.innerText()).length > first);
  assert.ok(await page.isVisible('#send'));
  await page.waitForFunction(async () => (await (await fetch('/cluster')).json()).requests.running === 0);
  assert.deepEqual(page.faults, []);
});

test('regenerate asks again with the same words, edit with new ones', async () => {
  const page = await openPage(url);
  const asked = [];
  page.on('request', (request) => {
    if (request.url().endsWith('/chat/completions')) asked.push(JSON.parse(request.postData()).messages);
  });
  await say(page, 'What is the package wget?');
  await (await answered(page)).getByRole('button', { name: 'Answer again' }).click();
  await page.waitForSelector('#stop:not([hidden]), .assistant[aria-busy="false"]');
  await answered(page);
  await page.locator('.user').hover();
  await page.getByRole('button', { name: 'Edit message' }).click();
  await page.getByRole('textbox', { name: 'Edit message' }).fill('What is the package curl?');
  await page.press('.edit textarea', 'Enter');
  await answered(page);
  assert.deepEqual(asked, [
    [{ role: 'user', content: 'What is the package wget?' }],
    [{ role: 'user', content: 'What is the package wget?' }],
    [{ role: 'user', content: 'What is the package curl?' }],
  ]);
  assert.equal(await page.locator('.message').count(), 2);
  assert.deepEqual(page.faults, []);
});

test('settings go into the request, and a wrong one is named', async () => {
  const page = await openPage(url);
  await page.click('#settings-open');
  await page.fill('#setting-temperature', '0');
  await page.fill('#setting-max_tokens', '4');
  await page.fill('#setting-top_p', '7');
  assert.equal(await page.locator('.field', { hasText: 'Top P' }).locator('.problem').innerText(), 'A number from 0.01 to 1');
  await page.fill('#setting-system', 'Be brief.');
  await page.keyboard.press('Escape');
  const request = page.waitForRequest('**/v1/chat/completions');
  await say(page, 'What is the package wget?');
  const body = JSON.parse((await request).postData());
  assert.equal(body.temperature, 0);
  assert.equal(body.max_tokens, 4);
  assert.equal(body.top_p, undefined);
  assert.deepEqual(body.messages[0], { role: 'system', content: 'Be brief.' });
  const answer = await answered(page);
  assert.match(await answer.locator('.meta').innerText(), /Reached the longest answer · 4 tokens/);
  assert.deepEqual(page.faults, []);
});

test('the server says what is wrong, and so does the page', async () => {
  const page = await openPage(url);
  await say(page, 'word '.repeat(4000));
  const answer = await answered(page);
  assert.match(await answer.locator('.problem-box').innerText(), /context length/);
  await page.route('**/v1/chat/completions', (route) => route.abort());
  await answer.getByRole('button', { name: 'Try again' }).click();
  await page.locator('.problem-box', { hasText: 'cannot be reached' }).waitFor();
  await page.unroute('**/v1/chat/completions');
  await page.route('**/v1/chat/completions', (route) => route.fulfill({
    status: 200, contentType: 'text/event-stream', body: 'data: {"choices":[{"delta":{"content":"half"}}]}\n\n',
  }));
  await page.getByRole('button', { name: 'Try again' }).click();
  await page.locator('.problem-box', { hasText: 'connection broke' }).waitFor();
  assert.equal(await page.locator('.assistant .prose').last().innerText(), 'half');
  assert.deepEqual(page.faults, []);
});

test('reasoning is folded away and the answer is not', async () => {
  const page = await openPage(url);
  await answerWith(page, [{ reasoning_content: 'First I ' }, { reasoning_content: 'think.' }, { content: 'Yes' }, { content: '.' }],
    { comments: ': keepalive 10/20\n\n' });
  await say(page, 'Really?');
  const answer = await answered(page);
  assert.equal(await answer.locator('.thoughts .prose').isVisible(), false);
  await answer.locator('summary').click();
  assert.equal(await answer.locator('.thoughts .prose').innerText(), 'First I think.');
  assert.match(await answer.locator('summary').innerText(), /Thought for [\d.]+ s/);
  assert.equal(await answer.locator('.prose').last().innerText(), 'Yes.');
  const request = page.waitForRequest('**/v1/chat/completions');
  await say(page, 'Sure?');
  const { messages } = JSON.parse((await request).postData());
  assert.deepEqual(messages[1], { role: 'assistant', content: 'Yes.' }, 'thoughts are not said again');
});

test('chats are listed, opened, and deleted after a question', async () => {
  const page = await openPage(url);
  await answerWith(page, [{ content: 'ok' }]);
  for (const text of ['first words', 'second words']) {
    await page.click('#new-chat');
    await say(page, text);
    await answered(page);
  }
  assert.deepEqual(await page.locator('.conversation').allInnerTexts(), ['second words', 'first words']);
  await page.getByRole('button', { name: 'first words', exact: true }).click();
  assert.equal(await page.locator('.bubble').innerText(), 'first words');
  await page.locator('#conversations li').last().hover();
  await page.getByRole('button', { name: 'Delete “first words”' }).click();
  await page.click('#confirm-yes');
  await page.locator('.conversation').nth(1).waitFor({ state: 'detached' });
  assert.deepEqual(await page.locator('.conversation').allInnerTexts(), ['second words']);
  assert.ok(await page.isVisible('#welcome'));
  const kept = await page.evaluate(() => localStorage.getItem('tandem.chats'));
  assert.ok(!kept.includes('first words'));
});
