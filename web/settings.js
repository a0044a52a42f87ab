// The sampling settings: their fields, limits and meanings. Empty means the model's own.

import { byId, el } from './dom.js';
import { loadSettings, saveSettings } from './store.js';

const FIELDS = [
  { name: 'temperature', label: 'Temperature', min: 0, max: 2, step: 0.05, help: 'Higher is more varied; 0 always takes the likeliest word.' },
  { name: 'top_p', label: 'Top P', min: 0.01, max: 1, step: 0.01, help: 'Only the likeliest words that make up this share.' },
  { name: 'top_k', label: 'Top K', min: 0, max: 1000, step: 1, help: 'Only so many of the likeliest words; 0 for all.' },
  { name: 'min_p', label: 'Min P', min: 0, max: 0.99, step: 0.01, help: 'Only words at least this likely, measured by the likeliest.' },
  { name: 'max_tokens', label: 'Longest answer', min: 1, max: 1000000, step: 1, help: 'In tokens, of about four letters each.' },
  { name: 'seed', label: 'Seed', min: 0, max: Number.MAX_SAFE_INTEGER, step: 1, help: 'The same seed gives the same answer again.' },
];

let settings = loadSettings();

/** The fields of a chat request that the settings ask for. */
export function requestFields() {
  const out = {};
  for (const { name } of FIELDS) if (Number.isFinite(settings[name])) out[name] = settings[name];
  return out;
}

export const systemPrompt = () => (typeof settings.system === 'string' ? settings.system.trim() : '');

function readField(field, input, problem) {
  const value = input.value.trim() === '' ? undefined : Number(input.value);
  const whole = field.step === 1;
  const good = value === undefined || (Number.isFinite(value) && value >= field.min
    && value <= field.max && (!whole || Number.isInteger(value)));
  input.setAttribute('aria-invalid', String(!good));
  problem.textContent = good ? '' : `A ${whole ? 'whole ' : ''}number from ${field.min} to ${field.max}`;
  if (!good) return;
  settings[field.name] = value;
  saveSettings(settings);
}

function fieldNode(field) {
  const id = `setting-${field.name}`;
  const problem = el('span', { class: 'problem', role: 'alert' });
  const input = el('input', {
    id, type: 'text', inputMode: field.step === 1 ? 'numeric' : 'decimal', placeholder: 'model’s own',
    autocomplete: 'off', 'aria-describedby': `${id}-help`, value: settings[field.name] ?? '',
    oninput: () => readField(field, input, problem),
  });
  return el('div', { class: 'field' },
    el('label', { htmlFor: id }, field.label), input,
    el('p', { class: 'fine', id: `${id}-help` }, field.help), problem);
}

function systemNode() {
  const area = el('textarea', {
    id: 'setting-system', rows: 3, placeholder: 'None', value: settings.system ?? '',
    'aria-describedby': 'setting-system-help',
    oninput: () => {
      settings.system = area.value;
      saveSettings(settings);
    },
  });
  return el('div', { class: 'field wide-field' },
    el('label', { htmlFor: area.id }, 'System prompt'), area,
    el('p', { class: 'fine', id: 'setting-system-help' }, 'Said to the model before each conversation.'));
}

export function showSettings() {
  byId('settings-fields').replaceChildren(systemNode(), ...FIELDS.map(fieldNode));
}

export function resetSettings() {
  settings = {};
  saveSettings(settings);
  showSettings();
}
