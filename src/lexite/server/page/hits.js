// One hit: its passage with marks, the bar of parts, and why it is here.

import { inIndex } from './api.js';
import { count, el, fill, foreign, marked, nameOf, openDialog, percent, shown } from './dom.js';
import { state, steering } from './state.js';

const FIELDS_SHOWN = 6;

export function bar(parts, label) {
  const total = parts.reduce((sum, part) => sum + part.score, 0) || 1;
  const text = parts.map((part) => `${nameOf(part)} ${percent(part.score / total)}`).join(', ');
  return el('div', { class: 'bar', role: 'img', 'aria-label': `${label}: ${shown(text)}` },
    parts.map((part, place) => el('span', { class: `part ${part.kind} shade-${Math.min(place, 7)}`, width: `${(100 * part.score) / total}%`, title: `${shown(nameOf(part))} · ${part.score.toFixed(2)} · ${percent(part.score / total)}` })));
}

export function chip(part, total, actions) {
  const share = el('span', { class: 'of' }, percent(part.score / total));
  const body = [el('span', { class: `dot ${part.kind}` }), foreign(nameOf(part)), share];
  if (part.kind !== 'concept') return el('li', {}, el('span', { class: `chip ${part.kind}` }, body));
  return el('li', {}, el('button', { type: 'button', class: 'chip concept', title: 'What is this concept?', onclick: () => actions.openConcept(part.concept) }, body));
}

function movement(hit, before) {
  if (!before) return null;
  const was = before.get(hit.id);
  if (was === hit.rank) return null;
  if (was === undefined) return el('span', { class: 'moved up' }, 'new');
  const up = was > hit.rank;
  return el('span', { class: `moved ${up ? 'up' : 'down'}`, 'aria-label': `${up ? 'up' : 'down'} ${Math.abs(was - hit.rank)} since steering` }, `${up ? '▲' : '▼'} ${Math.abs(was - hit.rank)}`);
}

export function hitElement(hit, before, actions) {
  const total = hit.parts.reduce((sum, part) => sum + part.score, 0) || 1;
  const title = hit.title || hit.id;
  const heading = el('h3', {}, el('button', { type: 'button', class: 'link title', onclick: () => readDocument(hit.id, title) }, foreign(title)));
  const fields = Object.entries(hit.fields).slice(0, FIELDS_SHOWN);
  const compare = el('button', { type: 'button', class: 'small', 'aria-pressed': String(actions.isCompared(hit.id)), onclick: () => actions.compare(hit) }, 'Compare');
  const why = el('details', { class: 'why' }, el('summary', {}, 'Why this hit'), el('div', { class: 'why-body' }));
  why.addEventListener('toggle', () => { if (why.open) explain(hit.id, why.lastElementChild, actions); });
  return el('li', { class: 'hit', dataset: { id: hit.id } },
    el('article', {},
      el('div', { class: 'hit-head' }, el('span', { class: 'rank', 'aria-hidden': 'true' }, hit.rank), heading, movement(hit, before)),
      el('p', { class: 'passage' }, hit.passage ? marked(hit.passage, hit.marks) : el('em', {}, 'The index keeps no text.')),
      bar(hit.parts, 'Parts of the score'),
      el('ul', { class: 'chips', 'aria-label': 'What matched' }, hit.parts.filter((part) => part.kind !== 'others').map((part) => chip(part, total, actions))),
      el('div', { class: 'hit-foot' },
        el('span', { class: 'facts' }, `score ${hit.score.toFixed(2)} · covers ${percent(hit.coverage)} of the question`),
        el('span', { class: 'facts' }, fields.map(([field, value]) => el('span', { class: 'field' }, foreign(field), ' ', foreign(Array.isArray(value) ? value.join(', ') : String(value))))),
        el('span', { class: 'actions' }, compare)),
      why));
}

async function explain(id, home, actions) {
  fill(home, el('p', { class: 'hint' }, 'Reading the formula …'));
  let found;
  try {
    found = await inIndex(state.index, 'explain', { query: state.q, document: id, steering: steering() });
  } catch (error) {
    fill(home, el('p', { class: 'trouble' }, error.message));
    return;
  }
  const plain = found.terms.filter((term) => !term.common);
  const folded = found.terms.filter((term) => term.common);
  const row = (term) => el('tr', {},
    el('th', { scope: 'row' }, term.kind === 'word' ? el('span', { class: 'word' }, foreign(`“${term.word}”`)) : el('button', { type: 'button', class: 'link concept', onclick: () => actions.openConcept(term.term) }, foreign(term.label))),
    el('td', {}, term.score.toFixed(3)), el('td', {}, term.query_weight.toFixed(2)), el('td', {}, term.worth.toFixed(2)), el('td', {}, term.saturation.toFixed(2)), el('td', {}, count(term.document_frequency)));
  const table = (terms, caption) => el('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': caption }, el('table', {},
    el('caption', {}, caption),
    el('thead', {}, el('tr', {}, ['term', 'part', 'asked for', 'worth', 'has it', 'in passages'].map((text) => el('th', { scope: 'col' }, text)))),
    el('tbody', {}, terms.map(row))));
  fill(home,
    el('p', {}, `${found.score.toFixed(3)} is the sum of the parts; each is what the question asks for × what the term is worth × how much of it the document has.`),
    table(plain, 'Concepts and words'),
    folded.length > 0 && el('details', {}, el('summary', {}, `Common words: ${percent(found.common_share)} of the score, ${folded.length} ${folded.length === 1 ? 'concept' : 'concepts'}`), table(folded, 'Common words')));
}

export async function readDocument(id, title) {
  try {
    const found = await inIndex(state.index, `documents?id=${encodeURIComponent(id)}`);
    openDialog(title, el('p', { class: 'facts' }, foreign(id)), el('div', { class: 'document' }, foreign(found.text || 'The index keeps no text.')));
  } catch (error) {
    openDialog(title, el('p', { class: 'trouble' }, error.message));
  }
}
