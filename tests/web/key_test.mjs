// A server with a key: the page asks for it, keeps it where it is told to, and asks again.

import assert from 'node:assert/strict';
import test from 'node:test';

import { answered, openPage, say, server } from './browser.mjs';

const KEY = 'the-key-of-this-test';
const url = await server('--api-key', KEY);

const kept = (page) => page.evaluate(() => [sessionStorage.getItem('tandem.key'), localStorage.getItem('tandem.key')]);

async function giveKey(page, key, remember) {
  await page.waitForSelector('#key[open]');
  await page.fill('#key-value', key);
  await page.setChecked('#key-remember', remember);
  await page.press('#key-value', 'Enter');
}

test('the page asks for the key before anything else, and says when it is wrong', async () => {
  const page = await openPage(url);
  await giveKey(page, 'wrong', false);
  await page.waitForFunction(() => /wrong/.test(document.getElementById('key-reason').textContent)
    && document.getElementById('key').open);
  await giveKey(page, KEY, false);
  await page.waitForSelector('.model.ready');
  assert.deepEqual(await kept(page), [KEY, null]);
  await say(page, 'What is the package wget?');
  assert.match(await (await answered(page)).locator('.prose').last().innerText(), /\w/);
  await page.click('#tab-cluster');
  await page.waitForSelector('.rank');
  assert.deepEqual(page.faults, []);
});

test('a key that is to be kept outlives the tab, and can be forgotten', async () => {
  const page = await openPage(url);
  await giveKey(page, KEY, true);
  await page.waitForSelector('.model.ready');
  assert.deepEqual(await kept(page), [null, KEY]);
  const again = await page.context().newPage();
  await again.goto(`${url}/`);
  await again.waitForSelector('.model.ready');
  await again.click('#settings-open');
  await again.click('#key-open');
  await again.click('#key-forget');
  assert.deepEqual(await kept(again), [null, null]);
});

test('without a key a chat ends in words, and with one it goes on by itself', async () => {
  const page = await openPage(url);
  await page.waitForSelector('#key[open]');
  await page.keyboard.press('Escape');
  await page.locator('#model-name', { hasText: 'needs a key' }).waitFor();
  await say(page, 'What is the package wget?');
  await page.waitForSelector('#key[open]');
  await page.keyboard.press('Escape');
  const answer = await answered(page);
  assert.match(await answer.locator('.problem-box').innerText(), /key/i);
  await answer.getByRole('button', { name: 'Try again' }).click();
  await giveKey(page, KEY, false);
  await page.waitForFunction(() => document.querySelector('.assistant .meta')?.textContent.includes('tok/s'));
  assert.equal(await page.locator('.assistant').count(), 1);
  assert.deepEqual(page.faults, []);
});
