// The conversation on the page.

import { Answer } from './answer.js';
import { announce, byId, el, formatNumber, toast } from './dom.js';
import { askForKey } from './key_dialog.js';
import { AnswerView, QuestionView } from './message_view.js';

const TITLE_MAX = 48;
const SUGGESTIONS = ['What can you help me with?', 'What is the package cmake?', 'Explain recursion with an example.'];

const titleOf = (text) => {
  const line = text.trim().split('\n')[0];
  return line.length > TITLE_MAX ? `${line.slice(0, TITLE_MAX - 1)}…` : line;
};

export class ChatPage {
  /** `model()` resolves to the model's name; `listChanged()` is called when the list of chats did. */
  constructor(chats, model, listChanged) {
    this.chats = chats;
    this.model = model;
    this.listChanged = listChanged;
    this.answers = new Map();  // by chat id, those being written
    this.frame = 0;
    this.pinned = true;  // the end of the conversation stays in sight
    this.scroller = byId('scroller');
    this.prompt = byId('prompt');
    byId('suggestions').replaceChildren(...SUGGESTIONS.map((text) => el('button', { type: 'button', onclick: () => this.send(text) }, text)));
    this.watch();
    this.open(chats.create());
  }

  watch() {
    byId('composer').addEventListener('submit', (event) => {
      event.preventDefault();
      this.sendPrompt();
    });
    this.prompt.addEventListener('keydown', (event) => {
      if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.sendPrompt();
    });
    this.prompt.addEventListener('input', () => this.fitPrompt());
    byId('stop').addEventListener('click', () => this.stop());
    byId('to-end').addEventListener('click', () => this.toEnd());
    this.scroller.addEventListener('scroll', () => {
      const below = this.scroller.scrollHeight - this.scroller.scrollTop - this.scroller.clientHeight;
      this.pinned = below < 60;
      byId('to-end').hidden = this.pinned;
    }, { passive: true });
    addEventListener('pagehide', () => {
      for (const { chat } of this.answers.values()) this.chats.save(chat);
    });
  }

  fitPrompt() {
    this.prompt.style.height = 'auto';
    this.prompt.style.height = `${Math.min(this.prompt.scrollHeight, 240)}px`;
  }

  toEnd() {
    this.pinned = true;
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  get answer() {
    return this.answers.get(this.chat.id);
  }

  open(chat) {
    this.chat = this.answers.get(chat.id)?.chat ?? chat;
    this.render();
    this.toEnd();
    this.listChanged();
  }

  /** Builds the whole conversation. */
  render() {
    const { messages } = this.chat;
    this.views = messages.map((message, at) => (message.role === 'user'
      ? new QuestionView(message, { edit: (text) => this.edit(at, text) })
      : new AnswerView(message, { retry: () => this.retry(at) })));
    byId('messages').replaceChildren(...this.views.map((view) => view.node));
    byId('welcome').hidden = messages.length > 0;
    messages.forEach((message, at) => {
      if (message.role === 'assistant') this.views[at].show(message, { live: false, last: at === messages.length - 1 });
    });
    this.update();
  }

  /** Shows what changed of the answer being written, and the right button. */
  update() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    const { answer } = this;
    byId('send').hidden = Boolean(answer);
    byId('stop').hidden = !answer;
    byId('speed').textContent = answer?.speed ? `${formatNumber(answer.speed)} tok/s` : '';
    if (answer) this.views.at(-1).show(answer.message, { live: true, last: true, progress: answer.progress });
    if (this.pinned) this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  /** Once a frame is enough, and a hidden page draws none. */
  changed(answer) {
    if (answer.chat !== this.chat || this.frame) return;
    this.frame = requestAnimationFrame(() => this.update());
  }

  sendPrompt() {
    const text = this.prompt.value.trim();
    if (!text || this.answer) return;
    this.prompt.value = '';
    this.fitPrompt();
    this.send(text);
  }

  send(text) {
    const { chat } = this;
    if (chat.messages.length === 0) chat.title = titleOf(text);
    chat.messages.push({ role: 'user', content: text });
    this.ask();
  }

  edit(at, text) {
    this.stop();
    if (at === 0) this.chat.title = titleOf(text);
    this.chat.messages.length = at;
    this.send(text);
    this.prompt.focus();
  }

  retry(at) {
    this.stop();
    this.chat.messages.length = at;
    this.ask();
    this.prompt.focus();
  }

  stop() {
    this.answer?.stop();
    this.answers.delete(this.chat.id);
  }

  forget(id) {
    this.answers.get(id)?.stop();
    this.answers.delete(id);
    if (this.chat.id === id) this.open(this.chats.create());
  }

  /** Has the model answer the current chat. */
  async ask() {
    const { chat } = this;
    const answer = new Answer(chat, () => this.changed(answer));
    this.answers.set(chat.id, answer);
    this.pinned = true;
    this.keep(chat);
    this.render();
    announce('The model is answering');
    let locked = null;
    try {
      await answer.write(this.model);
    } catch (error) {
      locked = error;
    }
    const current = this.answers.get(chat.id) === answer;
    if (current) this.answers.delete(chat.id);
    if (locked && current) {
      if (await askForKey(locked.message)) {
        chat.messages.pop();
        if (this.chat === chat) return this.ask();
      }
      answer.fail(locked);
    }
    if (chat.messages.includes(answer.message)) this.finish(answer);
    return undefined;
  }

  finish(answer) {
    const { chat, message } = answer;
    if (!this.answers.has(chat.id)) this.keep(chat);
    if (chat !== this.chat || this.answers.has(chat.id)) return;
    this.render();
    const { note } = message;
    if (note?.kind === 'error') announce(`No answer: ${note.text}`);
    else announce(`${note?.kind === 'stopped' ? 'Stopped. ' : ''}Answer: ${message.content.slice(0, 600)}`);
  }

  keep(chat) {
    if (!this.chats.save(chat)) toast('This browser has no room to keep the chat');
    this.listChanged();
  }
}
