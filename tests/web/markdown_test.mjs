// Markdown to markup, case by case, in the browser that shows it.

import assert from 'node:assert/strict';
import test from 'node:test';

import { openPage, server } from './browser.mjs';

const page = await openPage(await server());

/** What the text becomes, without the parts that are the same in every link and code block. */
const shown = (text) => page.evaluate(async (source) => {
  const { MarkdownView } = await import('/web/markdown.js');
  const node = document.createElement('div');
  new MarkdownView(node).show(source);
  for (const part of node.querySelectorAll('figcaption button')) part.remove();
  for (const part of node.querySelectorAll('a')) part.removeAttribute('target');
  for (const part of node.querySelectorAll('a')) part.removeAttribute('rel');
  return node.innerHTML;
}, text);

const CASES = [
  ['plain & <b>', '<p>plain &amp; &lt;b&gt;</p>'],
  ['one\ntwo  \nthree\n\nfour', '<p>one\ntwo<br>three</p><p>four</p>'],
  ['# A *b*\ntext', '<h2>A <em>b</em></h2><p>text</p>'],
  ['**bold** __bold__ *em* _em_ ***both*** ~~gone~~', '<p><strong>bold</strong> <strong>bold</strong> <em>em</em> <em>em</em> <strong><em>both</em></strong> <del>gone</del></p>'],
  ['**a *b* c**', '<p><strong>a <em>b</em> c</strong></p>'],
  ['2 * 3 * 4, snake_case_name, 5*x*y', '<p>2 * 3 * 4, snake_case_name, 5<em>x</em>y</p>'],
  ['**open', '<p>**open</p>'],
  ['`a*b*` ``x`y`` `open', '<p><code>a*b*</code> <code>x`y</code> `open</p>'],
  ['\\*no\\* \\<', '<p>*no* &lt;</p>'],
  ['[a *b*](https://x.example/p?q=1#f "title")', '<p><a href="https://x.example/p?q=1#f">a <em>b</em></a></p>'],
  ['see https://x.example/a_(b), or <https://y.example>.', '<p>see <a href="https://x.example/a_(b)">https://x.example/a_(b)</a>, or <a href="https://y.example/">https://y.example</a>.</p>'],
  ['[a](ftp://x) [b](/local) [c]', '<p>[a](ftp://x) [b](/local) [c]</p>'],
  ['- a\n- b\n  - c\n    more\n- d', '<ul><li>a</li><li>b<ul><li>c\nmore</li></ul></li><li>d</li></ul>'],
  ['3. a\n4. b', '<ol start="3"><li>a</li><li>b</li></ol>'],
  ['- a\n\n- b', '<ul><li><p>a</p></li><li><p>b</p></li></ul>'],
  ['- [x] done\n- [ ] open', '<ul><li class="task"><input type="checkbox" disabled="" aria-label="done">done</li><li class="task"><input type="checkbox" disabled="" aria-label="open">open</li></ul>'],
  ['1. a\n   ```c\n   x;\n   ```\n2. b', '<ol><li>a<figure class="code"><figcaption><span>c</span></figcaption><pre tabindex="0"><code>x;</code></pre></figure></li><li>b</li></ol>'],
  ['> a\n> > b\n\nc', '<blockquote><p>a</p><blockquote><p>b</p></blockquote></blockquote><p>c</p>'],
  ['```js\nif (a < b) {\n\n  *x*\n}\n```\nafter', '<figure class="code"><figcaption><span>js</span></figcaption><pre tabindex="0"><code>if (a &lt; b) {\n\n  *x*\n}</code></pre></figure><p>after</p>'],
  ['```\nnot closed\n~~~', '<figure class="code"><figcaption><span>text</span></figcaption><pre tabindex="0"><code>not closed\n~~~</code></pre></figure>'],
  ['| a | b |\n|:-:|--:|\n| `x|y` | **1** |\n| only |', '<div class="table" tabindex="0" role="region" aria-label="Table"><table><thead><tr><th class="middle" scope="col">a</th><th class="end" scope="col">b</th></tr></thead><tbody><tr><td class="middle"><code>x|y</code></td><td class="end"><strong>1</strong></td></tr><tr><td class="middle">only</td><td class="end"></td></tr></tbody></table></div>'],
  ['a | b', '<p>a | b</p>'],
  ['---\n***', '<hr><hr>'],
  ['text:\n- a\n- b', '<p>text:</p><ul><li>a</li><li>b</li></ul>'],
];

for (const [text, markup] of CASES) {
  test(JSON.stringify(text), async () => assert.equal(await shown(text), markup));
}

test('text that grows shows in the end what it shows at once', async () => {
  const texts = [...CASES.map(([text]) => text), CASES.map(([text]) => text).join('\n\n')];
  const different = await page.evaluate(async (sources) => {
    const { MarkdownView } = await import('/web/markdown.js');
    return sources.filter((source) => {
      const grown = document.createElement('div');
      const whole = document.createElement('div');
      const view = new MarkdownView(grown);
      for (let size = 1; size <= source.length; size += 1) view.show(source.slice(0, size));
      new MarkdownView(whole).show(source);
      return grown.innerHTML !== whole.innerHTML;
    });
  }, texts);
  assert.deepEqual(different, []);
});

test('no text takes long or breaks it', { timeout: 60000 }, async () => {
  const shownAll = await page.evaluate(async () => {
    const { MarkdownView } = await import('/web/markdown.js');
    const hard = ['*a '.repeat(3000), '_'.repeat(5000), '['.repeat(5000), '`'.repeat(3) + '`a'.repeat(3000), '> '.repeat(2000) + 'x',
      Array.from({ length: 400 }, (_, at) => `${' '.repeat(at)}- x`).join('\n'), '|'.repeat(5000) + '\n' + '|-'.repeat(2500),
      '![a]('.repeat(2000), '<https://'.repeat(2000), '\\'.repeat(5000), '~~~~~ a '.repeat(1000), '**'.repeat(2500)];
    for (const text of hard) new MarkdownView(document.createElement('div')).show(text);
    // Random marks, many times.
    let state = 20240607;
    const next = (count) => {
      state = (state * 1103515245 + 12345) % 2147483648;
      return state % count;
    };
    const marks = ['*', '_', '`', '[', ']', '(', ')', '!', '<', '>', '|', '-', '#', '\n', '\n\n', ' ', '  ', 'a', '1.', '```', '~', '\\', 'http://x'];
    for (let i = 0; i < 3000; i += 1) {
      const text = Array.from({ length: 1 + next(60) }, () => marks[next(marks.length)]).join('');
      const node = document.createElement('div');
      new MarkdownView(node).show(text);
      if (node.querySelector('script, img, iframe, [onclick], [onerror]')) throw new Error(text);
    }
    return true;
  });
  assert.ok(shownAll);
});
