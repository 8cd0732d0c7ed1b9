// The tables of scores: their cards, the board that is shown, score against parameters, and curves.
const hiddenMethods = new Set();
let shownBoard = 0;
const redraws = [];
const redraw = () => redraws.forEach((again) => again());

function legend(box, labels) {
  box.replaceChildren(...labels.map((label) => element("button", {
    type: "button", "aria-pressed": String(!hiddenMethods.has(label)),
    onclick: () => {
      if (!hiddenMethods.delete(label)) hiddenMethods.add(label);
      findAll(".legend button").filter((other) => other.textContent === label)
        .forEach((other) => other.setAttribute("aria-pressed", String(!hiddenMethods.has(label))));
      redraw();
    },
  }, shape("svg", { width: 14, height: 14, "aria-hidden": "true" }, markOf(label, 7, 7, 4.5)), label)));
}

const withSpread = (score) => `${fixed(score.mean)}${score.deviation === null ? "" : ` ± ${fixed(score.deviation)}`}`;
const withInterval = (score) => score.interval ? `95 % interval ${fixed(score.interval[0])} to ${fixed(score.interval[1])}` : "";
const lines = (...texts) => texts.filter(Boolean).join("\n");

// A score's card: its interval, and each seed with its run.
function showCard(button) {
  const board = data.boards[Number(button.closest("[data-board]").dataset.board)];
  const line = board.lines[Number(button.dataset.line)];
  const column = Number(button.dataset.column);
  const score = line.scores[column];
  const runs = column ? line.runs[column - 1] : {};
  const card = document.getElementById("card");
  const facts = [withInterval(score), score.error === null ? "" : `standard error ${fixed(score.error)} (test rows, bootstrap)`,
    score.published === null ? "" : `published ${fixed(score.published)}`].filter(Boolean);
  card.replaceChildren(element("h3", {}, `${line.label} on ${column ? board.columns[column] : "all tasks"}: ${withSpread(score)}`),
    ...facts.map((fact) => element("p", {}, fact)),
    element("ul", {}, Object.entries(score.seeds).map(([seed, value]) => element("li", {},
      seed in runs ? element("a", { href: `#run/${data.runs[runs[seed]].id}` }, `seed ${seed}`) : element("span", {}, `seed ${seed}`),
      element("span", {}, fixed(value, 2))))));
  card.showPopover();
  const place = button.getBoundingClientRect(), box = card.getBoundingClientRect();
  card.style.left = `${Math.max(8, Math.min(place.left, innerWidth - box.width - 8))}px`;
  card.style.top = `${place.bottom + box.height + 12 > innerHeight ? Math.max(8, place.top - box.height - 6) : place.bottom + 6}px`;
  find("a", card)?.focus({ focusVisible: false });
}

function showBoard(index) {
  shownBoard = index;
  findAll(".board").forEach((board) => { board.hidden = Number(board.dataset.board) !== index; });
  redraw();
}

function startScores() {
  findAll("button.score").forEach((button) => button.addEventListener("click", () => showCard(button)));
  findAll("table.pairs").forEach((table) => {
    const select = find(".pairs-with", table.closest(".board"));
    select.addEventListener("change", () => findAll("tbody tr", table).forEach((row) => {
      row.hidden = select.value !== "" && select.value !== row.dataset.first && select.value !== row.dataset.second;
    }));
  });
  if (!data.boards.length) return;
  find("#board")?.addEventListener("change", (event) => showBoard(Number(event.target.value)));
  if (document.getElementById("parameters")) startParameters();
  if (document.getElementById("curves")) startCurves();
  showBoard(0);
}

function startParameters() {
  const select = document.getElementById("parameters-column");
  const columns = unique(data.boards.flatMap((board) => board.columns));
  select.append(...columns.map((column) => element("option", { value: column }, column === "mean" ? "all tasks, mean" : column)));
  legend(document.getElementById("parameters-legend"), unique(data.boards.flatMap((board) => board.lines.map((line) => line.label))));
  const caption = document.getElementById("parameters-caption");
  const again = drawn(document.getElementById("parameters-plot"), (width) => {
    const board = data.boards[shownBoard];
    const column = board.columns.indexOf(select.value);
    const all = board.lines.filter((line) => !hiddenMethods.has(line.label));
    const there = all.filter((line) => line.trained !== null && line.scores[column]);
    const missing = all.filter((line) => !there.includes(line)).map((line) => line.label);
    const parts = [board.title && `${board.title}.`, there.some((line) => line.trained === 0) ? "0 parameters stand left of the break in the axis." : "",
      missing.length ? `Without a score there: ${missing.join(", ")}.` : ""];
    caption.textContent = parts.filter(Boolean).join(" ");
    return plotted({
      width, height: Math.min(420, Math.max(300, width * .45)), title: "Score against trained parameters",
      x: { log: true, label: "trained parameters" },
      series: there.map((line) => {
        const score = line.scores[column];
        return { label: line.label, colour: colourOf(line.label), named: true, points: [{
          x: line.trained, y: score.mean, ...(score.interval ? { low: score.interval[0], high: score.interval[1] } : {}),
          hint: lines(line.label, withSpread(score), withInterval(score), `${thousands(line.trained)} parameters`) }] };
      }),
    });
  });
  select.addEventListener("change", again);
  redraws.push(again);
}

const AXES = { k: "training rows k", train_fraction: "share of the training rows", sources: "number of sources" };

function startCurves() {
  const boards = data.boards.filter((board) => board.axis);
  const backbones = unique(boards.map((board) => board.backbone));
  let backbone = backbones[0], agains = [];
  const panels = document.getElementById("curves-panels");
  if (backbones.length > 1) {
    document.getElementById("curves-controls").append(choice("Backbone", backbones, backbone, (value) => { backbone = value; build(); }));
  }
  legend(document.getElementById("curves-legend"), unique(boards.flatMap((board) => board.lines.map((line) => line.label))));
  redraws.push(() => agains.forEach((again) => again()));

  function build() {
    const own = boards.filter((board) => board.backbone === backbone);
    const columns = unique(own.flatMap((board) => board.columns));
    const boxes = columns.map((column) => [column, element("div", { class: "plot" })]);
    panels.replaceChildren(...boxes.map(([column, box]) => element("figure", {}, element("h3", {}, column === "mean" ? "mean of tasks" : column), box)));
    agains = boxes.map(([column, box]) => drawn(box, (width) => curves(own, column, width)));
  }
  build();
}

function curves(boards, column, width) {
  const axis = boards[0].axis;
  const labels = unique(boards.flatMap((board) => board.lines.map((line) => line.label))).filter((label) => !hiddenMethods.has(label));
  const series = labels.map((label) => ({
    label, colour: colourOf(label), line: true, band: true,
    points: boards.flatMap((board) => {
      const score = board.lines.find((line) => line.label === label)?.scores[board.columns.indexOf(column)];
      if (!score) return [];
      const spread = score.deviation ?? 0;
      return [{ x: board.at, y: score.mean, low: score.mean - spread, high: score.mean + spread,
        hint: lines(label, `${board.title}: ${withSpread(score)}`, withInterval(score)) }];
    }),
  })).filter((one) => one.points.length);
  const values = unique(boards.map((board) => board.at)).sort((a, b) => a - b);
  return plotted({ width, height: 240, title: `${column} by ${AXES[axis]}`, series,
    x: { log: axis === "k", values, marks: values, ticks: values, label: AXES[axis],
      form: axis === "train_fraction" ? (value) => `${+(100 * value).toPrecision(3)} %` : undefined } });
}
