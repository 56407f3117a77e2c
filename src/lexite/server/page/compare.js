// Two hits side by side: what each of them has of the question.

import { inIndex } from './api.js';
import { byId, el, fill, foreign, marked, openDialog, percent } from './dom.js';
import { bar } from './hits.js';
import { state, steering } from './state.js';

const SHOWN = 24;

let chosen = [];

export const isCompared = (id) => chosen.some((hit) => hit.id === id);

export function toggle(hit) {
  chosen = isCompared(hit.id) ? chosen.filter((each) => each.id !== hit.id) : [...chosen, hit].slice(-2);
  showTray();
}

export function forget() {
  chosen = [];
  showTray();
}

function showTray() {
  byId('tray').hidden = !chosen.length;
  fill(byId('tray-text'), ...chosen.flatMap((hit, place) => [place ? document.createTextNode(' and ') : null, foreign(hit.title || hit.id, { class: 'name' })]),
    document.createTextNode(chosen.length === 1 ? ': choose another hit' : ''));
  byId('tray-open').hidden = chosen.length < 2;
  for (const hit of document.querySelectorAll('#hits > li')) {
    hit.querySelector('[aria-pressed]').setAttribute('aria-pressed', String(isCompared(hit.dataset.id)));
  }
}

export async function show() {
  const both = [...chosen];
  openDialog('Side by side', el('p', { class: 'hint' }, 'Reading both scores …'));
  let found;
  try {
    found = await Promise.all(both.map((hit) => inIndex(state.index, 'explain', { query: state.q, document: hit.id, steering: steering() })));
  } catch (error) {
    fill(byId('dialog-body'), el('p', { class: 'trouble' }, error.message));
    return;
  }
  const rows = rowsOf(found);
  const plain = rows.filter((row) => row.kind !== 'common');
  const most = Math.max(...plain.slice(0, SHOWN).flatMap((row) => row.scores), 1e-9);
  const side = (row, place) => el('td', { class: place ? 'right' : 'left' },
    el('span', { class: 'amount' }, row.scores[place] ? row.scores[place].toFixed(2) : '–'),
    row.scores[place] > 0 && el('span', { class: `bar-part ${row.kind}`, width: `${Math.min(100, (100 * row.scores[place]) / most)}%` }));
  const line = (row) => el('tr', {}, side(row, 0), el('th', { scope: 'row' }, foreign(row.name)), side(row, 1));
  const [left, right] = both;
  const card = (hit) => el('section', { class: 'side' }, el('h3', {}, `${hit.rank}. `, foreign(hit.title || hit.id)), el('p', { class: 'passage' }, marked(hit.passage, hit.marks)), bar(hit.parts, 'Parts of the score'), el('p', { class: 'facts' }, `score ${hit.score.toFixed(2)} · covers ${percent(hit.coverage)} of the question`));
  fill(byId('dialog-body'),
    el('div', { class: 'sides' }, card(left), card(right)),
    el('table', { class: 'butterfly' },
      el('caption', { class: 'unseen' }, 'What each part of the question adds to either score'),
      el('thead', {}, el('tr', {}, el('th', { scope: 'col', class: 'left' }, foreign(left.title || left.id)), el('th', { scope: 'col' }, 'part'), el('th', { scope: 'col', class: 'right' }, foreign(right.title || right.id)))),
      el('tbody', {}, [...plain.slice(0, SHOWN), ...rows.filter((row) => row.kind === 'common')].map(line))),
    plain.length > SHOWN && el('p', { class: 'hint' }, `${plain.length - SHOWN} smaller parts are left out.`));
}

// The terms of both scores; common words are one row.
function rowsOf(explanations) {
  const rows = new Map();
  explanations.forEach((explanation, side) => explanation.terms.forEach((term) => {
    const kind = term.common ? 'common' : term.kind === 'word' ? 'word' : 'concept';
    const key = term.common ? 'common' : term.term;
    const name = term.common ? 'common words' : term.kind === 'word' ? `“${term.word}”` : term.label;
    const row = rows.get(key) ?? { kind, name, scores: [0, 0] };
    row.scores[side] += term.score;
    rows.set(key, row);
  }));
  return [...rows.values()].sort((a, b) => Math.max(...b.scores) - Math.max(...a.scores));
}
