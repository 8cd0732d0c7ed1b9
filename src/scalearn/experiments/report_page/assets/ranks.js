// Mean ranks, a method a row; bars at the right join those that the critical difference does not tell apart.
function cliques(ordered, ranks, critical) {
  const groups = [];
  ordered.forEach((first, from) => {
    let to = from;
    while (to + 1 < ordered.length && ranks[ordered[to + 1]] - ranks[first] <= critical) to += 1;
    if (to > from && !groups.some((group) => group[0] <= from && group[1] >= to)) groups.push([from, to]);
  });
  return groups;
}

function ranked({ mean: ranks, critical }, width) {
  const ordered = Object.keys(ranks).sort((a, b) => ranks[a] - ranks[b]);
  const groups = critical === null ? [] : cliques(ordered, ranks, critical);
  const longest = Math.max(...ordered.map((label) => label.length));
  const left = Math.min(width * .42, 7.2 * longest + 16), right = 18 + 12 * groups.length;
  const row = 28, top = critical === null ? 26 : 58, height = top + row * ordered.length + 6;
  const from = left + 12, to = width - right - 44;
  const at = (rank) => from + (rank - 1) / Math.max(1, ordered.length - 1, critical ?? 0) * (to - from);
  const picture = shape("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": "Mean ranks" });
  if (critical !== null) {
    const end = at(1 + critical);
    picture.append(shape("line", { x1: at(1), x2: end, y1: 14, y2: 14, stroke: "var(--ink)", "stroke-width": 2 }));
    for (const x of [at(1), end]) picture.append(shape("line", { x1: x, x2: x, y1: 10, y2: 18, stroke: "var(--ink)", "stroke-width": 2 }));
    picture.append(shape("text", { x: at(1) - 8, y: 18, "text-anchor": "end" }, `CD ${fixed(critical, 2)}`));
  }
  const every = Math.max(1, Math.ceil(24 / (at(2) - at(1))));
  for (let rank = 1; rank <= ordered.length; rank += every) {
    picture.append(shape("line", { class: "grid", x1: at(rank), x2: at(rank), y1: top - 8, y2: height - 8 }),
      shape("text", { x: at(rank), y: top - 13, "text-anchor": "middle" }, rank));
  }
  ordered.forEach((label, index) => {
    const y = top + row * (index + .5);
    const text = `${label}\nmean rank ${fixed(ranks[label], 2)}`;
    const most = Math.floor((left - 8) / 7.2);
    const name = label.length > most ? `${label.slice(0, most - 1)}…` : label;
    picture.append(hinted(shape("g", { tabindex: 0, role: "img", "aria-label": text.replace("\n", ", ") },
      shape("rect", { x: 0, y: y - row / 2, width: to + 44, height: row, fill: "transparent" }),
      shape("text", { class: "strong", x: left - 4, y: y + 4, "text-anchor": "end" }, name),
      shape("line", { class: "grid", x1: from, x2: at(ranks[label]), y1: y, y2: y }),
      markOf(label, at(ranks[label]), y),
      shape("text", { x: at(ranks[label]) + 11, y: y + 4 }, fixed(ranks[label], 2))), text));
  });
  groups.forEach(([first, last], index) => {
    const x = to + 50 + 12 * index;
    picture.append(shape("line", { x1: x, x2: x, y1: top + row * first + 7, y2: top + row * (last + 1) - 7,
      stroke: "var(--ink)", "stroke-width": 3, "stroke-linecap": "round" }));
  });
  return picture;
}

function startRanks() {
  findAll(".plot.ranks").forEach((box) => drawn(box, (width) => ranked(data.boards[Number(box.dataset.board)].ranks, width)));
}
