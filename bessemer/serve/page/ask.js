// Asking the server: one function, whose errors say what a person can do.

/** What went wrong: kind is "key", "busy", "lost", "problem" or "odd"; wait is in seconds. */
export class Trouble extends Error {
  constructor(kind, { title = "", detail = "", status = 0, wait = 0 } = {}) {
    super(detail || kind);
    Object.assign(this, { kind, title, detail, status, wait });
  }
}

let key = ""; // in memory only

export const useKey = (value) => {
  key = value.trim();
};
export const hasKey = () => key !== "";

/** Ask an address of this server; a body is sent as JSON. Returns {value, took (ms)}, throws Trouble, or AbortError. */
export async function ask(address, body, signal) {
  const headers = { accept: "application/json" };
  if (key) headers.authorization = `Bearer ${key}`;
  if (body !== undefined) headers["content-type"] = "application/json";
  const started = performance.now();
  let answer, text;
  try {
    answer = await fetch(address, { method: body === undefined ? "GET" : "POST", headers, body: body === undefined ? undefined : JSON.stringify(body), signal, cache: "no-store" });
    text = await answer.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Trouble("lost");
  }
  const took = performance.now() - started;
  let value;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Trouble(answer.status === 401 ? "key" : answer.status === 429 ? "busy" : "odd", { status: answer.status, wait: waitOf(answer) });
  }
  if (answer.ok) return { value, took };
  const kind = answer.status === 401 ? "key" : answer.status === 429 ? "busy" : "problem";
  throw new Trouble(kind, { title: textOf(value?.title), detail: textOf(value?.detail), status: answer.status, wait: waitOf(answer) });
}

function waitOf(answer) {
  const said = answer.headers.get("retry-after");
  const seconds = Number(said);
  if (said === null) return answer.status === 429 ? 1 : 0;
  if (Number.isFinite(seconds)) return Math.min(Math.max(seconds, 1), 300);
  const until = Date.parse(said);
  return Number.isFinite(until) ? Math.min(Math.max(Math.ceil((until - Date.now()) / 1000), 1), 300) : 1;
}

const textOf = (value) => (typeof value === "string" ? value : value === undefined || value === null ? "" : JSON.stringify(value));

/** Return the curl line that asks the same; the key is left to the shell. */
export function curl(address, row) {
  const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;
  const lines = [`curl -s ${new URL(address, location.href).href}`, `-H 'content-type: application/json'`];
  if (key) lines.push(`-H "authorization: Bearer $BESSEMER_KEY"`);
  return [...lines, `-d ${quoted(JSON.stringify(row))}`].join(" \\\n  ");
}
