// How the page looks and is worked: phone, keyboard, dark, without motion. Takes the pictures of
// docs/images with --screenshots FOLDER.

import assert from 'node:assert/strict';
import { join } from 'node:path';
import test from 'node:test';

import { answered, answerWith, DEMO_END, openPage, options, say, server } from './browser.mjs';

const url = await server('--ranks', '2');
const WIDE = { viewport: { width: 1180, height: 760 } };
const PHONE = { viewport: { width: 390, height: 780 }, isMobile: true, hasTouch: true };
const WORDS = `Two ranks, each with half of the layers:

| rank | layers | holds |
|-----:|--------|-------|
| 0 | 0–4 | the **embedding** and the first half |
| 1 | 5–9 | the second half and the *head* |

Start them with

\`\`\`sh
tandem serve MODEL --ranks 2
\`\`\`

1. a prompt goes in at rank 0,
2. its hidden states pass on to rank 1,
3. a token comes back.`;

/** Pictures of a real conversation, and of the cluster while it answers four others. */
async function pictures(context, name) {
  if (!options.screenshots) return;
  const page = await openPage(url, context);
  const picture = (view) => page.screenshot({ path: join(options.screenshots, `${view}-${name}.png`) });
  for (const text of ['What is the package cmake?', 'And what is vim?']) {
    await say(page, text);
    await answered(page);
  }
  await page.mouse.move(5, 5);
  await picture('chat');
  await page.click('#tab-cluster');
  const body = JSON.stringify({ messages: [{ role: 'user', content: 'Tell me of packages.' }], max_tokens: 1900, logit_bias: { [DEMO_END]: -100 }, temperature: 1 });
  const busy = new AbortController();
  const load = [1, 2, 3, 4].map(async () => {
    while (!busy.signal.aborted) {
      const answer = await fetch(`${url}/v1/chat/completions`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body, signal: busy.signal });
      await answer.text();
    }
  });
  await page.waitForTimeout(15000);
  await picture('cluster');
  busy.abort();
  await Promise.allSettled(load);
}

/** Contrast of an element's text with what is behind it (WCAG 2.1). */
const contrast = (page, selector) => page.locator(selector).first().evaluate((node) => {
  const channels = (colour) => colour.match(/[\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map((value) => value / 255)
    .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
    .reduce((sum, value, at) => sum + value * [0.2126, 0.7152, 0.0722][at], 0);
  let behind = node;
  while (behind && (channels(getComputedStyle(behind).backgroundColor)[3] ?? 1) === 0) behind = behind.parentElement;
  const [a, b] = [getComputedStyle(node).color, getComputedStyle(behind ?? document.documentElement).backgroundColor]
    .map((colour) => luminance(channels(colour))).sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
});

for (const [name, context] of [['light', WIDE], ['dark', { ...WIDE, colorScheme: 'dark' }], ['phone', PHONE]]) {
  test(`${name}: nothing sticks out, and text can be read`, async () => {
    const page = await openPage(url, context);
    await page.waitForSelector('.model.ready');
    await answerWith(page, [{ reasoning_content: 'Half and half.' }, { content: WORDS }]);
    await say(page, 'How is a model split over two machines?');
    await answered(page);
    await page.evaluate(() => { document.getElementById('scroller').scrollTop = 0; });
    await page.mouse.move(5, 5);
    const size = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(size[0] <= size[1], `${size[0]} wide in a window of ${size[1]}`);
    for (const selector of ['.bubble', '.assistant .prose:not(.small) p', '.meta', '.thought-title', '#model-name', '.code code', '.prose th', '#tab-cluster']) {
      assert.ok(await contrast(page, selector) >= 4.5, `contrast of ${selector}`);
    }
    await page.click('#tab-cluster');
    await page.waitForSelector('.rank');
    for (const selector of ['.figure dt', '.figure strong', '.piece', '.rank dt', '.state']) {
      assert.ok(await contrast(page, selector) >= 4.5, `contrast of ${selector}`);
    }
    assert.deepEqual(page.faults, []);
    await pictures(context, name);
  });
}

test('phone: the list of chats lies over the page and goes away, buttons are big enough', async () => {
  const page = await openPage(url, PHONE);
  await answerWith(page, [{ content: 'ok' }]);
  await say(page, 'hello');
  await answered(page);
  assert.equal(await page.locator('#sidebar').evaluate((node) => node.inert), true);
  await page.tap('#sidebar-open');
  await page.tap('.conversation');
  await page.waitForFunction(() => getComputedStyle(document.getElementById('sidebar')).visibility === 'hidden');
  for (const button of await page.locator('button:visible').all()) {
    const box = await button.boundingBox();
    assert.ok(box.width >= 34 && box.height >= 34, `${await button.getAttribute('id')} is ${box.width} x ${box.height}`);
  }
});

test('all of it works by keyboard, and the focus can be seen', async () => {
  const page = await openPage(url, WIDE);
  await answerWith(page, [{ content: 'An answer.' }]);
  await page.waitForFunction(() => document.activeElement.id === 'prompt');
  await page.keyboard.type('by keyboard');
  await page.keyboard.press('Shift+Enter');
  await page.keyboard.type('only');
  await page.keyboard.press('Enter');
  await answered(page);
  assert.equal(await page.locator('.bubble').innerText(), 'by keyboard\nonly');
  await page.waitForFunction(() => document.getElementById('status').textContent === 'Answer: An answer.');

  const seen = new Set();
  await page.evaluate(() => document.activeElement.blur());
  for (let i = 0; i < 30; i += 1) {
    await page.keyboard.press('Tab');
    const focus = await page.evaluate(() => {
      const node = document.activeElement;
      if (node === document.body) return {};
      const style = getComputedStyle(node);
      const framed = style.outlineStyle !== 'none' || node.id === 'prompt';
      return { name: node.getAttribute('aria-label') ?? node.textContent.trim(), framed, id: node.id };
    });
    if (focus.id || focus.name) {
      assert.ok(focus.framed, `${focus.id || focus.name} shows no focus`);
      seen.add(focus.id || focus.name);
    }
  }
  for (const name of ['sidebar-open', 'tab-chat', 'theme', 'settings-open', 'new-chat', 'Edit message', 'Copy answer', 'Answer again', 'prompt', 'send']) {
    assert.ok(seen.has(name), `Tab reaches ${name}`);
  }
  await page.focus('#tab-chat');
  await page.keyboard.press('ArrowRight');
  await page.waitForSelector('.rank');
  await page.keyboard.press('ArrowLeft');
  await page.focus('#settings-open');
  await page.keyboard.press('Enter');
  await page.waitForSelector('#settings[open]');
  await page.keyboard.press('Escape');
  await page.waitForFunction(() => document.activeElement.id === 'settings-open');
  assert.deepEqual(page.faults, []);
});

test('the colours follow the system until someone chooses, and nothing moves for who wants none', async () => {
  const page = await openPage(url, { ...WIDE, colorScheme: 'dark', reducedMotion: 'reduce' });
  const ground = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const dark = await ground();
  await page.click('#theme');
  const light = await ground();
  assert.notEqual(light, dark);
  assert.equal(light, 'rgb(255, 255, 255)');
  await page.reload();
  assert.equal(await ground(), light);
  await page.click('#theme');
  assert.equal(await ground(), dark);
  const moving = await page.evaluate(() => [...document.querySelectorAll('*')].filter((node) => {
    const style = getComputedStyle(node);
    return style.animationName !== 'none' || style.transitionDuration.split(', ').some((time) => time !== '0s');
  }).length);
  assert.equal(moving, 0);
});
