// Facets of stored fields, and the filter that they make.

import { count, el, fill, foreign, byId } from './dom.js';
import { indexes, state } from './state.js';

const MOST_VALUES = 500; // a field with more different values than this is no facet
const COUNTED = ['text', 'list', 'boolean'];
const RANGED = ['integer', 'number', 'date', 'datetime'];
const known = new Map(); // field → values that were seen, so that a choice can be undone

const name = (field) => `"${field.replaceAll('"', '""')}"`;
const literal = (value, type) => (type === 'boolean' || typeof value === 'number' ? String(value) : `'${String(value).replaceAll("'", "''")}'`);

export const countedFields = () =>
  Object.entries(indexes.get(state.index)?.fields ?? {}).filter(([, type]) => COUNTED.includes(type)).map(([field]) => field).slice(0, 20);

export function filter() {
  const fields = indexes.get(state.index)?.fields ?? {};
  const clauses = [];
  for (const [field, chosen] of Object.entries(state.facets)) {
    const type = fields[field];
    if (!type) continue;
    const parts = (chosen.values ?? []).map((value) =>
      type === 'list' ? `${literal(value, type)} in ${name(field)}` : `${name(field)} = ${literal(value, type)}`);
    if (parts.length) clauses.push(parts.length > 1 ? `(${parts.join(' or ')})` : parts[0]);
    for (const [key, sign] of [['from', '>='], ['to', '<=']]) {
      const given = chosen[key];
      if (given) clauses.push(`${name(field)} ${sign} ${type === 'integer' || type === 'number' ? Number(given) : literal(given, type)}`);
    }
  }
  if (state.where.trim()) clauses.push(clauses.length ? `(${state.where.trim()})` : state.where.trim());
  return clauses.join(' and ') || undefined;
}

export function choose(field, value, on, changed) {
  const chosen = state.facets[field] ?? {};
  const values = (chosen.values ?? []).filter((each) => each !== value);
  if (on) values.push(value);
  const now = { ...chosen, values };
  if (!values.length) delete now.values;
  if (Object.keys(now).length) state.facets[field] = now;
  else delete state.facets[field];
  changed();
}

function bound(field, key, value, changed) {
  const now = { ...(state.facets[field] ?? {}), [key]: value };
  if (!value) delete now[key];
  if (Object.keys(now).length) state.facets[field] = now;
  else delete state.facets[field];
  changed();
}

export function forgetFacets() {
  known.clear();
}

export function showFacets(counts, changed) {
  const fields = indexes.get(state.index)?.fields ?? {};
  const groups = [];
  for (const facet of counts) {
    const before = known.get(facet.field);
    if (!before && (facet.n_values > MOST_VALUES || facet.n_values === 0)) continue;
    const now = new Map(facet.values.map((each) => [each.value, each.documents]));
    const values = before ?? facet.values.map((each) => each.value);
    known.set(facet.field, values);
    const chosen = state.facets[facet.field]?.values ?? [];
    groups.push(el('fieldset', { class: 'facet' },
      el('legend', {}, foreign(facet.field)),
      [...new Set([...values, ...chosen])].map((value) => el('label', {},
        el('input', { type: 'checkbox', checked: chosen.includes(value), onchange: (event) => choose(facet.field, value, event.target.checked, changed) }),
        foreign(String(value), { class: 'value' }),
        el('span', { class: 'count' }, now.has(value) ? count(now.get(value)) : '–')))));
  }
  for (const [field, type] of Object.entries(fields).filter(([, each]) => RANGED.includes(each)).slice(0, 8)) {
    const kind = type === 'date' ? 'date' : type === 'datetime' ? 'text' : 'number';
    const input = (key, text) => el('label', {}, text, el('input', {
      type: kind, step: 'any', value: state.facets[field]?.[key] ?? '', onchange: (event) => bound(field, key, event.target.value, changed) }));
    groups.push(el('fieldset', { class: 'facet range' }, el('legend', {}, foreign(field)), input('from', 'from'), input('to', 'to')));
  }
  fill(byId('facets'), groups);
}
