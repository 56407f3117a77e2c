// node encode.js FOLDER [ROUTE]: a JSON string on each line of standard input, an encoded query on each line of standard output.
import { createInterface } from "node:readline";
import { StaticQueries } from "./index.js";

const [folder, route] = process.argv.slice(2);
if (folder === undefined) {
  console.error("Usage: node encode.js FOLDER [ROUTE]");
  process.exit(2);
}
try {
  const queries = await StaticQueries.open(folder);
  for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
    console.log(JSON.stringify(queries.encode(JSON.parse(line), route)));
  }
} catch (error) {
  console.error(`Error: ${error.message}`);
  process.exitCode = 1;
}
