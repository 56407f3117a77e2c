// Any sentence: its tokens, the concepts of each, and the terms of the whole.

import { inIndex } from './api.js';
import { byId, el, fill, foreign, percent, shown } from './dom.js';
import { state } from './state.js';

export async function takeApart(actions) {
  const home = byId('taken-apart');
  const trouble = byId('sentence-trouble');
  trouble.hidden = true;
  let found;
  try {
    found = await inIndex(state.index, 'terms', { text: byId('sentence').value, kind: byId('kind').value });
  } catch (error) {
    trouble.textContent = error.message;
    trouble.hidden = false;
    fill(home);
    return;
  }
  const detail = el('div', { class: 'token-detail', 'aria-live': 'polite' });
  const most = Math.max(...found.tokens.flatMap((token) => token.latents.map((each) => each.activation)), 1e-9);
  const labelOf = (concept) => found.labels[concept] ?? `concept ${concept}`;
  const letters = Array.from(found.text);
  const pieces = [];
  let at = 0;
  found.tokens.forEach((token) => {
    if (token.start !== null && token.start > at) pieces.push(document.createTextNode(shown(letters.slice(at, token.start).join(''))));
    if (token.end !== null) at = Math.max(at, token.end);
    const strength = token.latents.length ? token.latents[0].activation / most : 0;
    const button = el('button', { type: 'button', class: `token heat-${Math.round(strength * 5)}`, 'aria-pressed': 'false' }, token.text);
    button.addEventListener('click', () => {
      for (const other of button.parentElement.querySelectorAll('[aria-pressed="true"]')) other.setAttribute('aria-pressed', 'false');
      button.setAttribute('aria-pressed', 'true');
      show(token);
    });
    pieces.push(button);
  });
  pieces.push(document.createTextNode(shown(letters.slice(at).join(''))));

  function show(token) {
    fill(detail, el('h2', {}, 'What ', foreign(`“${token.text}”`), ' stands for'),
      token.latents.length ? el('ul', { class: 'words' }, token.latents.map((each) => el('li', {},
        el('button', { type: 'button', class: 'link concept value', onclick: () => actions.openConcept(each.concept) }, foreign(labelOf(each.concept))),
        el('span', { class: 'meter' }, el('span', { class: 'bar-part concept', width: `${(100 * each.activation) / most}%` })),
        el('span', { class: 'of' }, each.activation.toFixed(2))))) : el('p', { class: 'hint' }, 'No concept: this token adds nothing.'));
  }

  const terms = found.terms.filter((term) => !term.common);
  const common = found.terms.filter((term) => term.common);
  const largest = Math.max(...terms.map((term) => term.share), 1e-9);
  fill(home,
    el('p', { class: 'tokens', 'aria-label': 'Tokens' }, pieces),
    el('p', { class: 'hint' }, `${found.tokens.length} tokens, read by the ${found.encoded_by === 'model' ? 'model' : 'static table'}. Choose a token to see its concepts.`),
    detail,
    el('section', {}, el('h2', {}, 'The whole sentence asks for'),
      el('ul', { class: 'words' }, terms.slice(0, 40).map((term) => el('li', {},
        term.kind === 'word' ? foreign(`“${term.word}”`, { class: 'value word' }) : el('button', { type: 'button', class: 'link concept value', onclick: () => actions.openConcept(term.concept) }, foreign(term.label)),
        el('span', { class: 'meter' }, el('span', { class: `bar-part ${term.kind}`, width: `${(100 * term.share) / largest}%` })),
        el('span', { class: 'of' }, percent(term.share))))),
      common.length > 0 && el('p', { class: 'hint' }, `Common words: ${percent(common.reduce((sum, term) => sum + term.share, 0))}.`)));
  const first = home.querySelector('.token');
  if (first) [...home.querySelectorAll('.token')].reduce((a, b) => (heat(b) > heat(a) ? b : a), first).click();
}

const heat = (token) => Number(token.className.match(/heat-(\d)/)[1]);
