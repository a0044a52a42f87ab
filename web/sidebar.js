// The list of conversations.

import { byId, confirmed, el, iconButton } from './dom.js';

const WIDE = matchMedia('(min-width: 860px)');

export class Sidebar {
  /** `actions`: create(), open(chat), remove(chat), current(), writing(id). */
  constructor(chats, actions) {
    this.chats = chats;
    this.actions = actions;
    byId('new-chat').addEventListener('click', () => {
      actions.create();
      this.close();
      byId('prompt').focus();
    });
    byId('sidebar-open').addEventListener('click', () => this.toggle());
    byId('sidebar-close').addEventListener('click', () => this.close(true));
    byId('scrim').addEventListener('click', () => this.close());
    byId('sidebar').addEventListener('keydown', (event) => {
      if (event.key === 'Escape' && !WIDE.matches) this.close(true);
    });
    WIDE.addEventListener('change', () => this.place());
    this.opened = false;
    this.folded = false;
    this.place();
  }

  /** On a wide window the list stands beside the chat; on a narrow one it lies over it. */
  place() {
    const shown = WIDE.matches ? !this.folded : this.opened;
    document.body.classList.toggle('with-sidebar', shown);
    byId('sidebar').inert = !shown;
    byId('scrim').hidden = WIDE.matches || !shown;
    byId('sidebar-open').setAttribute('aria-expanded', String(shown));
  }

  toggle() {
    if (WIDE.matches) this.folded = !this.folded;
    else this.opened = !this.opened;
    this.place();
    if (this.opened && !WIDE.matches) byId('new-chat').focus();
  }

  close(focus = false) {
    this.opened = false;
    this.place();
    if (focus) byId('sidebar-open').focus();
  }

  render() {
    const current = this.actions.current();
    byId('conversations').replaceChildren(...this.chats.list.map((chat) => el('li', {},
      el('button', {
        type: 'button', class: 'conversation', title: chat.title, 'aria-current': chat.id === current?.id && 'true',
        onclick: () => {
          this.actions.open(chat);
          this.close();
          byId('prompt').focus();
        },
      }, el('span', {}, chat.title), this.actions.writing(chat.id) ? el('span', { class: 'pulse', title: 'Answering' }) : null),
      iconButton('trash', `Delete “${chat.title}”`, async () => {
        if (await confirmed(`Delete “${chat.title}”? It is kept nowhere else.`, 'Delete')) this.actions.remove(chat);
      }, 'quiet'))));
  }
}
