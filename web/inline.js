// Markdown inside a line: code, emphasis, links. Gives DOM nodes; what is not markup stays text.

import { el } from './dom.js';

const NESTING_MAX = 12;
const PUNCTUATION = /[!-/:-@[-`{-~]/;

/** An address that is safe to link to, or null: only http and https. */
export function safeUrl(text) {
  try {
    const url = new URL(text);
    return url.protocol === 'http:' || url.protocol === 'https:' ? url.href : null;
  } catch {
    return null;
  }
}

function link(url, children) {
  return el('a', { href: url, target: '_blank', rel: 'noopener noreferrer nofollow' }, ...children);
}

/** `code`, closed by as many backticks as opened it. */
function codeSpan(text, at) {
  const ticks = text.slice(at).match(/^`+/)[0];
  let end = at + ticks.length;
  for (;;) {
    end = text.indexOf(ticks, end);
    if (end < 0) return null;
    const run = text.slice(end).match(/^`+/)[0];
    if (run.length === ticks.length) break;
    end += run.length;
  }
  let inside = text.slice(at + ticks.length, end).replaceAll('\n', ' ');
  if (/^ .*\S.* $/.test(inside)) inside = inside.slice(1, -1);
  return { node: el('code', {}, inside), end: end + ticks.length };
}

/** The index behind the bracket that closes the one at `at`; -1 when none does. */
function closing(text, at, open, close) {
  let depth = 0;
  for (let i = at; i < text.length; i += 1) {
    if (text[i] === '\\') i += 1;
    else if (text[i] === open) depth += 1;
    else if (text[i] === close) {
      depth -= 1;
      if (depth === 0) return i + 1;
    }
  }
  return -1;
}

/** [words](address "title"), and ![words](address), which becomes a link: no foreign images. */
function bracketLink(text, at, depth) {
  const image = text[at] === '!';
  const open = image ? at + 1 : at;
  const behind = closing(text, open, '[', ']');
  if (behind < 0 || text[behind] !== '(') return null;
  const end = closing(text, behind, '(', ')');
  if (end < 0) return null;
  const target = text.slice(behind + 1, end - 1).trim().replace(/\s+("[^"]*"|'[^']*')$/, '');
  const url = safeUrl(target.replace(/^<(.*)>$/, '$1'));
  const words = text.slice(open + 1, behind - 1);
  if (!url) return null;
  return { node: link(url, words ? inline(words, depth + 1, true) : [url]), end };
}

/** <https://…> and https://… as it stands. */
function bareLink(text, at) {
  const rest = text.slice(at);
  const [, angled] = rest.match(/^<(https?:\/\/[^\s<>]+)>/) ?? [];
  if (angled) {
    const url = safeUrl(angled);
    return url && { node: link(url, [angled]), end: at + angled.length + 2 };
  }
  if (at > 0 && /\w/.test(text[at - 1])) return null;
  let [found] = rest.match(/^https?:\/\/[^\s<>"'`]+/) ?? [];
  if (!found) return null;
  found = found.replace(/[.,;:!?*_~]+$/, '');
  while (found.endsWith(')') && found.split(')').length > found.split('(').length) {
    found = found.slice(0, -1);
  }
  const url = safeUrl(found);
  return url && { node: link(url, [found]), end: at + found.length };
}

const EMPHASIS = [['***', 'strong', 'em'], ['___', 'strong', 'em'], ['**', 'strong'],
  ['__', 'strong'], ['~~', 'del'], ['*', 'em'], ['_', 'em']];

function emphasis(text, at, depth) {
  for (const [mark, tag, inner] of EMPHASIS) {
    if (!text.startsWith(mark, at)) continue;
    const words = mark[0] === '_';
    if (words && at > 0 && /\w/.test(text[at - 1])) return null;
    const begin = at + mark.length;
    if (!text[begin] || /\s/.test(text[begin])) continue;
    const end = emphasisEnd(text, begin, mark, words);
    if (end < 0) continue;
    const children = inline(text.slice(begin, end), depth + 1);
    const node = inner ? el(tag, {}, el(inner, {}, ...children)) : el(tag, {}, ...children);
    return { node, end: end + mark.length };
  }
  return null;
}

function emphasisEnd(text, begin, mark, words) {
  for (let at = begin; at < text.length; at += 1) {
    if (text[at] === '\\') at += 1;
    else if (text[at] === '`') {
      const code = codeSpan(text, at);
      if (code) at = code.end - 1;
    } else if (text.startsWith(mark, at) && at > begin && !/\s/.test(text[at - 1])) {
      // The mark is a run of its own: ** is no end of *.
      let run = 1;
      while (text[at + run] === mark[0]) run += 1;
      const ends = run === mark.length || (run === 3 && mark.length < 3);
      if (ends && !(words && /\w/.test(text[at + run] ?? ' '))) return at + run - mark.length;
      at += run - 1;
    }
  }
  return -1;
}

/** The nodes of a text. Inside a link there are no further ones. */
export function inline(text, depth = 0, linked = false) {
  if (depth > NESTING_MAX) return [text];
  const nodes = [];
  let plain = '';
  const add = (node) => {
    if (plain) nodes.push(plain);
    plain = '';
    nodes.push(node);
  };
  for (let at = 0; at < text.length;) {
    const mark = text[at];
    let found = null;
    if (mark === '\\' && PUNCTUATION.test(text[at + 1] ?? '')) {
      plain += text[at + 1];
      at += 2;
      continue;
    }
    if (mark === '\n') {
      const hard = / {2,}$/.test(plain);
      plain = plain.trimEnd();
      if (hard) add(el('br'));
      else plain += '\n';
      at += 1;
      continue;
    }
    if (mark === '`') found = codeSpan(text, at);
    else if (mark === '*' || mark === '_' || mark === '~') found = emphasis(text, at, depth);
    else if (!linked && (mark === '[' || (mark === '!' && text[at + 1] === '['))) found = bracketLink(text, at, depth);
    else if (!linked && (mark === '<' || mark === 'h')) found = bareLink(text, at);
    if (found) {
      add(found.node);
      at = found.end;
    } else {
      // A run of marks that opens nothing is text as a whole, so that it is looked at once.
      const run = '*_~`'.includes(mark) ? text.slice(at).match(/^(.)\1*/)[0].length : 1;
      plain += text.slice(at, at + run);
      at += run;
    }
  }
  if (plain) nodes.push(plain);
  return nodes;
}
