// The literal words of a query, as lexite takes them from documents, and the names of terms.
const STOP_WORDS = new Set(
  "a an and are as at be but by for if in into is it no not of on or such that the their then there these they this to was will with".split(" "),
);
const LONGEST_WORD = 64;
const ALPHANUMERIC = /[\p{L}\p{N}]/u;
const WHOLE = /[\p{L}\p{N}]+/gu;
const WITH_MARKS = /[\p{L}\p{N}]+(?:[\p{Mn}\p{Mc}]+[\p{L}\p{N}]*)*/gu;
const SELECTORS = /[\u180b-\u180f\ufe00-\ufe0f\u{e0100}-\u{e01ef}]/gu;
const HAN = "\\u2e80-\\u2fdf\\u3005-\\u3007\\u3021-\\u3029\\u3038-\\u303b\\u3400-\\u4dbf\\u4e00-\\u9fff\\uf900-\\ufaff\\u{20000}-\\u{3ffff}";
const SINGLE = new RegExp(`^[${HAN}]`, "u");
const PAIRED = new RegExp(
  `[${HAN}\\u3041-\\u309f\\u30a1-\\u312f\\u31a0-\\u31ff\\u{1aff0}-\\u{1b16f}\\u1100-\\u11ff\\u3131-\\u318e\\ua960-\\ua97f\\uac00-\\ud7ff` +
    "\\u0e01-\\u0e4f\\u0e81-\\u0ecd\\u0edc-\\u0edf\\u1780-\\u17df\\u1000-\\u103f\\u1050-\\u108f\\ua9e0-\\ua9ef\\ua9fa-\\ua9fe\\uaa60-\\uaa7f]",
  "u",
);

export function termName(term, nLatents, words) {
  return term < nLatents ? `t${term}` : `w_${words[term - nLatents].replaceAll(" ", "_").replaceAll(".", ",")}`;
}

export function countWords(text, literal, folding) {
  if (literal.literal_pairs || literal.literal_compounds !== "none" || literal.literal_numbers !== "written") {
    throw new Error("Pairs of words, parts of compounds and normal forms of numbers are not made here. Encode such queries with Python.");
  }
  const folded = [...text.normalize("NFKC")].map((character) => folding[character] ?? character).join("").normalize("NFKC");
  const counts = new Map();
  for (const word of literal.literal_unspaced === "whole" ? folded.match(WHOLE) ?? [] : wordsInPairs(folded)) {
    const skipped = [...word].length > LONGEST_WORD || (literal.literal_stop_words === "english" && STOP_WORDS.has(word));
    if (!skipped) counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  return counts;
}

function wordsInPairs(text) {
  return (text.replace(SELECTORS, "").match(WITH_MARKS) ?? []).flatMap((run) => (PAIRED.test(run) ? wordsOfRun(run) : [run]));
}

function wordsOfRun(run) {
  const characters = [];
  for (const letter of run) {
    if (characters.length && !ALPHANUMERIC.test(letter)) characters[characters.length - 1] += letter;
    else characters.push(letter);
  }
  const words = [];
  let [paired, other] = [[], ""];
  for (const character of characters) {
    if (PAIRED.test([...character][0])) {
      if (other) words.push(other);
      other = "";
      paired.push(character);
    } else {
      words.push(...pairs(paired));
      paired = [];
      other += character;
    }
  }
  return [...words, ...(other ? [other] : []), ...pairs(paired)];
}

function pairs(characters) {
  if (characters.length < 2) return characters;
  return [...characters.slice(1).map((second, at) => characters[at] + second), ...characters.filter((one) => SINGLE.test(one))];
}
