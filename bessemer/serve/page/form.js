// What a person types or fills in, as a row for the server.

import { kindName, number, say } from "./language.js";

const SHOWN = 40; // columns before the rest is folded away
const LISTED = 60; // labels that fit a list to pick from

/** Return an element with attributes, and children that are nodes or texts. */
export function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") element.className = value;
    else if (key in element && typeof value !== "string") element[key] = value;
    else element.setAttribute(key, value);
  }
  element.append(...children);
  return element;
}

const wellFormed = (text) => (text.toWellFormed ? text.toWellFormed() : text);
const blank = (value) => value === null || value === undefined || value === "";

/** Build the form of a model into an element. Returns {read() -> {row, why}, fill(row), focus()}; why says what is still lacking. */
export function buildForm(place, description) {
  place.replaceChildren();
  return description.reads === "text" ? textForm(place, description.inputs[0]) : tableForm(place, description.inputs);
}

function textForm(place, input) {
  const box = make("textarea", { id: "text", rows: "6", dir: "auto", spellcheck: "false", "aria-describedby": "signs" });
  const count = make("span", { id: "signs", class: "signs" });
  const counted = () => {
    count.textContent = say("signs", { count: number(Array.from(box.value).length) });
  };
  box.addEventListener("input", counted);
  place.append(make("label", { for: "text", class: "name", dir: "auto" }, input.name), box, count);
  counted();
  return {
    read: () => ({ row: { [input.name]: wellFormed(box.value) }, why: box.value.trim() ? "" : say("emptyText"), empty: !box.value.trim() }),
    fill(row) {
      box.value = blank(row?.[input.name]) ? "" : String(row[input.name]);
      counted();
    },
    relabel: counted,
    focus: () => box.focus(),
  };
}

function tableForm(place, inputs) {
  const fields = inputs.map((input, index) => field(input, index));
  const grid = make("div", { class: "columns" }, ...fields.slice(0, SHOWN).map((item) => item.element));
  place.append(grid);
  const summary = make("summary");
  if (fields.length > SHOWN) {
    place.append(make("details", {}, summary, make("div", { class: "columns" }, ...fields.slice(SHOWN).map((item) => item.element))));
  }
  const relabel = () => {
    summary.textContent = say("moreColumns", { count: number(fields.length - SHOWN) });
    fields.forEach((item) => item.relabel());
  };
  relabel();
  return {
    read() {
      const row = {};
      const lacking = [];
      for (const item of fields) {
        const { value, bad } = item.read();
        if (bad) return { row: null, why: say("notNumber", { name: item.name }), empty: false };
        if (value === null && item.required) lacking.push(item.name);
        row[item.name] = value;
      }
      const empty = fields.every((item) => row[item.name] === null);
      return { row, why: lacking.length ? say("fill", { names: lacking.slice(0, 3).join(", ") }) : "", empty };
    },
    fill: (row) => fields.forEach((item) => item.fill(row?.[item.name])),
    relabel,
    focus: () => fields[0]?.element.querySelector("input, select, textarea").focus(),
  };
}

/** Return one column's label and control: {element, name, required, read, fill, relabel}. */
function field(input, index) {
  const id = `column-${index}`;
  const required = input.required === true || input.missing === false;
  const [control, read, write] = controlOf(input, id);
  control.id = id;
  if (required) control.required = true;
  const kind = make("small");
  const element = make("div", { class: input.kind === "words" || input.kind === "vector" ? "field wide" : "field" },
    make("label", { for: id }, make("span", { dir: "auto" }, input.name), kind), control);
  if (control.list === null && input.labels?.length > LISTED) element.append(listOf(control, input.labels, id));
  return {
    element, required, name: input.name, read, fill: write,
    relabel() {
      kind.textContent = `${kindName(input.kind)}${required ? ` · ${say("required")}` : ""}`;
      for (const option of control.options ?? []) if (option.dataset.say) option.textContent = `(${say(option.dataset.say)})`;
      for (const option of control.options ?? []) if (option.dataset.word) option.textContent = say(option.dataset.word);
      if (!required && !control.options) control.placeholder = input.kind === "vector" ? say("vectorHint") : say("missing");
    },
  };
}

function listOf(control, labels, id) {
  control.setAttribute("list", `${id}-list`);
  return make("datalist", { id: `${id}-list` }, ...labels.slice(0, 1000).map((label) => make("option", { value: label })));
}

/** Return a column's control, how its value is read ({value, bad}) and how one is written. */
function controlOf(input, id) {
  const plain = (control) => [control, () => ({ value: blank(control.value) ? null : wellFormed(control.value) }),
    (value) => { control.value = blank(value) ? "" : String(value); }];
  if (input.kind === "number") {
    const control = make("input", { type: "number", step: "any", inputmode: "decimal", autocomplete: "off" });
    return [control, () => ({ value: control.value === "" ? null : Number(control.value), bad: control.validity.badInput }),
      (value) => { control.value = blank(value) || !Number.isFinite(Number(value)) ? "" : String(value); }];
  }
  if (input.kind === "boolean") return chooser(["true", "false"], { true: "yes", false: "no" }, (value) => value === "true");
  if (input.kind === "category" && input.labels?.length && input.labels.length <= LISTED) return chooser(input.labels, {}, (value) => value);
  if (input.kind === "vector") {
    const control = make("textarea", { rows: "2", dir: "ltr", spellcheck: "false" });
    return [control, () => vectorOf(control.value), (value) => { control.value = Array.isArray(value) ? value.join(", ") : blank(value) ? "" : String(value); }];
  }
  if (input.kind === "words") return plain(make("textarea", { rows: "2", dir: "auto", spellcheck: "false" }));
  if (input.kind === "date" && (blank(input.example) || /^\d{4}-\d\d-\d\d$/.test(input.example))) return plain(make("input", { type: "date" }));
  return plain(make("input", { type: "text", dir: "auto", autocomplete: "off", spellcheck: "false" }));
}

function vectorOf(text) {
  if (!text.trim()) return { value: null };
  const found = text.replace(/^[\s[(]+|[\s\])]+$/g, "").split(/[\s,;]+/).map(Number);
  return found.every(Number.isFinite) ? { value: found } : { value: null, bad: true };
}

/** Return a list to pick from, whose first entry is the missing value. Values that it lacks are added when they are written. */
function chooser(labels, words, typed) {
  const control = make("select", {}, make("option", { value: "", "data-say": "missing" }));
  const codes = new Map(labels.map((label, index) => [label, `v${index}`]));
  const add = (label) => {
    const option = make("option", { value: codes.get(label) }, label);
    if (words[label]) option.dataset.word = words[label];
    control.append(option);
  };
  labels.forEach(add);
  const label = () => [...codes].find(([, code]) => code === control.value)?.[0];
  return [control, () => ({ value: control.value === "" ? null : typed(label()) }), (value) => {
    if (blank(value)) {
      control.value = "";
      return;
    }
    const text = String(value);
    if (!codes.has(text)) {
      codes.set(text, `v${codes.size}`);
      add(text);
    }
    control.value = codes.get(text);
  }];
}
