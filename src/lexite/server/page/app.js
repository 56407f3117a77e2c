// Puts the parts together: which view is shown, and what is asked when.

import { ask, inIndex, keepToken, needsToken, Trouble } from './api.js';
import * as beside from './beside.js';
import * as compare from './compare.js';
import { showConcept } from './concept.js';
import { leaveDifferences, readSides, showDifferences } from './differences.js';
import { byId, count, el, fill, foreign } from './dom.js';
import { countedFields, filter, forgetFacets, showFacets } from './filters.js';
import { hitElement } from './hits.js';
import { takeApart } from './sentence.js';
import { address, indexes, readAddress, state, steering } from './state.js';
import { addConcept, findConcepts, showSliders } from './steering.js';

const TOP_K = 10;
const PAUSE = 80; // milliseconds after a move of a slider
let running = null; // the search that is under way
let before = null; // ranks before anything was steered
let asked = ''; // the question whose sliders are shown
let depth = TOP_K;
let latest = [];

const actions = { openConcept, isCompared: compare.isCompared, compare: compare.toggle };

function openConcept(number) {
  byId('dialog').close();
  go({ view: 'concept', concept: number });
}

function go(changes) {
  Object.assign(state, changes);
  history.pushState(null, '', address());
  show();
  window.scrollTo(0, 0);
}

function show() {
  leaveDifferences();
  for (const view of ['search', 'concept', 'differences', 'sentence']) byId(`view-${view}`).hidden = state.view !== view;
  for (const link of document.querySelectorAll('nav [data-view]')) {
    if (link.dataset.view === state.view) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  byId('tray').hidden = true;
  document.title = state.view === 'search' && state.q ? `${state.q} – lexite` : 'lexite';
  byId('index').value = state.index;
  if (state.view === 'concept') showConcept({ openConcept, raise, back: () => go({ view: 'search' }) });
  else if (state.view === 'differences') showDifferences(actions);
  else if (state.view === 'sentence') takeApart(actions);
  else {
    byId('q').value = state.q;
    byId('where').value = state.where;
    if (state.q) search();
    else welcome();
  }
}

function raise(concept, label) {
  addConcept(concept, label);
  go({ view: 'search', q: state.q || label.split(',')[0] });
}

function welcome() {
  const index = indexes.get(state.index);
  byId('columns').hidden = true;
  byId('status').textContent = '';
  const examples = index.examples ?? [];
  fill(byId('welcome'),
    el('p', { class: 'lead' }, `${count(index.documents)} documents in ${count(index.concepts)} concepts, each with a label.`),
    el('p', {}, 'Ask, see why each hit was found, and move what the question asks for.'),
    examples.length > 0 && el('ul', { class: 'examples-list', 'aria-label': 'Questions to begin with' }, examples.map((text) => el('li', {}, el('button', { type: 'button', class: 'chip', onclick: () => newQuestion(text) }, foreign(text))))));
  byId('welcome').hidden = false;
  byId('q').focus();
}

function newQuestion(text) {
  depth = TOP_K;
  compare.forget();
  go({ view: 'search', q: text, steer: {} });
}

function changed() {
  history.replaceState(null, '', address());
  search();
}

async function search() {
  running?.abort();
  const mine = (running = new AbortController());
  const where = filter();
  const moved = steering();
  byId('trouble').hidden = true;
  byId('hits').classList.add('waiting');
  try {
    const body = { query: state.q, top_k: depth, where, steering: moved, marks: true, facets: countedFields() };
    const [found, plain] = await Promise.all([
      inIndex(state.index, 'search', body, mine.signal),
      moved ? inIndex(state.index, 'search', { query: state.q, top_k: depth, where, snippets: false }, mine.signal) : null,
    ]);
    if (mine !== running) return;
    before = plain && new Map(plain.hits.map((hit) => [hit.id, hit.rank]));
    showAnswer(found, plain);
    beside.showBeside(found.hits, mine.signal);
  } catch (error) {
    if (error.name === 'AbortError') return;
    if (error.status === 401) askForToken();
    fill(byId('trouble'), error.message);
    byId('trouble').hidden = false;
    byId('status').textContent = '';
  } finally {
    if (mine === running) byId('hits').classList.remove('waiting');
  }
}

function showAnswer(found, plain) {
  latest = found.hits;
  byId('welcome').hidden = true;
  byId('columns').hidden = false;
  const key = `${state.index} ${state.q}`;
  if (asked !== key || !Object.keys(state.steer).length || !byId('sliders').contains(document.activeElement)) {
    showSliders((plain ?? found).concepts, pausedChange, openConcept);
    asked = key;
  }
  showFacets(found.facets ?? [], changed);
  const places = positions();
  fill(byId('hits'), found.hits.map((hit) => hitElement(hit, before, actions)));
  slide(places);
  byId('more').hidden = found.hits.length < depth || depth >= 100;
  const how = found.encoded_by === 'static' ? 'static query' : 'query by the model';
  byId('status').textContent = found.hits.length
    ? `${found.hits.length === depth ? `The best ${depth}` : count(found.hits.length)} of ${count(indexes.get(state.index).documents)} documents · ${found.milliseconds.toFixed(0)} ms, ${how}`
    : 'No document shares a word or a concept with this question, within the filters.';
}

// Hits that move glide to their new places, unless the person wants no motion.
const positions = () => new Map([...byId('hits').children].map((hit) => [hit.dataset.id, hit.getBoundingClientRect().top]));

function slide(places) {
  if (matchMedia('(prefers-reduced-motion: reduce)').matches) return;
  for (const hit of byId('hits').children) {
    const was = places.get(hit.dataset.id);
    const now = hit.getBoundingClientRect().top;
    if (was === undefined ? !places.size : Math.abs(was - now) < 2) continue;
    const from = was === undefined ? { opacity: 0 } : { transform: `translateY(${was - now}px)` };
    hit.animate([from, { opacity: 1, transform: 'none' }], { duration: 220, easing: 'ease-out' });
  }
}

let pause;
function pausedChange() {
  clearTimeout(pause);
  pause = setTimeout(changed, PAUSE);
}

function askForToken() {
  keepToken(null);
  byId('token-form').hidden = false;
  byId('token').focus();
}

const THEMES = { '': ['◐', 'as the system says'], light: ['☀', 'light'], dark: ['☾', 'dark'] };
function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  localStorage.setItem('lexite-theme', theme);
  byId('theme').textContent = THEMES[theme][0];
  byId('theme').setAttribute('aria-label', `Colours: ${THEMES[theme][1]}`);
}

function listen() {
  byId('ask').addEventListener('submit', (event) => {
    event.preventDefault();
    const text = byId('q').value.trim();
    if (text) newQuestion(text);
  });
  byId('where-form').addEventListener('submit', (event) => {
    event.preventDefault();
    state.where = byId('where').value;
    changed();
  });
  byId('add-concept').addEventListener('submit', (event) => {
    event.preventDefault();
    if (byId('concept-name').value.trim()) findConcepts(byId('concept-name').value, changed);
  });
  byId('unsteer').addEventListener('click', () => {
    state.steer = {};
    changed();
  });
  byId('beside-choice').addEventListener('change', () => beside.showBeside(latest));
  byId('more').addEventListener('click', () => {
    depth = Math.min(depth + TOP_K, 100);
    search();
  });
  byId('read').addEventListener('submit', (event) => {
    event.preventDefault();
    takeApart(actions);
  });
  byId('differences-form').addEventListener('submit', (event) => {
    event.preventDefault();
    readSides();
    showDifferences(actions);
  });
  byId('index').addEventListener('change', (event) => {
    forgetFacets();
    compare.forget();
    go({ index: event.target.value, facets: {}, steer: {}, where: '', a: '', b: '', view: state.view === 'concept' ? 'search' : state.view });
  });
  byId('tray-open').addEventListener('click', compare.show);
  byId('tray-clear').addEventListener('click', compare.forget);
  byId('dialog-close').addEventListener('click', () => byId('dialog').close());
  byId('theme').addEventListener('click', () => {
    const names = Object.keys(THEMES);
    setTheme(names[(names.indexOf(document.documentElement.dataset.theme ?? '') + 1) % names.length]);
  });
  byId('token-form').addEventListener('submit', (event) => {
    event.preventDefault();
    keepToken(byId('token').value);
    byId('token-form').hidden = true;
    start();
  });
  for (const link of document.querySelectorAll('[data-view]')) {
    link.addEventListener('click', (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      go({ view: link.dataset.view, ...(link.closest('.brand') ? { q: '', steer: {}, facets: {}, where: '' } : {}) });
    });
  }
  window.addEventListener('popstate', () => {
    readAddress();
    show();
  });
  const narrow = matchMedia('(max-width: 60rem)');
  const fold = () => ['filters', 'steer'].forEach((id) => { byId(id).open = !narrow.matches; });
  narrow.addEventListener('change', fold);
  fold();
}

async function start() {
  try {
    if (needsToken()) throw new Trouble('', 401);
    for (const each of await ask('indexes')) indexes.set(each.index, each);
  } catch (error) {
    if (error.status === 401) askForToken();
    else {
      fill(byId('trouble'), error.message);
      byId('trouble').hidden = false;
    }
    return;
  }
  state.index = indexes.keys().next().value;
  fill(byId('index'), [...indexes.keys()].map((name) => el('option', { value: name }, name)));
  byId('index').parentElement.hidden = indexes.size < 2;
  readAddress();
  show();
}

setTheme(localStorage.getItem('lexite-theme') in THEMES ? localStorage.getItem('lexite-theme') : '');
listen();
start();
