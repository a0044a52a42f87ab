// Asks for the server's API key.

import { keyIsRemembered, loadKey, saveKey } from './api.js';
import { byId, toast } from './dom.js';

let waiting = null;

/** Resolves to whether a key was given. While it is open, further callers get the same answer. */
export function askForKey(reason) {
  if (waiting) return waiting;
  const dialog = byId('key');
  byId('key-reason').textContent = reason
    ?? 'This server asks for a key. Whoever runs it has one for you.';
  byId('key-value').value = loadKey();
  byId('key-remember').checked = keyIsRemembered();
  dialog.returnValue = 'cancel';
  dialog.showModal();
  byId('key-value').select();
  waiting = new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      waiting = null;
      const value = byId('key-value').value.trim();
      const given = dialog.returnValue === 'save' && value !== '';
      if (given) saveKey(value, byId('key-remember').checked);
      resolve(given);
    }, { once: true });
  });
  return waiting;
}

export function watchKeyDialog() {
  // Enter in the field presses the form's first button, so say which one is meant.
  byId('key-value').addEventListener('keydown', (event) => {
    if (event.key !== 'Enter') return;
    event.preventDefault();
    byId('key-save').click();
  });
  byId('key-forget').addEventListener('click', () => {
    saveKey('', false);
    byId('key-value').value = '';
    byId('key').close('cancel');
    toast('The key is forgotten');
  });
}
