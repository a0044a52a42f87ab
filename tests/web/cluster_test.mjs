// The Cluster tab over two ranks.

import assert from 'node:assert/strict';
import test from 'node:test';

import { answered, openPage, say, server } from './browser.mjs';

const url = await server('--ranks', '2');

test('every rank is shown with its layers and memory, and every layer once', async () => {
  const page = await openPage(`${url}`);
  await page.goto(`${url}/#cluster`);
  await page.waitForSelector('.rank');
  const state = await (await fetch(`${url}/cluster`)).json();
  assert.equal(state.ranks.length, 2);
  assert.equal(await page.locator('.cluster-head h2').innerText(), state.model);
  const cards = await page.locator('.rank').allInnerTexts();
  assert.equal(cards.length, 2);
  let next = 0;
  state.ranks.forEach((rank, at) => {
    assert.equal(rank.layers[0], next);
    next = rank.layers[1];
    assert.match(cards[at], new RegExp(`Rank ${at}`));
    assert.ok(cards[at].includes(rank.host));
    assert.ok(cards[at].includes(`${rank.layers[0]}–${rank.layers[1] - 1}`));
    assert.match(cards[at], /Memory\s+[\d.]+ MB/);
  });
  assert.equal(await page.locator('.layers .piece').count(), 2);
  assert.deepEqual(page.faults, []);
});

test('its figures move while an answer is written, and rest while it is not seen', async () => {
  const page = await openPage(url);
  await say(page, 'What is the package cmake?');
  await answered(page);
  await page.click('#tab-cluster');
  const writing = page.locator('.figure', { hasText: 'Writing' }).locator('strong');
  await page.waitForFunction(() => Number(document.querySelector('.figure strong')?.textContent) > 0);
  assert.ok(Number(await writing.innerText()) > 0);
  let polls = 0;
  page.on('request', (request) => { polls += request.url().endsWith('/cluster'); });
  await page.waitForRequest('**/cluster');
  await page.waitForRequest('**/cluster');
  await page.click('#tab-chat');
  await page.waitForTimeout(200);
  polls = 0;
  await page.waitForTimeout(1500);
  assert.equal(polls, 0);
});

/** The text of a figure of a rank's card. */
const figureOf = (page, rank, name) => page.locator('.rank').nth(rank).locator(`[data-figure=${name}] dd`);

test('every rank shows load, speed and links, live', async () => {
  const page = await openPage(url);
  await page.click('#tab-cluster');
  for (const rank of [0, 1]) {
    await figureOf(page, rank, 'link_ms').waitFor();
    assert.match(await figureOf(page, rank, 'link_ms').innerText(), rank === 0 ? /^[\d.]+ ms from the gateway$/ : /^[\d.]+ ms from rank 0$/);
    await figureOf(page, rank, 'heartbeat_ms').waitFor();
    assert.match(await figureOf(page, rank, 'device').innerText(), /^CPU \(\w+\), \d+ threads?$/);
    assert.match(await figureOf(page, rank, 'memory_bytes').innerText(), /^[\d.]+ MB [\d.]+ GB free$/);
  }
  assert.equal(await figureOf(page, 0, 'return_ms').count(), 0);
  await figureOf(page, 1, 'return_ms').waitFor();
  const answer = fetch(`${url}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ messages: [{ role: 'user', content: 'hi' }], max_tokens: 1500, ignore_eos: true }),
  });
  for (const rank of [0, 1]) {
    await page.waitForFunction((at) => {
      const shown = (name) => Number.parseFloat(document.querySelectorAll('.rank')[at]?.querySelector(`[data-figure=${name}] dd`)?.textContent ?? '');
      return shown('load') > 0 && shown('load') <= 100 && shown('tps') > 0;
    }, rank);
    assert.equal(await page.locator('.rank').nth(rank).locator('[role=meter]').count(), 1);
  }
  assert.equal((await answer).status, 200);
  await page.waitForFunction(() => document.querySelector('.rank [data-figure=load] dd')?.textContent.startsWith('0 %'));
  assert.deepEqual(page.faults, []);
});

test('a rank that is lost is said, and that the model is loaded again', async () => {
  const page = await openPage(url);
  await page.click('#tab-cluster');
  await page.waitForSelector('.rank');
  const state = await (await fetch(`${url}/cluster`)).json();
  await page.route('**/cluster', (route) => route.fulfill({ json: {
    ...state, status: 'restarting', reason: 'rank 1 (127.0.0.1:4001, layers 5..9) was killed by signal 9',
    loaded_bytes: 1e9, total_bytes: 4e9, restarts: 2 } }));
  await page.waitForSelector('.state.restarting');
  assert.equal(await page.locator('.state').innerText(), 'loading again: rank 1 (127.0.0.1:4001, layers 5..9) was killed by signal 9');
  assert.match(await page.locator('.loading').innerText(), /1 GB of 4 GB loaded/);
  assert.match(await page.locator('.figure', { hasText: 'Ranks' }).innerText(), /loaded again 2 ×/);
  assert.equal(await page.locator('.rank').count(), 2, 'as they last were');
});

test('a server that went away is said, and found again', async () => {
  const page = await openPage(url);
  await page.click('#tab-cluster');
  await page.waitForSelector('.rank');
  await page.route('**/cluster', (route) => route.abort());
  await page.locator('#cluster .problem-box').waitFor();
  assert.match(await page.locator('#cluster .problem-box').innerText(), /cannot be reached/);
  await page.unroute('**/cluster');
  await page.waitForSelector('.rank');
});
