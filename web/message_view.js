// One message on the page.

import { copyText, el, formatNumber, icon, iconButton } from './dom.js';
import { MarkdownView } from './markdown.js';

/** "Thought for 3 s", or what it is doing. */
function thoughtTitle(message, live) {
  if (live && !message.content) return 'Thinking…';
  return message.thought ? `Thought for ${formatNumber(message.thought)} s` : 'Thoughts';
}

/** What is said below an answer: speed and length, or why it ended early. */
function metaText(message) {
  const parts = [];
  const { note, stats } = message;
  if (note?.kind === 'stopped') parts.push('Stopped');
  if (note?.kind === 'length') parts.push('Reached the longest answer');
  if (stats?.tokens) parts.push(`${formatNumber(stats.tokens)} tokens`);
  if (stats?.tps) parts.push(`${formatNumber(stats.tps)} tok/s`);
  return parts.join(' · ');
}

export class AnswerView {
  /** `actions`: retry(). */
  constructor(message, actions) {
    this.actions = actions;
    const body = el('div', { class: 'prose' });
    const thoughts = el('div', { class: 'prose small' });
    this.title = el('span', { class: 'thought-title' });
    this.thoughts = el('details', { class: 'thoughts' }, el('summary', {}, this.title), thoughts);
    this.busy = el('p', { class: 'busy' }, el('span', { class: 'pulse', 'aria-hidden': 'true' }), this.progress = el('span'));
    this.problem = el('div', { class: 'problem-box', role: 'alert' });
    this.meta = el('span', { class: 'meta' });
    this.foot = el('footer', {}, this.meta,
      iconButton('copy', 'Copy answer', () => copyText(this.message.content), 'quiet'),
      this.again = iconButton('retry', 'Answer again', () => actions.retry(), 'quiet'));
    this.node = el('li', { class: 'message assistant' }, el('h3', { class: 'sr' }, 'Answer'),
      this.thoughts, body, this.busy, this.problem, this.foot);
    this.content = new MarkdownView(body);
    this.reasoning = new MarkdownView(thoughts);
    this.show(message, { live: false, last: false });
  }

  /** live: it is being written. last: it ends the conversation. */
  show(message, { live, last, progress = '' }) {
    this.message = message;
    this.node.setAttribute('aria-busy', String(live));
    this.thoughts.hidden = !message.reasoning;
    this.title.textContent = thoughtTitle(message, live);
    this.reasoning.show(message.reasoning ?? '');
    this.content.show(message.content);
    this.busy.hidden = !live;
    this.progress.textContent = progress;
    this.foot.hidden = live;
    this.again.hidden = !last;
    this.meta.textContent = metaText(message);
    this.showProblem(live ? null : message.note);
  }

  showProblem(note) {
    const wrong = note?.kind === 'error';
    this.problem.hidden = !wrong;
    this.problem.replaceChildren();
    if (!wrong) return;
    this.problem.append(el('p', {}, note.text), el('button', { type: 'button', onclick: () => this.actions.retry() },
      icon('retry'), 'Try again'));
  }
}

export class QuestionView {
  /** `actions`: edit(text). */
  constructor(message, actions) {
    this.message = message;
    this.actions = actions;
    this.text = el('div', { class: 'bubble' }, message.content);
    this.foot = el('footer', {},
      this.change = iconButton('edit', 'Edit message', () => this.edit(), 'quiet'),
      iconButton('copy', 'Copy message', () => copyText(message.content), 'quiet'));
    this.node = el('li', { class: 'message user' }, el('h3', { class: 'sr' }, 'You'), this.text, this.foot);
  }

  edit() {
    const area = el('textarea', { value: this.message.content, 'aria-label': 'Edit message', rows: 2 });
    const done = () => {
      form.replaceWith(this.text);
      this.foot.hidden = false;
      this.change.focus();
    };
    const send = () => {
      const text = area.value.trim();
      if (text) this.actions.edit(text);
    };
    const form = el('form', {
      class: 'edit',
      onsubmit: (event) => {
        event.preventDefault();
        send();
      },
      onkeydown: (event) => {
        if (event.key === 'Escape') {
          event.stopPropagation();
          done();
        } else if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
          event.preventDefault();
          send();
        }
      },
    }, area, el('div', { class: 'row' },
      el('button', { type: 'button', onclick: done }, 'Cancel'),
      el('button', { type: 'submit', class: 'primary' }, 'Send')));
    this.text.replaceWith(form);
    this.foot.hidden = true;
    area.style.height = `${Math.min(area.scrollHeight, 400)}px`;
    area.focus();
  }
}
