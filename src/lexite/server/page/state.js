// What is looked at: in the address, so that it can be sent, kept, and gone back to.

export const state = { view: 'search', index: '', q: '', where: '', facets: {}, steer: {}, concept: null, a: '', b: '' };
const VIEWS = ['search', 'concept', 'differences', 'sentence'];
export const indexes = new Map();

export function readAddress() {
  const given = new URLSearchParams(location.search);
  state.view = VIEWS.includes(given.get('view')) ? given.get('view') : 'search';
  if (indexes.has(given.get('index'))) state.index = given.get('index');
  state.q = given.get('q') ?? '';
  state.where = given.get('where') ?? '';
  state.concept = given.get('concept');
  state.a = given.get('a') ?? '';
  state.b = given.get('b') ?? '';
  state.facets = parsed(given.get('facets'));
  state.steer = {};
  for (const [name, move] of Object.entries(parsed(given.get('steer')))) {
    if (Number.isFinite(move?.value)) state.steer[name] = { value: Math.max(-100, Math.min(100, move.value)), label: String(move.label ?? name) };
  }
}

function parsed(text) {
  try {
    const value = JSON.parse(text ?? '{}');
    return value && typeof value === 'object' && !Array.isArray(value) ? value : {};
  } catch {
    return {};
  }
}

export function address(changes = {}) {
  const now = { ...state, ...changes };
  const made = new URLSearchParams();
  if (now.view !== 'search') made.set('view', now.view);
  if (indexes.size > 1) made.set('index', now.index);
  if (now.q) made.set('q', now.q);
  if (now.where) made.set('where', now.where);
  if (Object.keys(now.facets).length) made.set('facets', JSON.stringify(now.facets));
  if (Object.keys(now.steer).length) made.set('steer', JSON.stringify(now.steer));
  if (now.view === 'concept') made.set('concept', now.concept);
  for (const side of now.view === 'differences' ? ['a', 'b'] : []) if (now[side]) made.set(side, now[side]);
  const text = made.toString();
  return text ? `/?${text}` : '/';
}

// A slider from -100 to 100 as a factor: 0 mutes, 1 is as asked, 5 is the most.
export const factorOf = (value) => (value < 0 ? 1 + value / 100 : 1 + value / 25);
export const spoken = (value) =>
  value === 0 ? 'as asked' : value <= -100 ? 'muted' : `×${factorOf(value).toFixed(factorOf(value) < 1 ? 2 : 1).replace(/\.?0+$/, '')}`;

export function steering() {
  const boost = Object.entries(state.steer)
    .filter(([, move]) => move.value !== 0)
    .map(([concept, move]) => ({ concept, factor: Number(factorOf(move.value).toFixed(4)) }));
  return boost.length ? { boost } : undefined;
}
