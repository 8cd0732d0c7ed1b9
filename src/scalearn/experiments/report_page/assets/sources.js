// What each source did: without it, and alone.
const EFFECTS = ["source", "share", "without it", "change", "se", "alone", "verdict"];

function sourcesView(run) {
  const { explained } = run;
  const cells = ({ source, share, without, change, error, alone, verdict }) => [
    element("th", { scope: "row", class: "name" }, source),
    element("td", { class: "number" }, `${fixed(share)} %`),
    element("td", { class: "number" }, fixed(without)),
    element("td", { class: "number" }, change === null ? "–" : signed(change, 1)),
    element("td", { class: "number" }, fixed(error)),
    element("td", { class: "number" }, fixed(alone)),
    element("td", { class: `name${verdict === "hurts" ? " wrong" : ""}` }, verdict === "hurts" ? "✗ hurts" : verdict)];
  return element("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "What each source did" }, element("table", {},
    element("caption", {}, `${explained.metric} on ${thousands(explained.rows)} ${explained.split} rows: ${fixed(explained.score)} % (se ${fixed(explained.error)}) with all sources, ${fixed(explained.bare)} % with none. Nothing was trained anew.`),
    element("thead", {}, element("tr", {}, EFFECTS.map((name) =>
      element("th", { scope: "col", class: ["source", "verdict"].includes(name) ? "name" : "number" }, name)))),
    element("tbody", {}, explained.effects.map((effect) => element("tr", {}, cells(effect))))));
}

function changesView(runs) {
  const of = (source, target) => runs.filter((run) => run.tasks[0] === target)
    .flatMap((run) => run.explained.effects.filter((effect) => effect.source === source && effect.change !== null));
  const targets = unique(runs.map((run) => run.tasks[0]));
  const sources = unique(runs.flatMap((run) => run.explained.effects.map((effect) => effect.source)));
  const changes = sources.flatMap((source) => targets.map((target) => of(source, target))).filter((own) => own.length)
    .map((own) => mean(own.map((effect) => effect.change)));
  const limit = Math.max(...changes.map(Math.abs), 0.1);
  const table = matrix(sources, targets, "source \\ target", (source, target) => {
    const own = of(source, target);
    if (!own.length) return element("td", {}, "");
    const change = mean(own.map((effect) => effect.change));
    const cell = element("td", { class: source === target ? "own" : null }, signed(change, 1));
    coloured(cell, change, 0, limit);
    const hurting = own.filter((effect) => effect.verdict === "hurts").length;
    return hinted(cell, lines(`${source} → ${target}`, `${signed(change, 2)} points without it`,
      `hurts in ${hurting} of ${own.length} seed${own.length > 1 ? "s" : ""}`));
  });
  return [table, diverging("points without it", signed(-limit, 1), signed(limit, 1)),
    element("p", { class: "note" }, "Mean over seeds. Below 0 the target owes the source something; above 0 it would be better off without.")];
}

function startSources() {
  const runs = data.runs.filter((run) => run.explained);
  if (!runs.length) return;
  const changes = document.getElementById("sources-changes"), view = document.getElementById("sources-view");
  chooser(document.getElementById("sources-changes-choice"), runs, ["Backbone", "Method", "At"], (left) => changes.replaceChildren(...changesView(left)));
  chooser(document.getElementById("sources-choice"), runs, ["Backbone", "Target", "Method", "At", "Seed"], ([run]) =>
    view.replaceChildren(sourcesView(run), element("p", { class: "note" }, element("a", { href: `#run/${run.id}` }, "The page of this run"))));
}
