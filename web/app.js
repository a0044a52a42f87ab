// Puts the page together: views, theme, dialogs, and the state of the server.

import { getHealth, getModels } from './api.js';
import { ChatPage } from './chat.js';
import { ClusterPage } from './cluster.js';
import { announce, byId, confirmed, fillIcons, toast } from './dom.js';
import { askForKey, watchKeyDialog } from './key_dialog.js';
import { resetSettings, showSettings } from './settings.js';
import { Sidebar } from './sidebar.js';
import { Chats, isChatsKey } from './store.js';

const THEME = 'tandem.theme';
const THEMES = { system: 'as the system has it', light: 'light', dark: 'dark' };

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  byId('theme').title = `Colours: ${THEMES[theme]}`;
  byId('theme').setAttribute('aria-label', byId('theme').title);
}

function watchTheme() {
  const names = Object.keys(THEMES);
  const stored = localStorage.getItem(THEME);
  setTheme(names.includes(stored) ? stored : 'system');
  byId('theme').addEventListener('click', () => {
    const theme = names[(names.indexOf(document.documentElement.dataset.theme) + 1) % names.length];
    localStorage.setItem(THEME, theme);
    setTheme(theme);
    toast(`Colours: ${THEMES[theme]}`);
  });
}

/** Two tabs, moved between by click, arrow keys, or the address: #cluster. */
function watchTabs(cluster) {
  const tabs = [byId('tab-chat'), byId('tab-cluster')];
  const show = (name) => {
    for (const tab of tabs) {
      const chosen = tab.id === `tab-${name}`;
      tab.setAttribute('aria-selected', String(chosen));
      tab.tabIndex = chosen ? 0 : -1;
      byId(tab.getAttribute('aria-controls')).hidden = !chosen;
    }
    cluster.show(name === 'cluster');
  };
  const fromAddress = () => show(location.hash === '#cluster' ? 'cluster' : 'chat');
  const go = (tab) => {
    history.replaceState(null, '', tab.id === 'tab-cluster' ? '#cluster' : '#chat');
    fromAddress();
    tab.focus();
  };
  for (const tab of tabs) {
    tab.addEventListener('click', () => go(tab));
    tab.addEventListener('keydown', (event) => {
      if (event.key === 'ArrowLeft' || event.key === 'ArrowRight') go(tabs.find((other) => other !== tab));
    });
  }
  addEventListener('hashchange', fromAddress);
  fromAddress();
}

function watchSettings(chats, page) {
  const dialog = byId('settings');
  byId('settings-open').addEventListener('click', () => {
    showSettings();
    dialog.showModal();
  });
  dialog.addEventListener('click', (event) => {
    if (event.target === dialog) dialog.close();
  });
  byId('settings-reset').addEventListener('click', () => {
    resetSettings();
    announce('All settings are the model’s own');
  });
  byId('key-open').addEventListener('click', () => {
    dialog.close();
    askForKey('The server’s API key, if it asks for one.').then((given) => given && connect());
  });
  byId('clear-all').addEventListener('click', async () => {
    if (!(await confirmed('Delete all chats? They are kept nowhere else.', 'Delete all'))) return;
    for (const chat of [...chats.list]) page.forget(chat.id);
    chats.clear();
    page.open(chats.create());
    toast('All chats are deleted');
  });
}

let model = '';
let connecting = 0;

/** Finds out what the server runs; asks again while it loads or cannot be reached. */
async function connect() {
  const name = byId('model-name');
  clearTimeout(connecting);
  const again = (delay) => {
    connecting = setTimeout(connect, delay);
  };
  try {
    const models = await getModels();
    model = models[0]?.id ?? '';
    const health = await getHealth();
    byId('model').className = `model ${health.ready ? 'ready' : 'waiting'}`;
    name.textContent = health.ready ? model : health.message;
    byId('model').title = model;
    document.title = model ? `${model} · tandem` : 'tandem';
    again(health.ready ? 30000 : 1000);
  } catch (error) {
    byId('model').className = 'model failed';
    name.textContent = error.status === 401 ? 'needs a key' : 'not reached';
    byId('model').title = error.message;
    if (error.status === 401) {
      if (await askForKey(error.message)) connect();
    } else {
      again(3000);
    }
  }
}

/** The model's name for a request; finds it out first when the page has not been let in yet. */
async function modelName() {
  if (!model) {
    model = (await getModels())[0]?.id ?? '';
    connect();
  }
  return model;
}

function start() {
  fillIcons();
  watchTheme();
  watchKeyDialog();
  const chats = new Chats();
  let sidebar = null;
  const page = new ChatPage(chats, modelName, () => sidebar?.render());
  sidebar = new Sidebar(chats, {
    create: () => page.open(chats.create()),
    open: (chat) => page.open(chat),
    current: () => page.chat,
    writing: (id) => page.answers.has(id),
    remove: (chat) => {
      chats.remove(chat.id);
      page.forget(chat.id);
      sidebar.render();
      byId('new-chat').focus();
    },
  });
  sidebar.render();
  watchTabs(new ClusterPage());
  watchSettings(chats, page);
  // Another tab of the same browser changed the chats.
  addEventListener('storage', (event) => {
    if (!isChatsKey(event.key)) return;
    chats.load();
    sidebar.render();
  });
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && page.answer && !document.querySelector('dialog[open]')) page.stop();
  });
  byId('prompt').focus();
  connect();
}

start();
