// The server's HTTP API as this page uses it.

import { readEvents } from './sse.js';

const KEY = 'tandem.key';

/** What went wrong, in words for people; status 0: the server was not reached. */
export class ApiError extends Error {
  constructor(status, message, code = '') {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export function loadKey() {
  return sessionStorage.getItem(KEY) ?? localStorage.getItem(KEY) ?? '';
}

export const keyIsRemembered = () => localStorage.getItem(KEY) !== null;

export function saveKey(key, remember) {
  sessionStorage.removeItem(KEY);
  localStorage.removeItem(KEY);
  if (key) (remember ? localStorage : sessionStorage).setItem(KEY, key);
}

/** OpenAI's error body, or what can be made of another one. */
async function errorOf(response) {
  const text = await response.text().catch(() => '');
  try {
    const { error } = JSON.parse(text);
    if (error?.message) return new ApiError(response.status, error.message, error.code ?? '');
  } catch {
    // Not JSON: a proxy's page, perhaps.
  }
  return new ApiError(response.status, `The server answered ${response.status} ${response.statusText}`);
}

async function request(path, options = {}) {
  const headers = { ...options.headers };
  const key = loadKey();
  if (key) headers.Authorization = `Bearer ${key}`;
  let response;
  try {
    response = await fetch(path, { ...options, headers, cache: 'no-store' });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new ApiError(0, 'The server cannot be reached. Is it still running?');
  }
  if (!response.ok) throw await errorOf(response);
  return response;
}

export const getModels = async () => (await (await request('/v1/models')).json()).data;

export const getCluster = async (signal) => (await request('/cluster', { signal })).json();

/** { ready, message }: whether the server can answer, and if not why. */
export async function getHealth() {
  try {
    await request('/health');
    return { ready: true, message: '' };
  } catch (error) {
    return { ready: false, message: error.message };
  }
}

/**
 * One streamed chat. `on` hears delta({content, reasoning}), progress(done, total) while a prompt is
 * read, and finish({reason, usage, timings}). Throws ApiError, or AbortError after signal.
 */
export async function streamChat(body, signal, on) {
  const response = await request('/v1/chat/completions', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
    signal,
  });
  const end = { reason: '', usage: null, timings: null };
  let whole = false;
  await readEvents(response, {
    data(text) {
      if (text === '[DONE]') {
        whole = true;
        return;
      }
      const chunk = JSON.parse(text);
      if (chunk.error) {
        throw new ApiError(chunk.error.status ?? 500, chunk.error.message, chunk.error.code ?? '');
      }
      if (chunk.usage) end.usage = chunk.usage;
      if (chunk.timings) end.timings = chunk.timings;
      const choice = chunk.choices?.[0];
      if (!choice) return;
      if (choice.finish_reason) end.reason = choice.finish_reason;
      const { content, reasoning_content: thought, reasoning } = choice.delta ?? {};
      if (content || thought || reasoning) {
        on.delta({ content: content ?? '', reasoning: thought ?? reasoning ?? '' });
      }
    },
    comment(text) {
      const [, done, total] = text.match(/(\d+)\s*\/\s*(\d+)/) ?? [];
      if (total) on.progress(Number(done), Number(total));
    },
  });
  if (!whole) throw new ApiError(0, 'The connection broke before the answer was complete.');
  on.finish(end);
}
