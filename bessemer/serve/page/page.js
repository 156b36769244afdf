// The page: what it knows, and what happens when.

import { ask, curl, hasKey, Trouble, useKey } from "./ask.js";
import { drawColumns, drawTargets, drawWords, explainable } from "./draw.js";
import { buildForm, make } from "./form.js";
import { change, current, number, percent, readsWhat, say, store, stored } from "./language.js";

const PAUSE = 120; // ms after the last key before the model is asked
const EXPLAIN_PAUSE = 350; // ms more before it is asked why
const [FEW, MANY] = [5, 16]; // reasons stand under the answer where it has few bars, or the form many columns; else under the form
const THEME = "bessemer-theme";

const at = (id) => document.getElementById(id);
const state = {
  model: "", description: null, form: null, asked: null, targets: null, took: 0, reasons: null, whyTook: 0,
  chosen: null, picked: false, open: new Set(), openColumns: false, explains: true, trouble: null, stop: null, timers: {},
};

const later = (name, wait, action) => {
  clearTimeout(state.timers[name]);
  state.timers[name] = setTimeout(action, wait);
};
const never = (...names) => names.forEach((name) => clearTimeout(state.timers[name]));
const address = (verb) => (state.model ? `v1/models/${encodeURIComponent(state.model)}/${verb}` : verb);

// ---- what is said of the model ------------------------------------------------------------------------------------------

async function start() {
  try {
    const { value } = await ask(address("page.json"));
    showTrouble(null);
    describe(value);
  } catch (error) {
    failed(error, start);
  }
}

function describe(description) {
  Object.assign(state, { description, targets: null, reasons: null, chosen: null, picked: false, open: new Set(), explains: true });
  at("reasons").replaceChildren(); // another model's
  at("panes").hidden = false;
  const rows = description.targets.reduce((sum, target) => sum + (target.labels?.length || 3), 0);
  at("panes").className = `panes ${rows > FEW && description.inputs.length <= MANY ? "under" : "beside"}`;
  state.form = buildForm(at("form"), description);
  label();
  const first = description.examples?.[0] ?? Object.fromEntries(description.inputs.map((input) => [input.name, input.example ?? null]));
  state.form.fill(first);
  changed(0);
}

/** Write every text of the page in the language in force. */
function label() {
  document.documentElement.lang = current() === "zh" ? "zh-Hans" : "en";
  for (const element of document.querySelectorAll("[data-say]")) element.textContent = say(element.dataset.say);
  for (const element of document.querySelectorAll("[data-say-label]")) element.setAttribute("aria-label", say(element.dataset.sayLabel));
  at("language").textContent = current() === "zh" ? "English" : "中文";
  at("language").lang = current() === "zh" ? "en" : "zh-Hans";
  const dark = isDark();
  at("theme").textContent = say("dark");
  at("theme").setAttribute("aria-pressed", String(dark));
  const { description } = state;
  if (!description) return;
  at("links").hidden = description.key === true; // a link cannot bring the key that these addresses then ask for
  document.title = `${description.model} · Bessemer`;
  at("model").textContent = description.model;
  const targets = description.targets.map((target) => target.name).join(", ");
  const facts = [["input", readsWhat(description.reads)], ["targets", targets], ["form", description.form], ["version", description.version]];
  at("facts").replaceChildren(...facts.filter(([, value]) => value).map(([key, value]) => make("div", {}, make("dt", {}, say(key)), make("dd", { dir: "auto" }, String(value)))));
  const models = (description.models ?? []).map((item) => (typeof item === "string" ? item : item.name));
  at("models-label").hidden = models.length < 2;
  at("models").replaceChildren(...models.map((name) => make("option", { value: name }, name)));
  at("models").value = description.model;
  at("empty").textContent = say(description.reads === "text" ? "emptyText" : "emptyTable");
  state.form.relabel();
  drawExamples();
  drawAnswer();
  drawWhy();
  showTrouble(state.trouble);
}

function drawExamples() {
  const examples = (state.description.examples ?? []).slice(0, 8);
  const text = state.description.reads === "text";
  const name = state.description.inputs[0]?.name;
  const button = (row, index) => {
    const words = text ? String(row[name] ?? "") : say("example", { number: index + 1 });
    const made = make("button", { type: "button", class: "example", dir: "auto" }, words.length > 300 ? `${words.slice(0, 299)}…` : words);
    made.addEventListener("click", () => {
      state.form.fill(row);
      changed(0);
    });
    return make("li", {}, made);
  };
  at("examples").replaceChildren();
  if (examples.length) at("examples").append(make("h3", {}, say("examples")), make("ul", { class: text ? "examples lines" : "examples" }, ...examples.map(button)));
}

// ---- asking -------------------------------------------------------------------------------------------------------------

function changed(pause = PAUSE) {
  later("predict", pause, predict);
  never("explain", "again");
}

async function predict() {
  state.stop?.abort();
  const { row, why, empty } = state.form.read();
  never("explain", "again");
  if (empty || !row || why) {
    Object.assign(state, { asked: null, targets: null, reasons: null });
    at("empty").textContent = empty ? say(state.description.reads === "text" ? "emptyText" : "emptyTable") : why;
    showTrouble(null);
    drawAnswer();
    drawWhy();
    return;
  }
  const stop = (state.stop = new AbortController());
  at("answer").setAttribute("aria-busy", "true");
  showCurl(row);
  try {
    const { value, took } = await ask(address("predict"), row, stop.signal);
    Object.assign(state, { asked: row, targets: value.targets, took, reasons: null });
    showTrouble(null);
    settle();
    drawAnswer();
    drawWhy();
    later("say", 600, announce);
    if (!state.explains) return;
    at("why").setAttribute("aria-busy", "true");
    later("explain", EXPLAIN_PAUSE, () => explain(row, stop));
  } catch (error) {
    if (error.name !== "AbortError") failed(error, predict);
  } finally {
    if (state.stop === stop) at("answer").removeAttribute("aria-busy");
  }
}

async function explain(row, stop) {
  try {
    const { value, took } = await ask(address("explain"), row, stop.signal);
    Object.assign(state, { reasons: value.why ?? [], whyTook: took });
    settle();
    drawAnswer();
    drawWhy();
  } catch (error) {
    if (error.name === "AbortError") return;
    if (error instanceof Trouble && (error.status === 404 || error.status === 405)) {
      state.explains = false; // an older server, or one that gives no reasons
      drawAnswer();
      drawWhy();
    } else failed(error, predict);
  } finally {
    if (state.stop === stop) at("why").removeAttribute("aria-busy");
  }
}

/** Keep what was chosen to be explained where the answer still has it; else choose what the model says first. */
function settle() {
  const first = Object.keys(state.targets)[0];
  const target = state.picked && state.chosen?.target in state.targets ? state.chosen.target : first;
  const answer = state.targets[target];
  const ranked = Object.entries(answer.probabilities ?? { "": 1 }).sort((one, other) => other[1] - one[1]).slice(0, 5).map(([label]) => label);
  const kept = state.picked && state.chosen?.target === target && ranked.includes(state.chosen.label);
  if (!kept) state.picked = false;
  state.chosen = { target, label: kept ? state.chosen.label : ranked[0] };
}

function pick(target, label) {
  Object.assign(state, { chosen: { target, label }, picked: true });
  drawAnswer();
  drawWhy();
}

// ---- trouble ------------------------------------------------------------------------------------------------------------

function failed(error, again) {
  if (!(error instanceof Trouble)) throw error;
  Object.assign(state, { targets: null, reasons: null });
  const first = state.trouble?.kind !== error.kind;
  const wait = error.kind === "lost" ? (first ? 1 : Math.min((state.trouble.wait || 1) * 2, 15)) : error.wait;
  const until = wait ? Date.now() + 1000 * wait : 0;
  showTrouble(Object.assign(error, { wait, until, again }));
  at("empty").textContent = say("problem");
  if (state.description) {
    drawAnswer();
    drawWhy();
  }
  if (wait) count();
}

/** Count the seconds down until the server is asked again. */
function count() {
  const { trouble } = state;
  if (!trouble?.until) return;
  const left = Math.ceil((trouble.until - Date.now()) / 1000);
  if (left <= 0) {
    trouble.again();
    return;
  }
  const line = document.querySelector("#problem .again");
  if (line) line.textContent = say("again", { seconds: left });
  later("again", 250, count);
}

function showTrouble(trouble) {
  state.trouble = trouble;
  const place = at("problem");
  at("key-form").hidden = !(trouble?.kind === "key" || (hasKey() && !at("key-form").hidden && trouble));
  place.className = trouble ? "problem" : "";
  place.replaceChildren();
  if (!trouble) return;
  const [title, detail] = {
    key: [say("needsKey"), trouble.detail || say("needsKeyDetail")], busy: [say("busy"), trouble.detail || say("busyDetail")],
    lost: [say("lost"), say("lostDetail")], odd: [say("odd"), say("oddDetail", { status: trouble.status })],
    problem: [trouble.title || say("problem"), trouble.detail || say("oddDetail", { status: trouble.status })],
  }[trouble.kind];
  place.append(make("strong", { dir: "auto" }, title), make("p", { dir: "auto" }, detail));
  if (trouble.wait) {
    const button = make("button", { type: "button", class: "plain" }, say("retry"));
    button.addEventListener("click", () => trouble.again());
    // The seconds change four times a second: a screen reader need not say each.
    place.append(make("span", { class: "again", "aria-live": "off" }), button);
  }
}

// ---- what is seen -------------------------------------------------------------------------------------------------------

function drawAnswer() {
  const { targets } = state;
  at("empty").hidden = Boolean(targets);
  at("targets").hidden = !targets;
  at("took").textContent = targets ? say("took", { ms: number(state.took, { maximumFractionDigits: state.took < 10 ? 1 : 0 }) }) : "";
  at("took").title = say("tookNote");
  if (!targets) return;
  drawTargets(at("targets"), targets, {
    chosen: state.chosen, open: state.open, explains: state.explains, several: Object.keys(targets).length > 1, onPick: pick,
    onMore(name) {
      if (!state.open.delete(name)) state.open.add(name);
      drawAnswer();
    },
  });
}

function announce() {
  if (!state.targets) return;
  const words = Object.entries(state.targets).map(([target, answer]) => say("said", { target, value: answer.kind === "label"
    ? `${answer.label} ${percent(answer.probability)}` : answer.kind === "number" ? number(answer.value) : answer.labels.join(", ") || say("flagsNone") }));
  at("live").textContent = words.join("; ");
}

function drawWhy() {
  const { reasons, chosen, description, targets } = state;
  const text = description.reads === "text";
  at("why").hidden = !state.explains || !targets;
  at("why-title").textContent = say(text ? "words" : "columns");
  at("why-note").textContent = say(text ? "wordsNote" : "columnsNote");
  at("why-took").textContent = reasons ? say("took", { ms: number(state.whyTook, { maximumFractionDigits: 0 }) }) : "";
  at("why-took").title = say("tookNote");
  if (!targets) return;
  const pairs = reasons ? explainable(reasons) : [{ key: "", ...chosen }];
  const several = description.targets.length > 1;
  at("explained").replaceChildren(...pairs.map((pair) => make("option", { value: pair.key }, [several || pair.label === "" ? pair.target : "", pair.label].filter(Boolean).join(": "))));
  at("explained").value = pairs.find((pair) => pair.target === chosen.target && pair.label === chosen.label)?.key ?? pairs[0]?.key ?? "";
  const isNumber = chosen.label === "";
  at("legend").replaceChildren(...[["for", "▲", isNumber ? say("raises") : say("for", { label: chosen.label })], ["against", "▼", isNumber ? say("lowers") : say("against", { label: chosen.label })]]
    .map(([side, arrow, words]) => make("li", { class: side }, make("span", { class: "swatch", "aria-hidden": "true" }, arrow), make("bdi", {}, words))));
  // What was said of an earlier text is gone at once; columns stay, dimmed, so that nothing jumps.
  if (text) drawWords(at("reasons"), String(state.asked[description.inputs[0].name]), reasons, chosen);
  else if (!reasons && !at("reasons").children.length) at("reasons").replaceChildren(make("p", { class: "empty" }, say("explaining")));
  else if (reasons) drawColumns(at("reasons"), reasons, chosen, state.openColumns, () => {
    state.openColumns = !state.openColumns;
    drawWhy();
  });
}

function showCurl(row) {
  at("curl").textContent = curl(address("predict"), row);
}

async function copy() {
  try {
    await navigator.clipboard.writeText(at("curl").textContent);
    at("copy").textContent = say("copied");
  } catch {
    getSelection().selectAllChildren(at("curl"));
    at("copy").textContent = say("copyByHand");
  }
  later("copied", 2500, () => {
    at("copy").textContent = say("copy");
  });
}

// ---- switches -----------------------------------------------------------------------------------------------------------

const preferred = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (stored(THEME) ?? document.documentElement.dataset.theme ?? (preferred.matches ? "dark" : "light")) === "dark";

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  store(THEME, theme);
  label();
}

at("theme").addEventListener("click", () => setTheme(isDark() ? "light" : "dark"));
preferred.addEventListener("change", label);
at("language").addEventListener("click", () => {
  change(current() === "zh" ? "en" : "zh");
  label();
});
at("form").addEventListener("input", () => changed());
at("form").addEventListener("submit", (event) => {
  event.preventDefault();
  changed(0);
});
at("form").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) changed(0);
});
at("clear").addEventListener("click", () => {
  state.form.fill(null);
  state.form.focus();
  changed(0);
});
at("explained").addEventListener("change", () => {
  const [target, label] = JSON.parse(at("explained").value);
  pick(target, label);
});
addEventListener("online", () => {
  if (state.trouble?.kind === "lost") state.trouble.again();
});
at("copy").addEventListener("click", copy);
at("models").addEventListener("change", () => {
  state.model = at("models").value;
  start();
});
at("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(at("key").value);
  (state.trouble?.again ?? start)();
});

if (stored(THEME)) document.documentElement.dataset.theme = stored(THEME);
label();
start();
