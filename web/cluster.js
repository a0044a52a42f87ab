// The Cluster tab: who holds what, and how fast it goes. Asks the server once a second while seen.

import { getCluster } from './api.js';
import { byId, el, formatBytes, formatNumber, svg } from './dom.js';
import { askForKey } from './key_dialog.js';

const PERIOD_MS = 1000;
const SAMPLES_MAX = 60;
const COLOURS = 8;

/** A line of the last minute. */
function sparkline(values, label) {
  const top = Math.max(...values, 1e-9);
  const points = values.map((value, at) => `${(SAMPLES_MAX - values.length + at) * (120 / (SAMPLES_MAX - 1))},${30 - (value / top) * 28}`);
  return svg('svg', { viewBox: '0 0 120 32', class: 'spark', preserveAspectRatio: 'none', role: 'img', 'aria-label': label },
    svg('polyline', { points: points.join(' ') }));
}

function figure(label, value, detail, chart = null) {
  return el('div', { class: 'figure' }, el('dt', {}, label), el('dd', {}, el('strong', {}, value), el('span', { class: 'fine' }, detail), chart));
}

function meter(value, max, label) {
  const bar = el('span', { class: 'meter-fill' });
  bar.style.width = `${max > 0 ? Math.min(100, (value / max) * 100) : 0}%`;
  return el('span', { class: 'meter', role: 'meter', 'aria-label': label, 'aria-valuemin': '0', 'aria-valuemax': String(max), 'aria-valuenow': String(value) }, bar);
}

/** The model's layers as one bar, a piece for each rank. */
function layerBar(ranks) {
  return el('div', { class: 'layers', role: 'img', 'aria-label': ranks.map((rank) => `rank ${rank.rank}: layers ${rank.layers[0]} to ${rank.layers[1] - 1}`).join('; ') },
    ...ranks.map((rank) => {
      const piece = el('span', { class: `piece colour-${rank.rank % COLOURS}` }, el('b', {}, String(rank.rank)), ` ${rank.layers[0]}–${rank.layers[1] - 1}`);
      piece.style.flexGrow = String(rank.layers[1] - rank.layers[0]);
      return piece;
    }));
}

/** Milliseconds with two digits that count: links take microseconds or seconds. */
const formatDelay = (value) => `${value < 10 ? value.toPrecision(2) : formatNumber(value)} ms`;

const percent = (value) => `${formatNumber(value * 100)} %`;

const beside = (text) => el('span', { class: 'fine' }, ` ${text}`);

// What the server says of a rank beyond its layers, in the order shown: the field, its label, and
// what is shown of it. A field that is not there is not shown: one process alone has no links.
const RANK_FIGURES = [
  ['device', 'Device', (rank) => [rank.device]],
  ['load', 'Load', (rank) => [percent(rank.load), meter(rank.load, 1, `Load of rank ${rank.rank}`)]],
  ['tps', 'Tokens/s', (rank) => [formatNumber(rank.tps)]],
  ['link_ms', 'Link', (rank) => [formatDelay(rank.link_ms), beside(rank.rank === 0 ? 'from the gateway' : `from rank ${rank.rank - 1}`)]],
  ['return_ms', 'Way back', (rank) => [formatDelay(rank.return_ms), beside('to the gateway')]],
  ['heartbeat_ms', 'Heartbeat', (rank) => [formatDelay(rank.heartbeat_ms), beside('there and back')]],
  ['memory_bytes', 'Memory', (rank) => [formatBytes(rank.memory_bytes), rank.memory_free_bytes ? beside(`${formatBytes(rank.memory_free_bytes)} free`) : null]],
  ['weight_bytes', 'Weights', (rank) => [formatBytes(rank.weight_bytes)]],
  ['kv_bytes', 'Contexts', (rank) => [formatBytes(rank.kv_bytes), rank.kv_bytes_max ? beside(`of ${formatBytes(rank.kv_bytes_max)}`) : null]],
];

function rankCard(rank, speeds) {
  const [first, last] = rank.layers;
  const figures = RANK_FIGURES.filter(([name]) => rank[name] !== undefined && rank[name] !== null);
  return el('li', { class: 'rank' },
    el('h3', {}, el('span', { class: `swatch colour-${rank.rank % COLOURS}`, 'aria-hidden': 'true' }), `Rank ${rank.rank}`, el('span', { class: 'host' }, rank.host)),
    el('dl', {}, el('div', {}, el('dt', {}, 'Layers'), el('dd', {}, `${first}–${last - 1}`, beside(`${last - first} of ${rank.layer_count ?? '?'}`))),
      ...figures.map(([name, label, show]) => el('div', { 'data-figure': name }, el('dt', {}, label), el('dd', {}, ...show(rank).filter(Boolean))))),
    sparkline(speeds, `Tokens each second of rank ${rank.rank}, last minute`));
}

function stateText({ status = 'ok', reason }) {
  if (status === 'restarting') return `loading again: ${reason}`;
  return reason ?? status;
}

export class ClusterPage {
  constructor() {
    this.timer = 0;
    this.shown = false;
    this.samples = {};
    document.addEventListener('visibilitychange', () => this.plan(0));
  }

  show(shown) {
    this.shown = shown;
    this.plan(0);
  }

  plan(delay) {
    clearTimeout(this.timer);
    if (this.shown && !document.hidden) this.timer = setTimeout(() => this.poll(), delay);
  }

  async poll() {
    let next = PERIOD_MS;
    const began = performance.now();
    try {
      const state = await getCluster(AbortSignal.timeout(5000));
      this.draw(state, performance.now() - began);
    } catch (error) {
      const locked = error.status === 401;
      if (!locked || !(await askForKey(error.message))) {
        this.fail(error.name === 'TimeoutError' ? 'The server does not answer.' : error.message);
        next = 3000;
        if (locked) return;  // until the tab is opened again
      }
    }
    this.plan(next);
  }

  fail(message) {
    byId('cluster').replaceChildren(el('div', { class: 'problem-box', role: 'alert' }, el('p', {}, message)));
  }

  sample(name, value) {
    const list = this.samples[name] ??= [];
    list.push(value);
    if (list.length > SAMPLES_MAX) list.shift();
    return list;
  }

  draw(state, milliseconds) {
    const { requests = {}, kv = {}, ranks = [] } = state;
    const decode = state.decode_tps ?? 0;
    const prompt = state.prompt_tps ?? 0;
    const memory = ranks.reduce((sum, rank) => sum + (rank.memory_bytes ?? 0), 0);
    const loading = ['loading', 'restarting'].includes(state.status) && state.total_bytes > 0;
    const parts = [
      el('div', { class: 'cluster-head' }, el('h2', {}, state.model), el('p', { class: `state ${state.status}` }, stateText(state))),
      loading ? el('p', { class: 'loading' }, `${formatBytes(state.loaded_bytes)} of ${formatBytes(state.total_bytes)} loaded`, meter(state.loaded_bytes, state.total_bytes, 'Loaded')) : null,
      el('dl', { class: 'figures' },
        figure('Writing', formatNumber(decode), 'tokens/s', sparkline(this.sample('decode', decode), 'Tokens written each second, last minute')),
        figure('Reading', formatNumber(prompt), 'tokens/s', sparkline(this.sample('prompt', prompt), 'Tokens read each second, last minute')),
        figure('Requests', String(requests.running ?? 0), `running, ${requests.waiting ?? 0} waiting`),
        figure('Memory for contexts', `${formatNumber(kv.capacity ? ((kv.used ?? 0) / kv.capacity) * 100 : 0)} %`, `of ${formatNumber(kv.capacity ?? 0)} tokens`, meter(kv.used ?? 0, kv.capacity ?? 0, 'Memory for contexts in use')),
        figure('Ranks', String(ranks.length), [memory ? `${formatBytes(memory)} of memory` : '', state.restarts ? `loaded again ${state.restarts} ×` : ''].filter(Boolean).join(', ')),
        figure('Gateway', formatNumber(milliseconds), 'ms to this browser')),
      ranks.length > 0 ? layerBar(ranks) : null,
      el('ul', { class: 'ranks' }, ...ranks.map((rank) => rankCard(rank, this.sample(`rank ${rank.rank}`, rank.tps ?? 0)))),
    ];
    byId('cluster').replaceChildren(...parts.filter(Boolean));
  }
}
