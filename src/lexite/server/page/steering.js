// Sliders for what the question asks for, and for concepts that a person adds.

import { inIndex } from './api.js';
import { byId, el, fill, foreign, percent } from './dom.js';
import { spoken, state } from './state.js';

const SHOWN = 12;
let rows = [];

const keyOf = (part) => (part.kind === 'word' ? `word:${part.word}` : String(part.concept));

// The sliders stay as they are while a ranking is steered: only a new question brings others.
export function showSliders(asked, move, openConcept) {
  const own = asked.filter((part) => !part.common).slice(0, SHOWN).map((part) => ({
    key: keyOf(part), label: part.kind === 'word' ? `“${part.word}”` : part.label, concept: part.concept, share: part.share, word: part.kind === 'word' }));
  const keys = new Set(own.map((row) => row.key));
  const added = Object.entries(state.steer).filter(([key]) => !keys.has(key)).map(([key, { label }]) => ({
    key, label, concept: key.startsWith('word:') ? undefined : Number(key), word: key.startsWith('word:') }));
  rows = [...own, ...added];
  const folded = asked.filter((part) => part.common);
  const share = folded.reduce((sum, part) => sum + part.share, 0);
  fill(byId('sliders'), rows.map((row) => slider(row, move, openConcept)),
    folded.length && el('li', { class: 'folded' }, `Common words: ${percent(share)} of the question, in ${folded.length} ${folded.length === 1 ? 'concept' : 'concepts'}.`));
  byId('unsteer').hidden = !Object.keys(state.steer).length;
}

function slider(row, move, openConcept) {
  const value = state.steer[row.key]?.value ?? 0;
  const said = el('output', { class: value ? 'moved' : '' }, spoken(value));
  const range = el('input', { type: 'range', min: -100, max: 100, step: 10, value, 'aria-label': `Weight of ${row.label}`, 'aria-valuetext': spoken(value) });
  range.addEventListener('input', () => {
    const now = Number(range.value);
    said.textContent = spoken(now);
    said.className = now ? 'moved' : '';
    paint(range);
    range.setAttribute('aria-valuetext', spoken(now));
    if (now === 0 && row.share !== undefined) delete state.steer[row.key];
    else state.steer[row.key] = { value: now, label: row.label };
    byId('unsteer').hidden = !Object.keys(state.steer).length;
    move();
  });
  paint(range);
  const name = row.word
    ? el('span', { class: 'name word' }, foreign(row.label))
    : el('button', { type: 'button', class: 'name concept link', onclick: () => openConcept(row.concept) }, foreign(row.label));
  return el('li', { dataset: { key: row.key } },
    el('div', { class: 'head' }, name, row.share !== undefined && el('span', { class: 'share', title: 'Part of the question' }, percent(row.share)), said),
    range);
}

// The track is filled from the middle, which is “as asked”.
function paint(range) {
  const place = (Number(range.value) + 100) / 2;
  range.style.setProperty('--from', `${Math.min(50, place)}%`);
  range.style.setProperty('--to', `${Math.max(50, place)}%`);
}

export function addConcept(concept, label, value = 40) {
  state.steer[String(concept)] = { value, label };
}

export async function findConcepts(name, added) {
  const list = byId('found-concepts');
  try {
    const found = await inIndex(state.index, `concepts?name=${encodeURIComponent(name)}`);
    fill(list, found.concepts.map((each) => el('li', {}, el('button', { type: 'button', class: 'chip concept', onclick: () => { addConcept(each.concept, each.label); fill(list); added(); } }, '+ ', foreign(each.label)))));
  } catch (error) {
    fill(list, el('li', { class: 'hint' }, error.message));
  }
}
