// Values of the page, and the few helpers that everything below is made of. Text that came with
// the data (captions, names) reaches the page as text nodes and attributes only, never as markup.

const values = JSON.parse(document.getElementById("values").textContent);
const thumbs = JSON.parse(document.getElementById("thumbnails").textContent);
const sections = values.sections;
const names = values.categories;
const headNames = values.heads;

/** Make an element: el("p", {class: "note"}, "text", child, …). Functions become listeners. */
function el(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") made.addEventListener(name, value);
    else if (name.startsWith("--")) made.style.setProperty(name, value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  append(made, children);
  return made;
}

function append(parent, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    parent.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

function refill(parent, ...children) {
  parent.replaceChildren();
  append(parent, children);
}

/** Text of the data in its own direction: Hebrew or Arabic must not turn round what stands beside. */
function own(text, attributes) {
  return el("bdi", attributes, text);
}

function number(value, digits) {
  if (value === null || value === undefined) return "–";
  if (typeof value !== "number") return String(value);
  if (digits !== undefined) return value.toFixed(digits);
  if (Number.isInteger(value)) return value.toLocaleString("en-US");
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString("en-US");
  return value.toFixed(size >= 100 ? 1 : size >= 10 ? 2 : 4);
}

/** A number of any size in three digits: 0.353, 2.0e-4. */
function short(value) {
  if (value === null || value === undefined) return "–";
  if (value !== 0 && Math.abs(value) < 1e-3) return value.toExponential(1);
  return String(Number(value.toPrecision(3)));
}

function percent(value) {
  if (value === null || value === undefined) return "–";
  const shown = 100 * value;
  return `${shown.toFixed(shown !== 0 && Math.abs(shown) < 9.95 ? 1 : 0)} %`;
}

function plural(count, one, many) {
  return `${number(count)} ${count === 1 ? one : many || `${one}s`}`;
}

/** Fill a section: by ``make``, or with what is missing and the mend. */
function fill(id, make) {
  const place = document.querySelector(`#${id} .content`);
  const section = sections[id];
  if (section.missing) {
    place.append(
      el("div", { class: "missing" }, el("p", {}, el("b", {}, "Not on this page: "),
        section.missing, ". ", el("code", {}, "dvc repro"), " makes what is missing."))
    );
    return;
  }
  if (section.absent) {
    place.append(el("div", { class: "absent" },
      el("p", {}, section.absent), el("p", {}, section.mend)));
  }
  try {
    make(place, section);
  } catch (error) { // one section that fails must not take the others with it
    console.error(error);
    place.append(el("div", { class: "missing" }, el("p", {}, "This section could not be shown: ",
      error.message)));
  }
}

function select(label, options, chosen, change) {
  const box = el("select", { change: () => change(box.value) },
    options.map(([value, text]) => el("option", { value, selected: value === chosen }, text)));
  return { box, label: el("label", {}, label, box) };
}

let ids = 0;
function nextId(stem) {
  ids += 1;
  return `${stem}-${ids}`;
}

function headOptions(heads) {
  return Object.keys(heads).map((head) => [head, headNames[head]]);
}
