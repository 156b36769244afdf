// What the page says, in English and Chinese. Values are put in by textContent only, wherever they come from.

const TEXTS = {
  en: {
    skip: "Skip to the input", server: "Server", docs: "API", metrics: "Metrics", dark: "Dark", light: "Light",
    model: "Model", version: "Version", form: "Form", targets: "Answers", input: "Input", clear: "Clear", answer: "Answer",
    emptyText: "Type a text, and the model answers as you type.", emptyTable: "Fill the columns, and the model answers as you type.",
    explained: "Explained", explain: "Explain", words: "Words that mattered", columns: "Columns that mattered",
    wordsNote: "Each word is taken out in turn and the model asked again; the numbers say how much its answer then loses. Marks and their order go by odds, in which what a probability near 0% or 100% hides is seen.",
    columnsNote: "Each column in turn takes five typical values of the training rows; the numbers say how far the answer moves from their mean.",
    for: "for “{label}”", against: "against “{label}”", raises: "raises the number", lowers: "lowers the number",
    nothing: "Nothing stands out: no single part of the input moves this answer.", explaining: "Looking for what mattered…",
    call: "The same from a terminal", copy: "Copy", copied: "Copied", copyByHand: "Selected: press Ctrl+C",
    key: "Key of the API", useKey: "Use the key", keyNote: "It is kept in this page's memory only and sent to this server only.",
    needsKey: "This server asks for a key", needsKeyDetail: "Give the key that its operator gave you.",
    lost: "The server cannot be reached", lostDetail: "The connection was lost or the server has stopped.",
    busy: "The server is busy", busyDetail: "Too many rows wait at this moment.", again: "Asking again in {seconds} s", retry: "Ask again now",
    odd: "The server said something unexpected", oddDetail: "The answer (status {status}) is no JSON of this API.", problem: "No answer",
    more: "Show all {count}", fewer: "Show the first {count}", moreColumns: "{count} more columns", examples: "Examples", example: "Example {number}",
    missing: "missing", yes: "true", no: "false", required: "needed", fill: "fill in {names}", notNumber: "{name} is no number",
    interval: "{percent} between {low} and {high}", spread: "The members of the model disagree by {value}.",
    flagsNone: "none of the labels", holds: "holds", holdsNot: "does not hold",
    took: "{ms} ms", tookNote: "From the request to the answer, as this browser sees it", said: "{target}: {value}",
    points: "{value} points", reads: { text: "a text", table: "a row of a table" }, signs: "{count} characters", label: "label", number: "number",
    flags: "flags", text: "text", category: "category", boolean: "true or false", date: "date", multilabel: "labels", vector: "numbers", kindwords: "text",
    vectorHint: "numbers, with commas between", unit: "missing value",
  },
  zh: {
    skip: "跳到输入", server: "服务器", docs: "接口文档", metrics: "指标", dark: "深色", light: "浅色",
    model: "模型", version: "版本", form: "形式", targets: "回答", input: "输入", clear: "清空", answer: "回答",
    emptyText: "输入一段文字，模型会边输入边回答。", emptyTable: "填写各列，模型会边输入边回答。",
    explained: "解释", explain: "解释", words: "起作用的词", columns: "起作用的列",
    wordsNote: "依次去掉每个词再问一次模型；数字表示去掉后回答会减少多少。标记和次序按几率计算，因此概率接近 0% 或 100% 时也能看出差别。",
    columnsNote: "依次把每一列换成训练数据中五个典型值；数字表示回答与其平均值相差多少。",
    for: "支持“{label}”", against: "反对“{label}”", raises: "使数值升高", lowers: "使数值降低",
    nothing: "没有突出的部分：单独去掉任何一处都不会改变这个回答。", explaining: "正在寻找起作用的部分……",
    call: "在终端中做同样的事", copy: "复制", copied: "已复制", copyByHand: "已选中：请按 Ctrl+C",
    key: "接口密钥", useKey: "使用密钥", keyNote: "密钥只保存在本页面的内存中，只发送给本服务器。",
    needsKey: "服务器需要密钥", needsKeyDetail: "请输入管理者给你的密钥。",
    lost: "无法连接服务器", lostDetail: "连接已断开，或服务器已停止。",
    busy: "服务器繁忙", busyDetail: "此刻等待的请求太多。", again: "{seconds} 秒后重试", retry: "立即重试",
    odd: "服务器的回答出乎意料", oddDetail: "回答（状态 {status}）不是本接口的 JSON。", problem: "没有回答",
    more: "显示全部 {count} 项", fewer: "只显示前 {count} 项", moreColumns: "另外 {count} 列", examples: "示例", example: "示例 {number}",
    missing: "缺失", yes: "是", no: "否", required: "必填", fill: "请填写{names}", notNumber: "{name} 不是数字",
    interval: "{percent} 的可能在 {low} 与 {high} 之间", spread: "模型各成员之间相差 {value}。",
    flagsNone: "没有任何标签", holds: "成立", holdsNot: "不成立",
    took: "{ms} 毫秒", tookNote: "从发出请求到收到回答，由本浏览器测得", said: "{target}：{value}",
    points: "{value} 个百分点", reads: { text: "一段文字", table: "表格的一行" }, signs: "{count} 个字符", label: "标签", number: "数字",
    flags: "多个标签", text: "文字", category: "类别", boolean: "是或否", date: "日期", multilabel: "多个标签", vector: "一组数字", kindwords: "文字",
    vectorHint: "数字，用逗号隔开", unit: "缺失值",
  },
};

const NAME = "bessemer-language";

let language = stored(NAME) ?? (navigator.languages ?? [navigator.language]).map((tag) => tag.slice(0, 2)).find((tag) => tag in TEXTS) ?? "en";
if (!(language in TEXTS)) language = "en";

/** Return a stored choice; null where the browser keeps nothing. */
export function stored(name) {
  try {
    return localStorage.getItem(name);
  } catch {
    return null;
  }
}

/** Store a choice; a browser that keeps nothing forgets it with the page. */
export function store(name, value) {
  try {
    localStorage.setItem(name, value);
  } catch {
    // A private window: the choice holds until it is closed.
  }
}

export const current = () => language;

export function change(to) {
  language = to;
  store(NAME, to);
}

/** Return a text with its {values} put in. */
export function say(key, values = {}) {
  const text = TEXTS[language][key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

export const readsWhat = (reads) => TEXTS[language].reads[reads] ?? reads;

export const kindName = (kind) => say(kind === "words" ? "kindwords" : kind);

export function number(value, options = { maximumSignificantDigits: 6 }) {
  return Number.isFinite(value) ? new Intl.NumberFormat(language, options).format(value) : String(value);
}

/** Return a probability in percent; next to 0 and 1 it says that it is no certainty. */
export function percent(value) {
  const style = { style: "percent", maximumFractionDigits: 1 };
  if (value > 0.9995 && value < 1) return `>${number(0.999, style)}`;
  if (value < 0.0005 && value > 0) return `<${number(0.001, style)}`;
  return number(value, { ...style, minimumFractionDigits: 1 });
}

/** Return a change with its sign; of a probability in points of percent. */
export function signed(value, isNumber) {
  const size = Math.abs(isNumber ? value : value * 100);
  const few = size < 1 ? { maximumSignificantDigits: 2 } : isNumber ? { maximumSignificantDigits: 4 } : { minimumFractionDigits: 1, maximumFractionDigits: 1 };
  const text = number(size < 1e-4 && !isNumber ? 0 : size, few);
  return `${value < 0 ? "−" : "+"}${text}`;
}
