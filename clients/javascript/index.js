// Encodes queries with the static table that `lexite export --to static-table` wrote. docs/queries-without-python.md has the algorithm.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { Tokenizer } from "@huggingface/tokenizers";
import { countWords, termName } from "./words.js";

const TRANSFORMS = {
  none: (w) => w,
  sqrt: (w) => Math.fround(Math.sqrt(w)),
  log1p: (w) => Math.fround(Math.log1p(w)),
  "pow0.75": (w) => Math.fround(Math.fround(Math.sqrt(w)) * Math.fround(Math.sqrt(Math.fround(Math.sqrt(w))))),
};
const TYPES = { U32: Uint32Array, F32: Float32Array, F64: Float64Array };

function readTensors(data) {
  const bytes = data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength);
  const length = Number(new DataView(bytes).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 8, length)));
  const tensors = Object.entries(header).filter(([name]) => name !== "__metadata__");
  return Object.fromEntries(
    tensors.map(([name, { dtype, data_offsets: [begin, end] }]) => [name, new TYPES[dtype](bytes.slice(8 + length + begin, 8 + length + end))]),
  );
}

export class StaticQueries {
  constructor(settings, tensors, tokenizer, words, folding) {
    if (settings.format !== "lexite-static-table" || settings.format_version !== 1) throw new Error("This is no static table of format 1.");
    Object.assign(this, { settings, tensors, folding, tokenizer: new Tokenizer(tokenizer, {}), words });
    this.wordTerms = new Map(words.map((word, number) => [word, settings.n_latents + number]));
  }

  static async open(folder) {
    const json = async (name) => JSON.parse(await readFile(join(folder, name), "utf8"));
    const settings = await json("static-table.json");
    const [words, folding] = settings.literal ? [await json("words.json"), await json("folding.json")] : [[], {}];
    return new StaticQueries(settings, readTensors(await readFile(join(folder, "table.safetensors"))), await json("tokenizer.json"), words, folding);
  }

  /** The terms of a query in ascending order, their names, and what the engine multiplies each by. */
  encode(text, route = "saturation", mostTerms = Infinity) {
    const { settings, tensors } = this;
    const { factor, own_idf: ownIdf, pivot } = settings.routes[route] ?? {};
    if (factor === undefined) throw new Error(`There is no route '${route}'. The routes are ${Object.keys(settings.routes).join(", ")}.`);
    let found = [...this.latents(text), ...this.literal(text)].map(([term, weight]) => [term, Math.fround(TRANSFORMS[settings.query_transform](weight) * tensors.worth[term])]);
    found = found.filter(([, f]) => f > 0).sort((a, b) => a[0] - b[0]);
    const cut = Math.max(0, found.length - mostTerms);
    if (cut) found = found.sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, mostTerms).sort((a, b) => a[0] - b[0]);
    const weights = found.map(([term, f]) => Math.fround((f * factor) / (ownIdf ? tensors.engine_idf[term] : 1)));
    return { terms: found.map(([term]) => term), names: found.map(([term]) => termName(term, settings.n_latents, this.words)), weights, pivot, cut };
  }

  latents(text) {
    const { settings, tensors } = this;
    const readable = text.replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "?");
    const { ids } = this.tokenizer.encode(readable, { add_special_tokens: settings.special_tokens });
    const sums = new Map();
    for (const piece of ids.slice(0, settings.window ?? undefined).filter((id) => id + 1 < tensors.bounds.length)) {
      for (let at = tensors.bounds[piece]; at < tensors.bounds[piece + 1]; at++) {
        const [latent, value, before] = [tensors.latents[at], tensors.values[at], sums.get(tensors.latents[at]) ?? 0];
        sums.set(latent, settings.pooling === "max" ? Math.max(before, value) : Math.fround(before + value));
      }
    }
    const least = Math.fround([...sums.values()].reduce((a, b) => Math.max(a, b), 0) * Math.fround(settings.floor));
    return [...sums].filter(([, weight]) => weight >= least);
  }

  literal(text) {
    if (!this.settings.literal) return [];
    return [...countWords(text, this.settings.literal, this.folding)].flatMap(([word, n]) => (this.wordTerms.has(word) ? [[this.wordTerms.get(word), n]] : []));
  }
}
