// A concept: what it is called, how frequent it is, its words, examples and relatives.

import { inIndex } from './api.js';
import { byId, count, el, fill, foreign, marked, percent } from './dom.js';
import { readDocument } from './hits.js';
import { state } from './state.js';

const STRENGTHS = { strong: 'where it is strongest', middling: 'middling', weak: 'weak' };

const KINDS = { lexical: 'Lexical: one word and its forms', narrow: 'A narrow subject', broad: 'A broad topic', function: 'Function words or punctuation', unclear: 'Unclear: its uses have no name that can be trusted', dead: 'Dead: no text of the sample has it' };

export async function showConcept(actions) {
  const home = byId('concept');
  fill(byId('h-concept'), 'Concept …');
  fill(home);
  let found;
  try {
    found = await inIndex(state.index, `concepts/${encodeURIComponent(state.concept)}`);
  } catch (error) {
    fill(byId('h-concept'), 'No such concept');
    fill(home, el('p', { class: 'trouble' }, error.message));
    return;
  }
  fill(byId('h-concept'), foreign(found.label));
  byId('h-concept').focus();
  document.title = `${found.label} – lexite`;
  const most = Math.max(...found.words.map((each) => each.weight), 1e-9);
  const fact = (name, value) => el('div', {}, el('dt', {}, name), el('dd', {}, value));
  fill(home,
    el('p', { class: 'kind' }, KINDS[found.kind] ?? (found.common ? 'Common: function words, punctuation, or nearly everywhere' : 'A concept of the vocabulary')),
    el('div', { class: 'row' },
      el('button', { type: 'button', class: 'strong', onclick: () => actions.raise(found.concept, found.label) }, state.q ? 'Raise it in the search' : 'Search with it'),
      state.q && el('button', { type: 'button', class: 'small', onclick: actions.back }, `Back to “${state.q}”`)),
    el('dl', { class: 'facts-list' },
      fact('number', found.concept),
      fact('passages that have it', `${count(found.passages)} (${percent(found.share_of_passages)})`),
      fact('idf', found.idf.toFixed(2)),
      fact('share of all postings', percent(found.share_of_postings))),
    found.words.length > 0 && el('section', {}, el('h2', {}, 'Words that it stands in for'),
      el('ul', { class: 'words' }, found.words.map((each) => el('li', {}, foreign(each.word, { class: 'value' }), el('span', { class: 'meter' }, el('span', { class: 'bar-part concept', width: `${(100 * each.weight) / most}%` })))))),
    el('section', {}, el('h2', {}, 'Where it occurs'),
      found.examples.length ? el('ul', { class: 'examples' }, found.examples.map((each) => el('li', {},
        el('p', { class: 'hint' }, STRENGTHS[each.strength], ' · ', el('button', { type: 'button', class: 'link', onclick: () => readDocument(each.id, each.title || each.id) }, foreign(each.title || each.id))),
        el('p', { class: 'passage' }, marked(each.passage, each.marks))))) : el('p', { class: 'hint' }, 'No document of this index has it.')),
    el('section', {}, el('h2', {}, 'Concepts that occur with it'),
      found.related.length ? el('ul', { class: 'chips' }, found.related.map((each) => el('li', {}, el('button', { type: 'button', class: 'chip concept', title: `${each.lift} times as often as chance`, onclick: () => actions.openConcept(each.concept) }, foreign(each.label), el('span', { class: 'of' }, percent(each.together)))))) : el('p', { class: 'hint' }, 'None more often than chance.')));
}
