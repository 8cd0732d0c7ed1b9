// What everything else is built of. Texts enter only as text nodes and attributes, never as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const find = (selector, within = document) => within.querySelector(selector);
const findAll = (selector, within = document) => [...within.querySelectorAll(selector)];
const unique = (values) => [...new Set(values)];
const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}
const element = (name, attributes = {}, ...children) => filled(document.createElement(name), attributes, children);
const shape = (name, attributes = {}, ...children) =>
  filled(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);

const thousands = (value) => value.toLocaleString("en-US", { maximumFractionDigits: 4 });
const fixed = (value, digits = 1) => value === null || value === undefined ? "–" : value.toFixed(digits);
const short = (value) => {
  const size = Math.abs(value);
  if (size >= 1e6) return `${+(value / 1e6).toPrecision(3)}M`;
  return size >= 1e3 ? `${+(value / 1e3).toPrecision(3)}k` : `${+value.toPrecision(3)}`;
};

// A hint beside the pointer, or beside what has the focus.
const hint = document.getElementById("tip");
function placeHint(x, y) {
  const box = hint.getBoundingClientRect();
  const left = Math.min(Math.max(6, x + 12), innerWidth - box.width - 6);
  const top = y + 16 + box.height > innerHeight ? y - box.height - 10 : y + 16;
  hint.style.left = `${Math.max(6, left)}px`;
  hint.style.top = `${Math.max(6, top)}px`;
}
function hideHint() { hint.hidden = true; }
function hinted(node, text) {
  const show = (x, y) => { hint.textContent = text; hint.hidden = false; placeHint(x, y); };
  node.addEventListener("pointerenter", (event) => show(event.clientX, event.clientY));
  node.addEventListener("pointermove", (event) => placeHint(event.clientX, event.clientY));
  node.addEventListener("pointerleave", hideHint);
  node.addEventListener("focus", () => {
    if (!node.matches(":focus-visible")) return;
    const box = node.getBoundingClientRect();
    show(box.right - 8, box.bottom - 8);
  });
  node.addEventListener("blur", hideHint);
  return node;
}
addEventListener("scroll", hideHint, { passive: true });
addEventListener("keydown", (event) => { if (event.key === "Escape") hideHint(); });

function choice(name, values, chosen, change) {
  const select = element("select", { onchange: () => change(select.value) },
    values.map((value) => element("option", { value, selected: value === chosen }, value)));
  return element("label", {}, `${name} `, select);
}

// A method has one colour and one mark everywhere.
const methods = unique([
  ...data.boards.flatMap((board) => board.lines.map((line) => line.label)),
  ...data.runs.map((run) => run.label),
]);
const colourOf = (label) => `var(--c${Math.max(0, methods.indexOf(label)) % 8})`;
function markOf(label, x, y, size = 5) {
  const index = Math.max(0, methods.indexOf(label));
  const form = (index + Math.floor(index / 8)) % 4;
  const style = { class: "mark", fill: colourOf(label) };
  if (form === 0) return shape("circle", { ...style, cx: x, cy: y, r: size });
  const s = size * 1.1;
  if (form === 1) return shape("rect", { ...style, x: x - s * .85, y: y - s * .85, width: s * 1.7, height: s * 1.7 });
  const points = form === 2
    ? [[x, y - s * 1.25], [x + s * 1.25, y], [x, y + s * 1.25], [x - s * 1.25, y]]
    : [[x, y - s * 1.15], [x + s * 1.15, y + s * .9], [x - s * 1.15, y + s * .9]];
  return shape("polygon", { ...style, points: points.map((point) => point.join(",")).join(" ") });
}

// Draws at the width that there is, again whenever it changes.
function drawn(box, draw) {
  let width = 0;
  const again = () => { if (box.clientWidth) box.replaceChildren(draw(box.clientWidth)); };
  new ResizeObserver(() => {
    if (Math.abs(box.clientWidth - width) < 1) return;
    width = box.clientWidth;
    again();
  }).observe(box);
  return again;
}
