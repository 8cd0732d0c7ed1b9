// The page of one run.
const facts = (entries) => element("dl", {}, Object.entries(entries)
  .filter(([, value]) => value !== null && value !== undefined && value !== "")
  .map(([name, value]) => element("div", {}, element("dt", {}, name.replaceAll("_", " ")), element("dd", {}, value))));
const part = (title, ...children) => element("section", {}, element("h2", {}, title), ...children);
const runLink = (run, text) => element("a", { href: `#run/${run.id}` }, text);
const text = (value) => value !== null && typeof value === "object"
  ? Object.entries(value).filter(([, one]) => one !== "").map(([name, one]) => `${name} ${text(one)}`).join(", ") : String(value);

function metricsTable(run) {
  const rows = Object.entries(run.metrics).flatMap(([task, splits]) => Object.entries(splits).flatMap(([split, scores]) =>
    scores.map(([name, value, error]) => element("tr", {},
      element("th", { scope: "row", class: "name" }, task), element("td", { class: "name" }, split.replace("test_", "test ")),
      element("td", { class: `name${name === data.pool[run.main][task] ? " best" : ""}` }, name.replaceAll("_", " ")),
      element("td", { class: "number" }, name === "loss" ? fixed(value, 4) : fixed(value === null ? null : 100 * value, 2)),
      element("td", { class: "number" }, error === null ? "–" : fixed(name === "loss" ? error : 100 * error, 2))))));
  return element("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Scores" }, element("table", {},
    element("caption", {}, "Percent, with the standard error over the split's rows by bootstrap; the metric to compare by is bold."),
    element("thead", {}, element("tr", {}, ["task", "split", "metric"].map((name) => element("th", { scope: "col", class: "name" }, name)),
      ["score", "se"].map((name) => element("th", { scope: "col", class: "number" }, name)))),
    element("tbody", {}, rows)));
}

function progressPlots(run) {
  const series = (label, colour, points, dashes) => ({ label, colour, line: true, plain: true, dashes,
    points: points.map(([x, y]) => ({ x, y, hint: lines(label, `step ${thousands(x)}`, String(y)) })) });
  const figures = [];
  const figure = (title, all) => {
    const there = all.filter((one) => one.points.length);
    if (!there.length) return;
    const box = element("div", { class: "plot" });
    const keys = element("p", { class: "scale" }, there.map((one) => [shape("svg", { width: 22, height: 8, "aria-hidden": "true" },
      shape("line", { x1: 0, x2: 22, y1: 4, y2: 4, stroke: one.colour, "stroke-width": 2, "stroke-dasharray": one.dashes })), one.label]));
    figures.push(element("figure", {}, element("h3", {}, title), keys, box));
    drawn(box, (width) => plotted({ width, height: 230, title, x: { label: "step" }, series: there }));
  };
  figure("Loss", [series("training", "var(--c7)", run.loss, "4 3"), series("dev", "var(--c0)", run.dev_loss)]);
  figure("Dev score (%)", Object.entries(run.dev).map(([task, points], index) => series(task, `var(--c${index % 8})`, points)));
  return figures.length ? part("Training", element("div", { class: "panels" }, figures)) : null;
}

function examplesOf(run) {
  const tasks = Object.entries(run.examples);
  if (!tasks.length) return null;
  return part("Some test rows", tasks.map(([task, { count, right, rows }]) => [
    element("p", { class: "lead" }, right === null ? `${task}: the nearest and the farthest of ${thousands(count)} rows.`
      : `${task}: ${thousands(right)} of ${thousands(count)} rows right (${fixed(100 * right / count)} %). The first of them, and the mistakes that were surest.`),
    element("div", { class: "wide", tabindex: 0, role: "region", "aria-label": `Test rows of ${task}` }, element("table", {},
      element("thead", {}, element("tr", {}, element("th", { scope: "col", class: "number" }, "row"),
        ["label", "answer"].map((name) => element("th", { scope: "col", class: "name" }, name)),
        element("th", { scope: "col", class: "number" }, "probability"))),
      element("tbody", {}, rows.map(([row, label, answer, probability, isRight]) => element("tr", {},
        element("td", { class: "number" }, row), element("td", { class: "name" }, label),
        element("td", { class: `name ${isRight === null ? "" : isRight ? "right" : "wrong"}` }, isRight === null ? "" : isRight ? "✓ " : "✗ ", answer),
        element("td", { class: "number" }, fixed(probability, 3))))))),
  ]));
}

function costOf(run) {
  const pooled = (name) => name === undefined ? {} : data.pool[name];
  const parameters = pooled(run.parameters), machine = pooled(run.machine);
  return facts({
    seconds: thousands(run.seconds), attempts: run.attempts, steps: `${thousands(run.steps)}${run.best_step ? `, kept ${thousands(run.best_step)}` : ""}`,
    "tokens per second": run.tokens_per_second === null ? null : thousands(run.tokens_per_second),
    "peak memory": run.peak_memory ? `${run.peak_memory} GB` : null, "GPU memory": run.gpu_memory ? `${run.gpu_memory} GB` : null,
    "model size": run.bytes ? `${short(run.bytes)}B` : null,
    parameters: text(parameters), rows: text(pooled(run.rows)), machine: text(machine), versions: text(pooled(run.versions)),
    commit: run.commit, finished: run.finished.replace("T", " "), folder: run.folder,
  });
}

function configuration(run) {
  const recipe = data.pool[run.recipe], options = data.pool[run.options], draw = data.pool[run.draw];
  const key = Object.fromEntries(Object.entries(run.key ?? {}).filter(([name]) => !["run", "sources", "seed"].includes(name))
    .map(([name, place]) => [name, text(data.pool[place])]));
  return part("Configuration", element("div", { class: "two" },
    element("div", {}, element("h3", {}, "Method"), facts({ backbone: run.backbone, seed: run.seed, ...options, ...draw }),
      Object.keys(key).length > 0 && [element("h3", {}, "Key"), facts(key)]),
    element("div", {}, element("h3", {}, "Hyper-parameters"), facts(Object.fromEntries(Object.entries(recipe).map(([name, value]) => [name, text(value)]))))));
}

function relations(run) {
  const index = data.runs.indexOf(run);
  const sources = run.sources.map((source, place) => typeof source === "number"
    ? runLink(data.runs[source], `${run.source_names[place]} (${data.runs[source].state})`) : `${source[1]} (shelf ${source[0]})`);
  const users = data.runs.filter((other) => other.sources.includes(index));
  const list = (items) => element("ul", { class: "links" }, items.map((item) => element("li", {}, item)));
  return [sources.length > 0 && part("Its sources", list(sources)),
    users.length > 0 && part("Used by", list(users.map((user) =>
      runLink(user, [user.label, "on", user.tasks.join(", "), user.point, `seed ${user.seed}`].filter(Boolean).join(" ")))))];
}

function runView(run) {
  const state = { done: "done", failed: "failed", open: "to do" }[run.state];
  const view = [
    element("a", { class: "back", href: "#runs", id: "back" }, "← All results"),
    element("h1", { id: "run-title", tabindex: -1 }, `${run.label} on ${run.tasks.join(", ")}`),
    element("p", { class: "lead" }, element("span", { class: `state ${run.state}` }, state), ` · ${[run.point, `seed ${run.seed}`, run.backbone].filter(Boolean).join(" · ")} · `,
      element("code", {}, run.id)),
  ];
  if (run.error !== undefined) {
    view.push(part(run.state === "done" ? "The last attempt failed" : "Why it failed", element("p", {}, run.error), run.traceback && element("pre", { tabindex: 0 }, run.traceback)));
  }
  if (run.state === "done") {
    view.push(part("Scores", metricsTable(run)), progressPlots(run), run.omega && part("Omega", omegaView(run)), run.explained && part("What each source did", sourcesView(run)),
      examplesOf(run), part("What it cost", costOf(run)));
  }
  view.push(...relations(run), configuration(run));
  return view.filter(Boolean);
}
