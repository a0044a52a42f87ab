// Conversations and settings, kept in this browser.

const CHATS = 'tandem.chats';
const SETTINGS = 'tandem.settings';
const CHATS_MAX = 200;

function read(key, fallback) {
  try {
    return JSON.parse(localStorage.getItem(key)) ?? fallback;
  } catch {
    return fallback;
  }
}

const isMessage = (message) => message && ['user', 'assistant'].includes(message.role)
  && typeof message.content === 'string';
const isChat = (chat) => chat && typeof chat.id === 'string' && typeof chat.title === 'string'
  && Array.isArray(chat.messages) && chat.messages.every(isMessage);

/**
 * The chats, newest first: {id, title, updated, messages: [{role, content, reasoning?, note?}]}.
 * What an older page or another hand left in the storage is dropped if it has another shape.
 */
export class Chats {
  constructor() {
    this.load();
  }

  load() {
    const stored = read(CHATS, []);
    this.list = Array.isArray(stored) ? stored.filter(isChat) : [];
  }

  find(id) {
    return this.list.find((chat) => chat.id === id);
  }

  create() {
    return { id: crypto.randomUUID?.() ?? `${Date.now()}-${Math.random()}`, title: 'New chat', updated: 0, messages: [] };
  }

  /** Puts a chat on top. False when the browser has no room for it, even without the oldest. */
  save(chat) {
    this.load();  // another tab may have written since
    chat.updated = Date.now();
    this.list = [chat, ...this.list.filter((other) => other.id !== chat.id)].slice(0, CHATS_MAX);
    return this.write();
  }

  remove(id) {
    this.load();
    this.list = this.list.filter((chat) => chat.id !== id);
    return this.write();
  }

  clear() {
    this.list = [];
    return this.write();
  }

  write() {
    for (;;) {
      try {
        localStorage.setItem(CHATS, JSON.stringify(this.list));
        return true;
      } catch {
        if (this.list.length <= 1) return false;
        this.list.pop();
      }
    }
  }
}

export const isChatsKey = (key) => key === CHATS;

export const loadSettings = () => {
  const stored = read(SETTINGS, {});
  return stored && typeof stored === 'object' && !Array.isArray(stored) ? stored : {};
};

export const saveSettings = (settings) => {
  try {
    localStorage.setItem(SETTINGS, JSON.stringify(settings));
  } catch {
    // No room: they hold until the page closes.
  }
};
