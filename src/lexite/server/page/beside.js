// How other systems rank the same documents.

import { inIndex } from './api.js';
import { byId, el, fill, foreign } from './dom.js';
import { readDocument } from './hits.js';
import { filter } from './filters.js';
import { state } from './state.js';

const NAMES = { words: 'BM25 on words', dense: 'The dense model' };

export const wanted = () => [...byId('beside-choice').querySelectorAll('input:checked')].map((box) => box.value);

export async function showBeside(hits, signal) {
  const home = byId('beside');
  const systems = wanted();
  if (!systems.length || !state.q) {
    fill(home);
    return;
  }
  let found;
  try {
    found = await inIndex(state.index, 'rankings', { query: state.q, where: filter(), systems }, signal);
  } catch (error) {
    if (error.name !== 'AbortError') fill(home, el('p', { class: 'trouble' }, error.message));
    return;
  }
  const here = new Map(hits.map((hit) => [hit.id, hit.rank]));
  fill(home, systems.map((system) => {
    const ranking = found.rankings[system];
    const list = (ranking.hits ?? []).map((hit) => el('li', {},
      el('button', { type: 'button', class: 'link', onclick: () => readDocument(hit.id, hit.title || hit.id) }, foreign(hit.title || hit.id)),
      el('span', { class: here.has(hit.id) ? 'here' : 'here none' }, here.has(hit.id) ? `${here.get(hit.id)} here` : 'not here')));
    return el('section', { class: 'ranking' },
      el('h3', {}, NAMES[system]),
      el('p', { class: 'hint' }, ranking.unavailable ?? `${ranking.how}.`),
      list.length > 0 && el('ol', {}, list),
      !ranking.unavailable && !list.length && el('p', { class: 'hint' }, 'It finds nothing.'));
  }));
}
