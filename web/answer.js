// One answer being written: asks the server and keeps the message up to date.

import { ApiError, streamChat } from './api.js';
import { formatNumber } from './dom.js';
import { requestFields, systemPrompt } from './settings.js';

/** What the server is told of a conversation: no empty answers, no thoughts. */
function history(messages) {
  const system = systemPrompt();
  const said = messages.filter((message) => message.role === 'user' || message.content)
    .map(({ role, content }) => ({ role, content }));
  return system ? [{ role: 'system', content: system }, ...said] : said;
}

export class Answer {
  /** Appends an answer to the chat's messages. `changed()` is called as it grows. */
  constructor(chat, changed) {
    this.chat = chat;
    this.changed = changed;
    this.message = { role: 'assistant', content: '', reasoning: '' };
    this.sent = history(chat.messages);
    chat.messages.push(this.message);
    this.controller = new AbortController();
    this.progress = '';
    this.pieces = 0;
    this.first = 0;
  }

  stop() {
    this.controller.abort();
  }

  /** Pieces a second so far; a piece is about a token. */
  get speed() {
    const seconds = (performance.now() - this.first) / 1000;
    return this.pieces > 4 && seconds > 0.2 ? this.pieces / seconds : 0;
  }

  /** Resolves when it is over, whatever happened; message.note says so. Throws only a 401. */
  async write(model) {
    const began = performance.now();
    try {
      const body = { model: await model(), messages: this.sent, ...requestFields() };
      await streamChat(body, this.controller.signal, {
        delta: (delta) => this.add(delta, began),
        progress: (done, total) => {
          if (done < total) this.progress = `Reading ${formatNumber(done)} of ${formatNumber(total)} tokens`;
          this.changed();
        },
        finish: (end) => this.finish(end),
      });
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) throw error;
      this.fail(error);
    }
    this.changed();
  }

  add({ content, reasoning }, began) {
    this.pieces += 1;
    if (!this.first) this.first = performance.now();
    this.progress = '';
    this.message.reasoning += reasoning;
    if (content && this.message.reasoning && !this.message.content) {
      this.message.thought = Math.max(0.1, Math.round((performance.now() - began) / 100) / 10);
    }
    this.message.content += content;
    this.changed();
  }

  finish({ reason, usage, timings }) {
    const seconds = (performance.now() - this.first) / 1000;
    const tokens = usage?.completion_tokens ?? this.pieces;
    this.message.stats = { tokens, tps: timings?.predicted_per_second ?? (seconds > 0 ? tokens / seconds : 0) };
    if (reason === 'length') this.message.note = { kind: 'length' };
    if (!this.message.content && !this.message.reasoning) {
      this.message.note = { kind: 'error', text: 'The model gave an empty answer.' };
    }
  }

  fail(error) {
    if (error.name === 'AbortError') this.message.note = { kind: 'stopped' };
    else if (error instanceof ApiError) this.message.note = { kind: 'error', text: error.message };
    else this.message.note = { kind: 'error', text: `The answer could not be read: ${error.message}` };
  }
}
