// Drawing answers and what mattered. Elements are kept between answers, so that bars move and the focus stays.

import { make } from "./form.js";
import { number, percent, say, signed } from "./language.js";

export const TOP = 10;
const EXPLAINED = 5; // the server explains the five most probable labels

/** Draw the answers to all targets; onPick(target, label) is called when a bar is chosen. */
export function drawTargets(place, targets, view) {
  const names = Object.keys(targets);
  for (const child of [...place.children]) if (!names.includes(child.dataset.target)) child.remove();
  for (const name of names) {
    let block = [...place.children].find((child) => child.dataset.target === name);
    if (!block || block.dataset.kind !== targets[name].kind) {
      block?.remove();
      block = make("div", { class: "target" });
      Object.assign(block.dataset, { target: name, kind: targets[name].kind });
      place.append(block);
    }
    ({ label: drawLabel, number: drawNumber, flags: drawFlags })[targets[name].kind]?.(block, name, targets[name], view);
  }
}

/** Return one child of a block with a class, made the first time. */
function part(block, name, className, ...attributes) {
  let found = block.querySelector(`:scope > .${className.split(" ")[0]}`);
  if (!found) {
    found = make(name, { class: className, ...attributes[0] });
    block.append(found);
  }
  return found;
}

function drawHead(block, name, text, beside) {
  part(block, "p", "what", { dir: "auto" }).textContent = name;
  const line = part(block, "p", "said");
  line.replaceChildren(make("bdi", {}, text));
  if (beside) line.append(" ", make("span", { class: "beside" }, beside));
}

function drawSpread(block, answer, text) {
  const line = part(block, "p", "note spread");
  line.hidden = answer.spread === undefined || answer.spread === null;
  line.textContent = line.hidden ? "" : say("spread", { value: text(answer.spread) });
}

function drawLabel(block, name, answer, view) {
  drawHead(block, name, answer.label, percent(answer.probability));
  drawBars(block, name, answer.probabilities, view, () => ({}));
  drawSpread(block, answer, percent);
}

function drawFlags(block, name, answer, view) {
  const holding = answer.labels ?? [];
  drawHead(block, name, holding.length ? holding.join(" · ") : say("flagsNone"), "");
  drawBars(block, name, answer.probabilities, view, (label) => ({ holds: holding.includes(label) }));
  drawSpread(block, answer, percent);
}

/** Draw probabilities as bars, the largest first, ten at first; each of the first five can be chosen to be explained. */
function drawBars(block, name, probabilities, view, facts) {
  const list = part(block, "ul", "bars");
  const sorted = Object.entries(probabilities).sort((one, other) => other[1] - one[1]);
  const count = view.open.has(name) ? sorted.length : Math.min(TOP, sorted.length);
  const known = new Map([...list.children].map((item) => [item.dataset.label, item]));
  const focused = document.activeElement?.closest?.(".bars") === list ? document.activeElement : null;
  const shown = sorted.slice(0, count).map(([label, value], place) => {
    const item = known.get(label) ?? barOf(label, () => view.onPick(name, label));
    known.delete(label);
    const { holds } = facts(label);
    const button = item.firstElementChild;
    button.disabled = place >= EXPLAINED || !view.explains;
    button.setAttribute("aria-pressed", String(view.chosen?.target === name && view.chosen?.label === label));
    item.classList.toggle("first", holds === undefined ? place === 0 : holds);
    const mark = item.querySelector(".holds");
    mark.hidden = holds === undefined;
    mark.textContent = holds ? "✓" : "–";
    mark.setAttribute("aria-label", holds ? say("holds") : say("holdsNot"));
    item.querySelector(".percent").textContent = percent(value);
    item.querySelector(".fill").style.setProperty("--part", String(Math.max(0, Math.min(1, value))));
    return item;
  });
  known.forEach((item) => item.remove());
  if (shown.some((item, place) => list.children[place] !== item)) list.replaceChildren(...shown);
  if (focused?.isConnected && document.activeElement !== focused) focused.focus({ preventScroll: true });
  list.classList.toggle("flags", sorted.length > 0 && facts(sorted[0][0]).holds !== undefined);
  const more = part(block, "button", "plain more", { type: "button" });
  more.hidden = sorted.length <= TOP;
  more.textContent = view.open.has(name) ? say("fewer", { count: TOP }) : say("more", { count: number(sorted.length) });
  more.setAttribute("aria-expanded", String(view.open.has(name)));
  more.onclick = () => view.onMore(name);
}

function barOf(label, pick) {
  const button = make("button", { type: "button", class: "bar" },
    make("span", { class: "holds", role: "img" }), make("bdi", { class: "label" }, label), make("span", { class: "percent" }),
    make("span", { class: "track", "aria-hidden": "true" }, make("span", { class: "fill" })));
  button.addEventListener("click", pick);
  const item = make("li", {}, button);
  item.dataset.label = label;
  return item;
}

function drawNumber(block, name, answer, view) {
  drawHead(block, name, number(answer.value), "");
  const levels = Object.entries(answer.quantiles ?? {}).map(([level, value]) => [Number(level), value]).sort((one, other) => one[0] - other[0]);
  const rail = part(block, "div", "rail", { "aria-hidden": "true" });
  const line = part(block, "p", "interval");
  rail.hidden = line.hidden = levels.length < 2;
  if (levels.length > 1) {
    const [low, high] = [levels[0], levels.at(-1)];
    line.textContent = say("interval", { percent: number(high[0] - low[0], { style: "percent" }), low: number(low[1]), high: number(high[1]) });
    drawRail(rail, answer.value, levels);
  }
  drawSpread(block, answer, number);
  const pick = part(block, "button", "plain explain", { type: "button" });
  pick.hidden = !view.several || !view.explains;
  pick.textContent = say("explain");
  pick.setAttribute("aria-pressed", String(view.chosen?.target === name));
  pick.onclick = () => view.onPick(name, "");
}

function drawRail(rail, value, levels) {
  const values = [value, ...levels.map(([, own]) => own)];
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const pad = (high - low || Math.abs(high) || 1) * 0.12;
  const at = (own) => (own - low + pad) / (high - low + 2 * pad);
  const band = make("span", { class: "band" });
  band.style.setProperty("--from", String(at(levels[0][1])));
  band.style.setProperty("--to", String(at(levels.at(-1)[1])));
  const ticks = levels.map(([level, own]) => {
    const tick = make("span", { class: "tick" }, make("small", {}, number(level, { style: "percent", maximumFractionDigits: 1 })));
    tick.style.setProperty("--at", String(at(own)));
    return tick;
  });
  const dot = make("span", { class: "dot" });
  dot.style.setProperty("--at", String(at(value)));
  rail.replaceChildren(band, ...ticks, dot);
}

/** Return [(target, label)] that reasons explain, as {target, label, key}. */
export function explainable(reasons) {
  const found = new Map();
  for (const reason of reasons) for (const label of Object.keys(reason.weights)) found.set(JSON.stringify([reason.target, label]), { target: reason.target, label });
  return [...found].map(([key, pair]) => ({ key, ...pair }));
}

const VISIBLE = 0.02; // log-odds, or standard deviations, under which nothing is marked

/** Return a chosen target's and label's reasons as {…, weight, change, level 0 to 5}, the weightiest first. */
function weighed(reasons, chosen) {
  const own = reasons.filter((reason) => reason.target === chosen.target && chosen.label in reason.weights)
    .map((reason) => ({ ...reason, weight: reason.weights[chosen.label], change: reason.changes[chosen.label] }));
  const largest = Math.max(0.3, ...own.map((reason) => Math.abs(reason.weight)));
  for (const reason of own) {
    const part = Math.abs(reason.weight) / largest;
    reason.level = Math.abs(reason.weight) < VISIBLE || part < 0.06 ? 0 : Math.ceil(5 * part);
  }
  return own.sort((one, other) => Math.abs(other.weight) - Math.abs(one.weight));
}

const sideOf = (reason) => (reason.weight < 0 ? "against" : "for");
const changeOf = (reason, chosen) => (chosen.label === "" ? signed(reason.change, true) : say("points", { value: signed(reason.change, false) }));
const arrowOf = (reason) => (reason.weight < 0 ? "▼" : "▲");

/** Draw the words of a text, those that mattered marked, and a list of the strongest; reasons are null while they are awaited. */
export function drawWords(place, text, reasons, chosen) {
  const own = weighed(reasons ?? [], chosen).filter((reason) => reason.level > 0);
  const signs = Array.from(text); // reasons count code points, strings of this language do not
  const words = make("p", { class: "words", dir: "auto" });
  let last = 0;
  for (const reason of [...own].sort((one, other) => one.start - other.start)) {
    words.append(signs.slice(last, reason.start).join(""));
    words.append(make("mark", { class: sideOf(reason), "data-level": String(reason.level), title: `${arrowOf(reason)} ${changeOf(reason, chosen)}` },
      signs.slice(reason.start, reason.stop).join("")));
    last = reason.stop;
  }
  words.append(signs.slice(last).join(""));
  const chips = make("ul", { class: "chips" }, ...own.slice(0, 8).map((reason) => make("li", { class: sideOf(reason) },
    make("span", { "aria-hidden": "true" }, arrowOf(reason)), make("bdi", {}, reason.text), make("span", { class: "change" }, changeOf(reason, chosen)))));
  place.replaceChildren(words, own.length ? chips : make("p", { class: "empty" }, say(reasons ? "nothing" : "explaining")));
}

/** Draw the columns that mattered as bars to both sides of nought. */
export function drawColumns(place, reasons, chosen, open, onMore) {
  const all = weighed(reasons, chosen);
  const own = open ? all : all.slice(0, TOP);
  const largest = Math.max(1e-9, ...own.map((reason) => Math.abs(reason.weight)));
  const rows = own.map((reason) => {
    const fill = make("span", { class: `fill ${sideOf(reason)}` });
    fill.style.setProperty("--part", String(Math.abs(reason.weight) / largest));
    return make("li", { class: sideOf(reason) },
      make("span", { class: "column" }, make("bdi", {}, reason.column), make("bdi", { class: "value" }, reason.text === "" ? say("missing") : reason.text)),
      make("span", { class: "sides", "aria-hidden": "true" }, fill),
      make("span", { class: "change" }, make("span", { "aria-hidden": "true" }, `${arrowOf(reason)} `), changeOf(reason, chosen)));
  });
  const more = make("button", { type: "button", class: "plain more", hidden: all.length <= TOP }, open ? say("fewer", { count: TOP }) : say("more", { count: number(all.length) }));
  more.onclick = onMore;
  place.replaceChildren(make("ol", { class: "reasons" }, ...rows), more);
}
