// What the documents of one filter have more or less often than others.

import { inIndex } from './api.js';
import { byId, count, el, fill, foreign, percent } from './dom.js';
import { readDocument } from './hits.js';
import { address, indexes, state } from './state.js';

const MOST = 20;
const TRIES = 5; // while the server ends a comparison that was left, or makes one for somebody else
const PAUSE = 1000; // milliseconds between them
let running = null;

export function showDifferences(actions) {
  const fields = Object.entries(indexes.get(state.index)?.fields ?? {});
  byId('side-a').value = state.a;
  byId('side-b').value = state.b;
  fill(byId('fields-hint'), fields.length
    ? ['Fields: ', fields.slice(0, 20).flatMap(([name, type], place) => [place ? ', ' : '', foreign(name, { class: 'field' }), ` (${type})`])].flat()
    : 'This index has no fields, so there is nothing to filter by.');
  byId('differences-form').querySelector('button').disabled = !fields.length;
  if (state.a && fields.length) compare(actions);
  else {
    running?.abort();
    fill(byId('differences'));
    byId('differences-status').textContent = '';
  }
}

export function readSides() {
  state.a = byId('side-a').value.trim();
  state.b = byId('side-b').value.trim();
  history.pushState(null, '', address());
}

export function leaveDifferences() {
  running?.abort();
}

async function compare(actions) {
  running?.abort();
  const mine = (running = new AbortController());
  const status = byId('differences-status');
  const trouble = byId('differences-trouble');
  trouble.hidden = true;
  fill(byId('differences'));
  status.textContent = 'The documents are compared. This takes some seconds.';
  try {
    const body = { where: state.a, against: state.b || null, most: MOST, named: byId('named').checked };
    const found = await asked(body, mine.signal);
    if (mine !== running) return;
    status.textContent = `${count(found.sizes[0])} documents against ${count(found.sizes[1])}: ${count(found.n_over + found.n_under)} of ${count(found.tested)} concepts differ. Random halves differ in ${found.chance[0].toFixed(1)}.`;
    fill(byId('differences'),
      side('More often in these', found.over, found.n_over, actions),
      side('Less often in these', found.under, found.n_under, actions));
  } catch (error) {
    if (error.name === 'AbortError') return;
    trouble.textContent = error.message;
    trouble.hidden = false;
    status.textContent = '';
  }
}

async function asked(body, signal, tries = TRIES) {
  try {
    return await inIndex(state.index, 'analyses/differences', body, signal);
  } catch (error) {
    if (error.status !== 429 || tries <= 1) throw error;
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
    return asked(body, signal, tries - 1);
  }
}

function side(title, concepts, number, actions) {
  return el('section', { class: 'side' }, el('h2', {}, title),
    concepts.length === 0 && el('p', { class: 'hint' }, 'None beyond chance.'),
    number > concepts.length && el('p', { class: 'hint' }, `The ${concepts.length} largest of ${count(number)}.`),
    el('ul', { class: 'words' }, concepts.map((each) => el('li', {},
      el('button', { type: 'button', class: 'link concept value', onclick: () => actions.openConcept(each.latent) }, foreign(each.label)),
      el('span', { class: 'pair', role: 'img', 'aria-label': `${percent(each.share)} against ${percent(each.other_share)}` },
        el('span', { class: 'meter' }, el('span', { class: 'bar-part concept', width: percentage(each.share) })),
        el('span', { class: 'meter' }, el('span', { class: 'bar-part others', width: percentage(each.other_share) }))),
      el('span', { class: 'of' }, `${percent(each.share)} / ${percent(each.other_share)}`),
      each.examples.length > 0 && el('p', { class: 'hint example' },
        el('button', { type: 'button', class: 'link', onclick: () => readDocument(each.examples[0].id, each.examples[0].id) }, foreign(each.examples[0].id)),
        ' ', foreign(without(each.examples[0].id, each.examples[0].text)))))));
}

// The text of an example begins with its title, which is often the id that stands before it.
const without = (id, text) => (text.startsWith(`${id} `) ? text.slice(id.length + 1) : text);
const percentage = (share) => `${(100 * share).toFixed(1)}%`;
