// Requests to the server that this page came from.

const settings = JSON.parse(document.getElementById('settings').textContent);
const KEY = 'lexite-token';
let token = settings.token ? sessionStorage.getItem(KEY) : null;

export const needsToken = () => settings.token && !token;

export function keepToken(given) {
  token = given;
  if (given) sessionStorage.setItem(KEY, given);
  else sessionStorage.removeItem(KEY);
}

export class Trouble extends Error {
  constructor(message, status) {
    super(message);
    this.status = status;
  }
}

export async function ask(path, body, signal) {
  const headers = { Accept: 'application/json' };
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body) headers['Content-Type'] = 'application/json';
  let answer;
  try {
    answer = await fetch(`/api/v1/${path}`, { method: body ? 'POST' : 'GET', headers, body: body && JSON.stringify(body), signal });
  } catch (error) {
    if (error.name === 'AbortError') throw error;
    throw new Trouble('The server does not answer. Is it still running?', 0);
  }
  const value = await answer.json().catch(() => null);
  if (!answer.ok) throw new Trouble(value?.error?.message ?? `The server answered ${answer.status}.`, answer.status);
  return value;
}

export const inIndex = (index, path, body, signal) => ask(`indexes/${encodeURIComponent(index)}/${path}`, body, signal);
