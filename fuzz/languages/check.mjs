// What was judged is what JSON.parse reads.
import { readFileSync } from "node:fs";
import { isDeepStrictEqual } from "node:util";

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

// The value at a path; undefined where there is none.
function get(value, ...path) {
  for (const key of path) {
    if (!isObject(value) || !Object.hasOwn(value, key)) return undefined;
    value = value[key];
  }
  return value;
}

function check(reading, message) {
  const differences = [];
  const same = (what, judged, seen) => {
    if (!isDeepStrictEqual(judged, seen)) differences.push({ what, judged, seen });
  };
  // `false` decides nothing, and `null` is not there.
  const said = (judged, ...path) => {
    if (judged !== false) same(path.join("."), judged ?? undefined, get(message, ...path));
  };
  same("an object", true, isObject(message));
  said("2.0", "jsonrpc");
  said(reading.method, "method");
  same("id", reading.kind !== "notification", get(message, "id") !== undefined);
  const answers = get(message, "result") !== undefined || get(message, "error") !== undefined;
  same("result", reading.kind === "response", answers);
  if (reading.kind === "response") return differences;
  for (const member of ["name", "uri", "taskId"]) said(reading[member], "params", member);
  said(reading.protocolVersion, "params", "_meta", "io.modelcontextprotocol/protocolVersion");
  const nested = [
    ["ref", ["type", "name", "uri"]],
    ["notifications", ["resourceSubscriptions", "taskIds"]],
  ];
  for (const [member, keys] of nested) {
    const judged = reading[member];
    if (!isObject(judged)) {
      said(judged, "params", member);
      continue;
    }
    for (const key of keys) {
      // A list that is empty may not be there at all.
      const seen = get(message, "params", member, key);
      if (judged[key]?.length === 0 && seen === undefined) continue;
      said(judged[key], "params", member, key);
    }
  }
  const args = get(message, "params", "arguments");
  const seen = new Set(isObject(args) ? Object.keys(args) : []);
  const judged = reading.argumentKeys;
  same("keys of arguments", true, judged.every((key) => seen.has(key)));
  if (judged.length < 64) same("number of arguments", judged.length, seen.size);
  return differences;
}

const lines = readFileSync(process.argv[2], "utf8").split("\n").filter((line) => line !== "");
for (const line of lines) {
  const { body, reading } = JSON.parse(line);
  const differences = check(reading, JSON.parse(body));
  if (differences.length > 0) {
    console.error("node reads otherwise:", JSON.stringify(body), differences);
    process.exit(1);
  }
}
if (lines.length === 0) {
  console.error("no body was let through, so nothing was checked");
  process.exit(1);
}
console.log(`node: ${lines.length} bodies read as they were judged`);
