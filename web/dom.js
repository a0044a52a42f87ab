// Small helpers for building the page. Text goes in as text nodes, never as markup.

/** An element: properties, `on…` handlers, `class`, aria-/data- attributes, then children. */
export function el(tag, options = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === 'class') node.className = value;
    else if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (name in node && !name.includes('-')) node[name] = value;
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

export const byId = (id) => document.getElementById(id);

const SVG = 'http://www.w3.org/2000/svg';

export function svg(tag, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// Outlines on a 24 x 24 grid.
const ICONS = {
  close: 'M6 6l12 12M18 6L6 18',
  plus: 'M12 5v14M5 12h14',
  menu: 'M4 7h16M4 12h16M4 17h16',
  theme: 'M12 3a9 9 0 1 0 9 9 7 7 0 0 1-9-9z',
  sliders: 'M4 7h10M18 7h2M4 17h2M10 17h10M14 4v6M6 14v6',
  send: 'M12 20V5M5 12l7-7 7 7',
  stop: 'M7 7h10v10H7z',
  down: 'M12 5v14M5 12l7 7 7-7',
  key: 'M21 8a5 5 0 1 1-10 0 5 5 0 0 1 10 0zM12.5 11.5 4 20M7 17l2.5 2.5',
  copy: 'M9 9h11v11H9zM5 15H4V4h11v1',
  check: 'M5 13l4 4L19 7',
  edit: 'M4 20h4L19 9l-4-4L4 16zM13 7l4 4',
  retry: 'M20 11a8 8 0 1 0-2 6M20 4v7h-7',
  trash: 'M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13',
};

export function icon(name) {
  return svg('svg', { viewBox: '0 0 24 24', class: 'glyph', 'aria-hidden': 'true' },
    svg('path', { d: ICONS[name] }));
}

/** A button that shows an icon and says what it does. */
export function iconButton(name, label, onclick, extra = '') {
  return el('button', {
    type: 'button', class: `icon ${extra}`, title: label, 'aria-label': label, onclick,
  }, icon(name));
}

/** Puts icons into the buttons of index.html. */
export function fillIcons() {
  for (const node of document.querySelectorAll('[data-icon]')) {
    node.prepend(icon(node.dataset.icon));
    if (node.ariaLabel && !node.title) node.title = node.ariaLabel;
  }
}

/** Tells people who listen to the page rather than look at it. */
export function announce(text) {
  byId('status').textContent = text;
}

let toastTimer = 0;

/** A short message that goes away by itself. */
export function toast(text) {
  const node = byId('toast');
  node.textContent = text;
  node.classList.add('shown');
  announce(text);
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => node.classList.remove('shown'), 2500);
}

/** Asks before something is lost; resolves to whether to go on. */
export function confirmed(question, action) {
  const dialog = byId('confirm');
  byId('confirm-text').textContent = question;
  byId('confirm-yes').textContent = action;
  dialog.returnValue = 'no';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
  });
}

/** Copies text, also where the clipboard API is not offered (plain http to another machine). */
export async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = el('textarea', { value: text, class: 'sr', readOnly: true });
    document.body.append(area);
    area.select();
    const copied = document.execCommand('copy');
    area.remove();
    if (!copied) return toast('The browser did not let this page copy');
  }
  return toast('Copied');
}

const number = new Intl.NumberFormat('en', { maximumFractionDigits: 1 });

export const formatNumber = (value) => number.format(value);

/** Bytes in the unit that leaves one to three digits before the point. */
export function formatBytes(bytes) {
  const units = ['B', 'KB', 'MB', 'GB', 'TB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${number.format(value)} ${units[unit]}`;
}
