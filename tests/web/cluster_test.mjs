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
