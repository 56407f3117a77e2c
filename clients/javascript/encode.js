// node encode.js FOLDER [ROUTE]: a JSON string on each line of standard input, an encoded query on each line of standard output.
import { createInterface } from "node:readline";
import { StaticQueries } from "./index.js";

const [folder, route] = process.argv.slice(2);
const queries = await StaticQueries.open(folder);
for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  console.log(JSON.stringify(queries.encode(JSON.parse(line), route)));
}
