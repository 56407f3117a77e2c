// Elements and text. Whatever comes from documents goes in as text, never as markup.

const CONTROLS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

// Control characters and overrides of the writing direction are shown, not carried out.
export const shown = (text) =>
  String(text).replace(CONTROLS, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);

export const byId = (id) => document.getElementById(id);

export function el(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith('on')) made.addEventListener(key.slice(2), value);
    else if (key === 'class') made.className = value;
    else if (key === 'width') made.style.width = value;
    else if (key === 'dataset') Object.assign(made.dataset, value);
    else made.setAttribute(key, value === true ? '' : value);
  }
  for (const child of children.flat()) {
    if (child === undefined || child === null || child === false) continue;
    made.append(child instanceof Node ? child : shown(child));
  }
  return made;
}

export const foreign = (text, properties = {}) => el('bdi', properties, text);

export function fill(parent, ...children) {
  parent.replaceChildren(...children.flat().filter(Boolean).map((child) => (child instanceof Node ? child : shown(child))));
  return parent;
}

// A text with its marks. Places count code points, as Python does.
export function marked(text, marks = []) {
  const letters = Array.from(text);
  const parts = [];
  let at = 0;
  for (const [start, end, level] of marks) {
    if (start > at) parts.push(shown(letters.slice(at, start).join('')));
    parts.push(el('mark', { class: `level-${level}` }, letters.slice(start, end).join('')));
    at = end;
  }
  parts.push(shown(letters.slice(at).join('')));
  return el('bdi', {}, ...parts.map((part) => (part instanceof Node ? part : document.createTextNode(part))));
}

export const percent = (share) => `${share > 0 && share < 0.01 ? '<1' : Math.round(share * 100)} %`;
export const count = (number) => Number(number).toLocaleString('en');
export const nameOf = (part) =>
  part.kind === 'word' ? `“${part.word}”`
    : part.kind === 'common' ? 'common words'
      : part.kind === 'others' ? 'smaller parts'
        : part.label;

export function openDialog(title, ...children) {
  fill(byId('dialog-title'), foreign(title));
  fill(byId('dialog-body'), ...children);
  byId('dialog').showModal();
}
