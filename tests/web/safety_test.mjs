// What a model writes is shown and never run; the page speaks to its own server only.

import assert from 'node:assert/strict';
import test from 'node:test';

import { answered, answerWith, openPage, say, server } from './browser.mjs';

const url = await server();

const ATTACKS = [
  '<script>window.hacked = 1</script>',
  '<img src=x onerror="window.hacked = 1">',
  '<svg/onload=window.hacked=1>',
  '<iframe srcdoc="<script>parent.hacked=1</script>"></iframe>',
  '[click](javascript:window.hacked=1)',
  '[click](JaVaScRiPt:window.hacked=1)',
  '[click]( java\tscript:window.hacked=1)',
  '[click](data:text/html,<script>opener.hacked=1</script>)',
  '[click](vbscript:x) [click](file:///etc/passwd) [click](//evil.example/x)',
  '![x](javascript:window.hacked=1)',
  '![pixel](https://evil.example/pixel.png)',
  '<javascript:window.hacked=1>',
  '`<img src=x onerror=window.hacked=1>`',
  '```html\n<img src=x onerror=window.hacked=1>\n```',
  '```"><img src=x onerror=window.hacked=1>\nx\n```',
  '| <img src=x onerror=window.hacked=1> | b |\n|---|---|\n| <script>window.hacked=1</script> | c |',
  '# <img src=x onerror=window.hacked=1>',
  '> <img src=x onerror=window.hacked=1>',
  '- <img src=x onerror=window.hacked=1>',
  '[a](https://ok.example/"onmouseover="window.hacked=1)',
  '[<img src=x onerror=window.hacked=1>](https://ok.example/)',
  '<a href="https://ok.example" onclick="window.hacked=1">x</a>',
  '&lt;script&gt;window.hacked=1&lt;/script&gt;',
  '</div></li></ol><script>window.hacked=1</script>',
  '<style>body{display:none}</style>',
  '<form action="https://evil.example"><input name=x></form>',
];

test('markup in an answer, in thoughts, in a question and in a title stays text', async () => {
  const page = await openPage(url);
  const all = ATTACKS.join('\n\n');
  await answerWith(page, [{ reasoning_content: all }, { content: all }]);
  await say(page, ATTACKS[1]);
  const answer = await answered(page);
  await answer.locator('summary').click();
  for (const link of await page.locator('.message a').all()) {
    assert.match(await link.getAttribute('href'), /^https?:\/\//);
    assert.match(await link.getAttribute('rel'), /noopener/);
    assert.equal(await link.getAttribute('onmouseover'), null);
  }
  assert.equal(await page.locator('.message :is(script, img, iframe, form, style, object, embed)').count(), 0);
  assert.equal(await page.locator('.message svg:not(.glyph)').count(), 0);
  const shown = await answer.locator('.prose').last().innerText();
  for (const text of ['<script>window.hacked = 1</script>', '<iframe srcdoc=', '</div></li></ol><script>']) {
    assert.ok(shown.includes(text), `${text} is shown as it is`);
  }
  await page.reload();
  await page.click('.conversation');
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  assert.deepEqual(page.faults, []);
});

test('markup in errors and names stays text', async () => {
  const page = await openPage(url);
  await page.route('**/v1/chat/completions', (route) => route.fulfill({
    status: 400, contentType: 'application/json', body: JSON.stringify({ error: { message: ATTACKS[1], type: 'x', code: null } }),
  }));
  await page.route('**/cluster', (route) => route.fulfill({
    status: 200, contentType: 'application/json', body: JSON.stringify({ model: ATTACKS[1], status: ATTACKS[1], ranks: [{ rank: 0, host: ATTACKS[1], layers: [0, 2] }] }),
  }));
  await say(page, 'x');
  assert.match(await (await answered(page)).locator('.problem-box').innerText(), /<img src=x/);
  await page.click('#tab-cluster');
  await page.waitForSelector('.rank');
  assert.match(await page.locator('.rank .host').innerText(), /<img src=x/);
  assert.equal(await page.locator('#cluster img').count(), 0);
  assert.equal(await page.evaluate(() => window.hacked), undefined);
  assert.deepEqual(page.faults, []);
});

test('the policy holds even where the page would not', async () => {
  const page = await openPage(url);
  const ran = await page.evaluate(async () => {
    const script = document.createElement('script');
    script.textContent = 'window.hacked = 1';
    document.body.append(script);
    const image = document.createElement('img');
    image.src = 'https://evil.example/pixel.png';
    document.body.append(image);
    const foreign = await fetch('https://evil.example/').then(() => 'reached', () => 'refused');
    return { hacked: window.hacked, foreign };
  });
  assert.deepEqual(ran, { hacked: undefined, foreign: 'refused' });
  const response = await fetch(`${url}/`);
  assert.equal(response.headers.get('x-content-type-options'), 'nosniff');
  const again = await fetch(`${url}/`, { headers: { 'If-None-Match': response.headers.get('etag') } });
  assert.equal(again.status, 304);
});

test('what someone left in the storage does not break the page', async () => {
  const page = await openPage(url);
  for (const left of ['no JSON', '{"a":1}', '[{"id":"x"},null,{"id":"a","title":"t","messages":[{"role":"system"}]}]']) {
    await page.evaluate((text) => {
      localStorage.setItem('tandem.chats', text);
      localStorage.setItem('tandem.settings', text);
      localStorage.setItem('tandem.theme', text);
    }, left);
    await page.reload();
    await page.waitForSelector('.model.ready');
    assert.equal(await page.locator('.conversation').count(), 0);
  }
  assert.deepEqual(page.faults, []);
});
