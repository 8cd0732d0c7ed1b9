// Omega over training, omega by source and target, and the scores of single sources.
const UNIT = 1e-4;
const signed = (value, digits = 4) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(digits)}`;
const plain = (value, digits = 3) => `${value < 0 ? "−" : ""}${Math.abs(value).toFixed(digits)}`;
const FIELDS = { Backbone: (run) => run.backbone, Target: (run) => run.tasks.join(", "), Method: (run) => run.label,
  At: (run) => run.point, Seed: (run) => String(run.seed) };

// A selector for each field in which runs differ; those before it decide what it offers.
function chooser(box, runs, fields, show) {
  const chosen = {};
  function update() {
    let left = runs;
    const selectors = [];
    for (const field of fields) {
      const values = unique(left.map(FIELDS[field]));
      if (!values.includes(chosen[field])) chosen[field] = values[0];
      if (unique(runs.map(FIELDS[field])).length > 1) {
        selectors.push(choice(field, values, chosen[field], (value) => {
          chosen[field] = value;
          update();
          find(`[data-field="${field}"] select`, box).focus();
        }));
        selectors.at(-1).dataset.field = field;
      }
      left = left.filter((run) => FIELDS[field](run) === chosen[field]);
    }
    box.replaceChildren(...selectors);
    show(left);
  }
  update();
}

function coloured(cell, value, centre, limit) {
  const share = Math.min(1, Math.abs(value - centre) / limit) * 100;
  cell.style.background = `color-mix(in oklab, var(${value < centre ? "--below" : "--above"}) ${share.toFixed(1)}%, var(--paper))`;
}

const diverging = (name, low, high) => element("p", { class: "scale" }, name, element("span", {}, low),
  element("i", { role: "img", "aria-label": "colour scale" }), element("span", {}, high));

// The heat map of one run, with a slider over its moments.
function omegaView(run) {
  const { omega } = run;
  const columns = omega.frames[0].length / omega.sources;
  const names = run.source_names.length === omega.sources ? run.source_names
    : Array.from({ length: omega.sources }, (_, index) => `source ${index + 1}`);
  const layers = omega.shared ? [`all ${omega.layers} layers`] : Array.from({ length: columns }, (_, index) => String(index + 1));
  const cells = omega.frames[0].map(() => element("td"));
  const hints = [];
  cells.forEach((cell, index) => hinted(cell, "").addEventListener("pointerenter", () => { hint.textContent = hints[index]; }));
  const caption = element("caption");
  const table = element("table", { class: "heat" }, caption,
    element("thead", {}, element("tr", {}, element("th", { scope: "col", class: "name" }, omega.shared ? "source" : "source \\ layer"),
      layers.map((layer) => element("th", { scope: "col" }, layer)))),
    element("tbody", {}, names.map((name, row) => element("tr", {}, element("th", { scope: "row" }, name),
      cells.slice(row * columns, (row + 1) * columns)))));
  const told = element("output", { "aria-live": "polite" });
  const slider = element("input", { type: "range", min: 0, max: omega.frames.length - 1, value: omega.kept,
    "aria-label": "Moment of training", oninput: () => show() });
  const legendBox = element("div");
  const note = element("p", { class: "note" });
  let about = omega.start === null ? "0" : "start";

  function show() {
    const place = Number(slider.value), frame = omega.frames[place];
    const centre = about === "start" ? omega.start : 0;
    const limit = Math.max(...omega.frames.flat().map((value) => Math.abs(value * UNIT - centre)), 1e-3);
    const kept = place === omega.kept ? ", the model that was kept" : "";
    told.textContent = `step ${thousands(omega.steps[place])}${kept}`;
    slider.setAttribute("aria-valuetext", told.textContent);
    caption.textContent = `Omega at ${told.textContent}.`;
    frame.forEach((value, index) => {
      const omegaHere = value * UNIT, row = Math.floor(index / columns);
      cells[index].textContent = plain(omegaHere);
      coloured(cells[index], omegaHere, centre, limit);
      hints[index] = lines(`${names[row]}, ${omega.shared ? layers[0] : `layer ${layers[index % columns]}`}`, `omega ${plain(omegaHere, 4)}`,
        omega.start === null ? "" : `${signed(omegaHere - omega.start)} since the start`);
    });
    legendBox.replaceChildren(diverging("omega", plain(centre - limit), plain(centre + limit)));
    const centred = about === "start"
      ? `Colours are about where omega started, ${plain(centre)}: blue has grown since, red has shrunk.`
      : "Colours are about 0: blue adds what a source does, red subtracts it.";
    const fewer = omega.frames.length < omega.of ? ` ${omega.frames.length} of ${omega.of} evaluations are on this page.` : "";
    note.textContent = `${centred} One scale for the whole run.${fewer}`;
  }
  const controls = element("p", { class: "controls" },
    omega.frames.length > 1 && [element("label", {}, "Training ", slider), told],
    omega.start !== null && choice("Colours about", ["start", "0"], about, (value) => { about = value; show(); }));
  show();
  return element("div", {}, controls, element("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Omega" }, table), legendBox, note);
}

function matrix(rows, columns, corner, cellOf) {
  return element("div", { class: "wide", tabindex: 0, role: "region", "aria-label": corner }, element("table", { class: "heat" },
    element("thead", {}, element("tr", {}, element("th", { scope: "col", class: "name" }, corner),
      columns.map((column) => element("th", { scope: "col" }, column)))),
    element("tbody", {}, rows.map((row) => element("tr", {}, element("th", { scope: "row" }, row),
      columns.map((column) => cellOf(row, column)))))));
}

function transferView(runs) {
  const values = new Map();
  for (const run of runs) {
    const { omega } = run, frame = omega.frames[omega.kept], width = frame.length / omega.sources;
    if (run.source_names.length !== omega.sources) continue;
    run.source_names.forEach((name, row) => {
      const key = JSON.stringify([name, run.tasks[0]]);
      values.set(key, [...(values.get(key) ?? []), UNIT * mean(frame.slice(row * width, (row + 1) * width))]);
    });
  }
  const targets = unique(runs.map((run) => run.tasks[0])), sources = unique(runs.flatMap((run) => run.source_names));
  const learned = runs.every((run) => run.omega.start !== null);
  const startOf = (target) => learned ? mean(runs.filter((run) => run.tasks[0] === target).map((run) => run.omega.start)) : 0;
  const limit = Math.max(...[...values].map(([key, own]) => Math.abs(mean(own) - startOf(JSON.parse(key)[1]))), 1e-3);
  const table = matrix(sources, targets, "source \\ target", (source, target) => {
    const own = values.get(JSON.stringify([source, target]));
    if (!own) return element("td", {}, "");
    const cell = element("td", { class: source === target ? "own" : null }, plain(mean(own)));
    coloured(cell, mean(own), startOf(target), limit);
    return hinted(cell, lines(`${source} → ${target}`, `omega ${plain(mean(own), 4)}`,
      learned ? `${signed(mean(own) - startOf(target))} since the start` : "",
      own.length > 1 ? `seeds ${plain(Math.min(...own))} to ${plain(Math.max(...own))}` : "one seed"));
  });
  return [table, diverging(learned ? "since the start" : "omega", signed(-limit, 3), signed(limit, 3)), element("p", { class: "note" },
    learned ? `Colours are about where a target's omega started: ${targets.map((target) => `${plain(startOf(target))} (${target})`).join(", ")}.`
      : "Colours are about 0.")];
}

function startProbes() {
  const probes = data.runs.filter((run) => "probe" in run && run.state === "done");
  const view = document.getElementById("probes-view"), box = document.getElementById("probes-choice");
  if (!probes.length) { view.textContent = "No run of it is done yet."; return; }
  const own = element("span", { class: "controls" });
  let runs = probes, coefficient = String(Math.max(...probes.map((run) => run.probe)));
  const coefficients = unique(probes.map((run) => run.probe)).sort((a, b) => a - b).map(String);
  const show = () => view.replaceChildren(...probesView(runs.filter((run) => String(run.probe) === coefficient)));
  chooser(own, probes, ["Backbone"], (left) => { runs = left; show(); });
  own.hidden = !own.childElementCount;
  box.append(own, choice("Coefficient", coefficients, coefficient, (value) => { coefficient = value; show(); }));
}

function probesView(runs) {
  const sources = unique(runs.map((run) => run.source_names[0])), targets = unique(runs.map((run) => run.tasks[0]));
  const scoreOf = (run) => 100 * run.metrics[run.tasks[0]].test.find(([name]) => name === data.pool[run.main][run.tasks[0]])[1];
  const scores = (source, target) => runs
    .filter((run) => run.source_names[0] === source && run.tasks[0] === target && run.metrics[target].test).map(scoreOf);
  const table = matrix(sources, targets, "source \\ target", (source, target) => {
    const own = scores(source, target);
    if (!own.length) return element("td", {}, "");
    const column = sources.map((other) => scores(other, target)).filter((some) => some.length).map(mean);
    const [low, high] = [Math.min(...column), Math.max(...column)];
    const cell = element("td", { class: source === target ? "own" : null }, fixed(mean(own)));
    coloured(cell, mean(own), low, high - low || 1);
    return hinted(cell, lines(`${source} → ${target}`, `test ${fixed(mean(own), 2)}`, `${own.length} seed${own.length > 1 ? "s" : ""}`));
  });
  return [table, element("p", { class: "note" }, "Colours from the lowest to the highest score of each target.")];
}

function startCoefficients() {
  if (document.getElementById("probes")) startProbes();
  const learned = ({ frames: [first, ...others] }) => others.some((frame) => frame.some((value, i) => value !== first[i]));
  const runs = data.runs.filter((run) => run.omega)
    .sort((a, b) => learned(b.omega) - learned(a.omega)); // so that the first to be seen moves
  if (!runs.length) return;
  const view = document.getElementById("omega-view");
  chooser(document.getElementById("omega-choice"), runs, ["Backbone", "Target", "Method", "At", "Seed"], ([run]) =>
    view.replaceChildren(omegaView(run), element("p", { class: "note" }, element("a", { href: `#run/${run.id}` }, "The page of this run"))));
  const matrixBox = document.getElementById("transfer-view");
  chooser(document.getElementById("transfer-choice"), runs, ["Backbone", "Method", "At"], (left) => matrixBox.replaceChildren(...transferView(left)));
}
