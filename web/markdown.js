// Markdown as DOM nodes: the parts of CommonMark and GitHub's tables that models write. Raw HTML is
// shown as the text it is.

import { copyText, el, iconButton } from './dom.js';
import { inline } from './inline.js';

const NESTING_MAX = 8;
const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^`\s]*)[^`]*$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*$/;
const RULE = /^ {0,3}([-*_])(\s*\1){2,}\s*$/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])( +|$)(.*)$/;
const DIVIDER = /^ {0,3}\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;

/** Whether a line closes a block of code: the mark that opened it, or more of the same. */
const closes = (mark, line) => line.trim().startsWith(mark) && line.trim().replaceAll(mark[0], '') === '';
const isBlank = (line) => line.trim() === '';
const indentOf = (line) => line.length - line.trimStart().length;

/** Splits text into the sources of its blocks. Only the last can change as text is added. */
export function blocksOf(text) {
  const lines = text.replaceAll('\r\n', '\n').replaceAll('\t', '    ').split('\n');
  const blocks = [];
  for (let at = 0; at < lines.length;) {
    if (isBlank(lines[at])) {
      at += 1;
      continue;
    }
    const end = blockEnd(lines, at);
    blocks.push(lines.slice(at, end).join('\n'));
    at = end;
  }
  return blocks;
}

function blockEnd(lines, at) {
  const fence = lines[at].match(FENCE);
  if (fence) {
    let end = at + 1;
    while (end < lines.length && !closes(fence[1], lines[end])) end += 1;
    return Math.min(end + 1, lines.length);
  }
  if (HEADING.test(lines[at]) || RULE.test(lines[at])) return at + 1;
  if (ITEM.test(lines[at])) return listEnd(lines, at);
  const quote = /^ {0,3}>/;
  let end = at + 1;
  if (quote.test(lines[at])) {
    while (end < lines.length && !isBlank(lines[end])) end += 1;
    return end;
  }
  while (end < lines.length && !isBlank(lines[end]) && !startsBlock(lines[end])) end += 1;
  return end;
}

const startsBlock = (line) => FENCE.test(line) || HEADING.test(line) || RULE.test(line)
  || /^ {0,3}>/.test(line) || /^ {0,3}([-*+]|1[.)]) +\S/.test(line);

/** A list goes on over blank lines as long as what follows is an item or indented. */
function listEnd(lines, at) {
  let end = at + 1;
  let fence = null;
  while (end < lines.length) {
    const line = lines[end];
    if (fence) {
      if (closes(fence, line)) fence = null;
    } else if (isBlank(line)) {
      let next = end;
      while (next < lines.length && isBlank(lines[next])) next += 1;
      const more = next < lines.length && (indentOf(lines[next]) >= 2 || sameList(lines[at], lines[next]));
      if (!more) return end;
      end = next - 1;
    } else {
      const [, mark] = line.trim().match(/^(`{3,}|~{3,})/) ?? [];
      if (indentOf(line) >= 2 && mark) fence = mark;
      else if (indentOf(line) < 2 && !ITEM.test(line) && startsBlock(line)) return end;
      else if (RULE.test(line)) return end;
    }
    end += 1;
  }
  return end;
}

function sameList(first, line) {
  const a = first.match(ITEM);
  const b = line.match(ITEM);
  return a && b && !RULE.test(line) && /\d/.test(a[2]) === /\d/.test(b[2]);
}

function codeBlock(lines) {
  const [, mark, language] = lines[0].match(FENCE);
  const closed = lines.length > 1 && closes(mark, lines.at(-1));
  const code = lines.slice(1, closed ? -1 : undefined).join('\n');
  return el('figure', { class: 'code' },
    el('figcaption', {}, el('span', {}, language || 'text'),
      iconButton('copy', 'Copy code', () => copyText(code))),
    el('pre', { tabIndex: 0 }, el('code', {}, code)));
}

function list(lines, depth) {
  const items = [];
  let indent = 0;
  for (const line of lines) {
    const match = line.match(ITEM);
    if (match && (items.length === 0 || indentOf(line) < 2 || indentOf(line) < indent)) {
      indent = match[1].length + match[2].length + Math.min(Math.max(match[3].length, 1), 4);
      items.push([match[4]]);
    } else {
      items.at(-1).push(line.slice(Math.min(indentOf(line), indent)));
    }
  }
  const number = lines[0].match(/^\s*(\d+)/);
  const loose = items.some((item) => item.some(isBlank));
  const node = el(number ? 'ol' : 'ul', number && number[1] !== '1' ? { start: Number(number[1]) } : {});
  for (const item of items) {
    const [, box, rest] = item[0].match(/^\[([ xX])\] (.*)$/) ?? [];
    if (box) item[0] = rest;
    const parts = nodesOf(item.join('\n'), depth + 1);
    // A tight item's first paragraph stands in the line of its mark.
    const first = !loose && parts[0]?.tagName === 'P' ? [...parts.shift().childNodes] : [];
    const check = box && el('input', { type: 'checkbox', disabled: true, checked: box !== ' ', 'aria-label': box === ' ' ? 'open' : 'done' });
    node.append(el('li', box ? { class: 'task' } : {}, check, ...first, ...parts));
  }
  return node;
}

function cellsOf(line) {
  const cells = [''];
  let code = false;
  const row = line.trim().replace(/^\|/, '').replace(/([^\\])\|$/, '$1');
  for (let at = 0; at < row.length; at += 1) {
    if (row[at] === '\\' && row[at + 1] === '|') {
      cells[cells.length - 1] += '|';
      at += 1;
    } else if (row[at] === '|' && !code) {
      cells.push('');
    } else {
      if (row[at] === '`') code = !code;
      cells[cells.length - 1] += row[at];
    }
  }
  return cells.map((cell) => cell.trim());
}

function table(lines) {
  const head = cellsOf(lines[0]);
  const sides = cellsOf(lines[1]).map((cell) => {
    if (!cell.endsWith(':')) return '';
    return cell.startsWith(':') ? 'middle' : 'end';
  });
  const row = (tag, cells) => el('tr', {}, ...head.map((_, at) => el(tag,
    { class: sides[at], ...(tag === 'th' ? { scope: 'col' } : {}) }, ...inline(cells[at] ?? ''))));
  return el('div', { class: 'table', tabIndex: 0, role: 'region', 'aria-label': 'Table' },
    el('table', {}, el('thead', {}, row('th', head)),
      el('tbody', {}, ...lines.slice(2).map((line) => row('td', cellsOf(line))))));
}

/** The node of one block's source. */
function blockNode(source, depth) {
  const lines = source.split('\n');
  if (FENCE.test(lines[0])) return codeBlock(lines);
  const heading = lines[0].match(HEADING);
  // The page's own heading is the first; a model's begin below it.
  if (heading) return el(`h${Math.min(heading[1].length + 1, 6)}`, {}, ...inline(heading[2]));
  if (RULE.test(lines[0])) return el('hr');
  if (depth < NESTING_MAX && ITEM.test(lines[0])) return list(lines, depth);
  if (depth < NESTING_MAX && /^ {0,3}>/.test(lines[0])) {
    const inside = lines.map((line) => line.replace(/^ {0,3}> ?/, '')).join('\n');
    return el('blockquote', {}, ...nodesOf(inside, depth + 1));
  }
  const columns = cellsOf(lines[0]).length;
  if (lines[0].includes('|') && DIVIDER.test(lines[1] ?? '') && cellsOf(lines[1]).length === columns) {
    return table(lines);
  }
  return el('p', {}, ...inline(lines.map((line) => line.trimStart()).join('\n')));
}

const nodesOf = (text, depth) => blocksOf(text).map((source) => blockNode(source, depth));

/** Shows text in `container`; made for text that grows: blocks that did not change stay. */
export class MarkdownView {
  constructor(container) {
    this.container = container;
    this.sources = [];
  }

  show(text) {
    const sources = blocksOf(text);
    let same = 0;
    while (same < sources.length && sources[same] === this.sources[same]) same += 1;
    while (this.container.childNodes.length > same) this.container.lastChild.remove();
    for (const source of sources.slice(same)) this.container.append(blockNode(source, 0));
    this.sources = sources;
  }
}
