// Starts `tandem serve` and Chromium for the tests of the web page.

import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const ROOT = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
const PLACES = ['/usr/bin/chromium', '/Applications/Chromium.app/Contents/MacOS/Chromium',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome'];
/** The token with which the embedded model ends an answer. */
export const DEMO_END = JSON.parse(readFileSync(
  join(ROOT, 'models', 'tandem-demo', 'generation_config.json'))).eos_token_id;
export const DEADLINE_MS = 60000;

/** --tandem BINARY, and --screenshots FOLDER for the test that takes them. */
export const { values: options } = parseArgs({
  options: { tandem: { type: 'string' }, screenshots: { type: 'string' } },
});

function chromium() {
  const place = PLACES.find(existsSync);
  if (!place) throw new Error('no Chromium: install the package chromium');
  const packages = join(ROOT, '.deps', 'web', 'node_modules');
  if (!existsSync(packages)) throw new Error('no .deps/web: run tools/setup/setup.sh test');
  const { chromium: driver } = createRequire(join(packages, 'x.js'))('playwright-core');
  return driver.launch({ executablePath: place, chromiumSandbox: process.getuid() !== 0 });
}

/** A running server: { url, stop() }. It listens at a free port and says its address. */
export async function serve(...flags) {
  const child = spawn(options.tandem, ['serve', '--port', '0', ...flags], { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  const url = await new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`tandem serve gave no address: ${said}`)), DEADLINE_MS);
    const hear = (text) => {
      said += text;
      const [, address] = said.match(/(http:\/\/[\d.]+:\d+)/) ?? [];
      if (address) {
        clearTimeout(late);
        resolve(address);
      }
    };
    child.stdout.on('data', hear);
    child.stderr.on('data', hear);
    child.on('exit', (code) => reject(new Error(`tandem serve ended with ${code}: ${said}`)));
  });
  const ended = new Promise((resolve) => child.on('exit', resolve));
  return {
    url,
    said: () => said,
    async stop() {
      child.kill('SIGTERM');
      const killer = setTimeout(() => child.kill('SIGKILL'), 10000);
      await ended;
      clearTimeout(killer);
    },
  };
}

let browser = null;
const servers = [];

after(async () => {
  await browser?.close();
  for (const server of servers) await server.stop();
});

/** A server that lives as long as the tests of this file; ready when its model is. */
export async function server(...flags) {
  const started = await serve(...flags);
  servers.push(started);
  const end = Date.now() + DEADLINE_MS;
  while (!(await fetch(`${started.url}/health`)).ok) {
    if (Date.now() > end) throw new Error(`the model did not load: ${started.said()}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return started.url;
}

/**
 * A page in a context of its own. A script error, a message that the policy was broken, or a request
 * to anywhere else is kept in page.faults, which a test ends by finding empty.
 */
export async function openPage(url, context = {}) {
  browser ??= await chromium();
  const page = await (await browser.newContext(context)).newPage();
  page.setDefaultTimeout(DEADLINE_MS);
  page.faults = [];
  page.on('pageerror', (error) => page.faults.push(error.message));
  page.on('console', (message) => {
    if (/Content Security Policy|Refused to/.test(message.text())) page.faults.push(message.text());
  });
  page.on('request', (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith('data:')) page.faults.push(request.url());
  });
  await page.goto(`${url}/`);
  return page;
}

/** Has the page's next chats answered with these deltas instead of the model's. */
export async function answerWith(page, deltas, { finish = 'stop', comments = '' } = {}) {
  const chunks = deltas.map((delta) => ({ choices: [{ index: 0, delta, finish_reason: null }] }));
  chunks.push({ choices: [{ index: 0, delta: {}, finish_reason: finish }], timings: { predicted_per_second: 41.5 } });
  chunks.push({ choices: [], usage: { prompt_tokens: 3, completion_tokens: 7, total_tokens: 10 } });
  const body = comments + chunks.map((chunk) => `data: ${JSON.stringify(chunk)}\n\n`).join('');
  await page.route('**/v1/chat/completions', (route) => route.fulfill({
    status: 200, contentType: 'text/event-stream', body: `${body}data: [DONE]\n\n`,
  }));
}

export async function say(page, text) {
  await page.fill('#prompt', text);
  await page.press('#prompt', 'Enter');
}

/** Waits until nothing is being written; gives the last answer's element. */
export async function answered(page) {
  await page.waitForSelector('.assistant[aria-busy="false"]');
  await page.waitForSelector('#stop', { state: 'hidden' });
  return page.locator('.assistant').last();
}
