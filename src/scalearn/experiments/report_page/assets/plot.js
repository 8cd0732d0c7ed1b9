// Points, lines and bands on two axes, as SVG.
function ticksOf(low, high, count) {
  const raw = (high - low) / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= raw * .999);
  const ticks = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high + step * 1e-6; tick += step) ticks.push(+tick.toPrecision(12));
  return ticks;
}

function padded(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const pad = (high - low) * .08 || Math.max(Math.abs(high) * .05, .5);
  return [low - pad, high + pad];
}

// A logarithmic axis; nothing at all, which has no logarithm, has a place of its own at the left.
function powers(values, from, to, tight) {
  const positive = values.filter((value) => value > 0);
  const zero = positive.length < values.length;
  const logs = positive.length ? positive.map(Math.log10) : [0];
  let [low, high] = [Math.min(...logs), Math.max(...logs)];
  if (!tight || low === high) [low, high] = [Math.floor(low), Math.max(Math.floor(low) + 1, Math.ceil(high))];
  const start = zero ? from + 46 : from;
  const at = (value) => value > 0 ? start + (Math.log10(value) - low) / (high - low) * (to - start) : from + 14;
  const every = Math.ceil((high - low) / Math.max(2, (to - start) / 56));
  const ticks = [];
  for (let power = Math.ceil(low); power <= high; power += every) ticks.push(10 ** power);
  return { at, ticks: zero ? [0, ...ticks] : ticks, broken: zero ? (from + start + 8) / 2 : null };
}

function evenly(domain, ticks, from, to) {
  const [low, high] = domain;
  return { at: (value) => from + (value - low) / (high - low || 1) * (to - from), ticks, broken: null };
}

/* options: width, height, x {values, log, label, ticks}, y {label}, series [{label, colour, line, band, named,
   points [{x, y, low, high, hint}]}], title for those who do not see it */
function plotted({ width, height = 260, x, y, series, title }) {
  const left = 46, right = 14, top = 10, bottom = 42;
  const points = series.flatMap((one) => one.points);
  const heights = points.flatMap((point) => [point.y, point.low ?? point.y, point.high ?? point.y]);
  const [low, high] = padded(heights.length ? heights : [0, 1]);
  const vertical = (value) => height - bottom - (value - low) / (high - low) * (height - top - bottom);
  const values = x.values ?? points.map((point) => point.x);
  const [from, to] = [left + 10, width - right - 8];
  const span = values.length ? [Math.min(...values), Math.max(...values)] : [0, 1];
  const across = x.log ? powers(values, from, to, Boolean(x.marks))
    : evenly(span, x.ticks ?? ticksOf(span[0], span[1], Math.max(2, width / 90)), from, to);
  const picture = shape("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": title });
  for (const tick of ticksOf(low, high, height / 52)) {
    const at = vertical(tick);
    picture.append(shape("line", { class: "grid", x1: left, x2: width - right, y1: at, y2: at }),
      shape("text", { x: left - 8, y: at + 4, "text-anchor": "end" }, short(tick)));
  }
  const floor = height - bottom;
  picture.append(shape("line", { class: "axis", x1: left, x2: width - right, y1: floor, y2: floor }));
  if (across.broken) {
    for (const shift of [-3, 3]) picture.append(shape("line", {
      class: "axis", x1: across.broken + shift - 3, x2: across.broken + shift + 3, y1: floor + 5, y2: floor - 5 }));
  }
  let last = -Infinity;
  for (const tick of x.marks ?? across.ticks) {
    const at = across.at(tick);
    if (at - last < 26) continue;
    last = at;
    picture.append(shape("line", { class: "axis", x1: at, x2: at, y1: floor, y2: floor + 4 }),
      shape("text", { x: at, y: floor + 18, "text-anchor": "middle" }, x.form ? x.form(tick) : short(tick)));
  }
  picture.append(shape("text", { x: (left + width - right) / 2, y: height - 6, "text-anchor": "middle" }, x.label));
  const taken = [];
  const reachable = points.length <= 40;  // more would be too many stops for the Tab key; tables have their numbers
  for (const one of series) {
    const ordered = one.line ? [...one.points].sort((a, b) => a.x - b.x) : one.points;
    if (one.band) {
      const above = ordered.map((point) => [across.at(point.x), vertical(point.high ?? point.y)]);
      const below = ordered.map((point) => [across.at(point.x), vertical(point.low ?? point.y)]).reverse();
      picture.append(shape("polygon", { points: [...above, ...below].join(" "), fill: one.colour, opacity: .13 }));
    }
    if (one.line) {
      const path = ordered.map((point) => [across.at(point.x), vertical(point.y)]).join(" ");
      picture.append(shape("polyline", { class: "line", points: path, stroke: one.colour, "stroke-dasharray": one.dashes }));
    }
    for (const point of ordered) {
      const [px, py] = [across.at(point.x), vertical(point.y)];
      const group = shape("g", { tabindex: reachable ? 0 : null, role: "img", "aria-label": point.hint.replaceAll("\n", ", ") });
      if (!one.band && point.low !== undefined) group.append(shape("line", {
        x1: px, x2: px, y1: vertical(point.low), y2: vertical(point.high), stroke: one.colour, "stroke-width": 1.5, opacity: .55 }));
      group.append(shape("circle", { cx: px, cy: py, r: 11, fill: "transparent" }),
        one.plain ? shape("circle", { cx: px, cy: py, r: 2.6, fill: one.colour }) : markOf(one.label, px, py, one.line ? 4 : 5));
      picture.append(hinted(group, point.hint));
      taken.push([px - 6, py - 6, px + 6, py + 6]);
    }
  }
  for (const one of series.filter((single) => single.named)) {
    for (const point of one.points) picture.append(named(one.label, across.at(point.x), vertical(point.y), taken, width, floor));
  }
  return picture;
}

// A name beside its point where nothing else is; no name if there is no such place, for the legend has it.
function named(text, x, y, taken, width, floor) {
  const size = 6.7 * text.length + 4;
  const places = [];
  for (const shift of [0, -14, 14, -26, 26, -38, 38]) {
    places.push([x + 10, y + shift, "start"], [x - 10 - size, y + shift, "end"]);
  }
  const fits = ([left, at]) => left >= 46 && left + size <= width && at > 8 && at < floor - 4
    && !taken.some((box) => left < box[2] && left + size > box[0] && at - 7 < box[3] && at + 7 > box[1]);
  const place = places.find(fits);
  if (!place) return "";
  const [left, at, anchor] = place;
  taken.push([left, at - 7, left + size, at + 7]);
  return shape("text", { class: "strong", x: anchor === "start" ? left : left + size, y: at + 4, "text-anchor": anchor }, text);
}
