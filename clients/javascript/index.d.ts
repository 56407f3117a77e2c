/** Routes by which an engine holds documents; docs/engines/README.md has them. */
export type Route = "saturation" | "linear" | "frequencies" | "impacts" | "impacts-idf" | "integers";

/** A query as an engine takes it. */
export interface EncodedQuery {
  /** Numbers of the terms, ascending. */
  terms: number[];
  /** Their names in engines whose terms are text. */
  names: string[];
  /** What the engine multiplies each term by. */
  weights: number[];
  /** k1 of an engine that saturates; null for the other routes. */
  pivot: number | null;
  /** Terms that were left out because of `mostTerms`, the lightest. */
  cut: number;
}

/** Queries through a static table, without Python. */
export class StaticQueries {
  /** Reads the folder that `lexite export INDEX --to static-table -o FOLDER` wrote. */
  static open(folder: string): Promise<StaticQueries>;
  /** Encodes a query for a route, with at most `mostTerms` terms. */
  encode(text: string, route?: Route, mostTerms?: number): EncodedQuery;
}
