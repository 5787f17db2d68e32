// Small SVG line charts: scales, axes, curves with marks, and the nearest point under pointer or arrow keys.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes and children; strings become text, never markup. */
function make(name, attributes = {}, ...children) {
  const svg = ["svg", "g", "path", "line", "text", "circle", "clipPath", "rect"].includes(name);
  const element = svg ? document.createElementNS(SVG, name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** A number with so many significant digits, without an exponent where that is readable. */
function digits(value, count = 4) {
  if (value === 0) return "0";
  const places = Math.max(0, count - 1 - Math.floor(Math.log10(Math.abs(value))));
  return places > 8 ? value.toExponential(count - 1) : value.toFixed(Math.min(places, 8));
}

const seconds = (value) => (value >= 1 ? `${digits(value, 3)} s` : `${digits(1000 * value, 3)} ms`);

/** Outline of a mark around the origin; each shape is told apart without its colour. */
function mark(shape, r) {
  const polygon = (...points) => `M${points.map(([x, y]) => `${x * r},${y * r}`).join("L")}Z`;
  return [
    `M${-r},0A${r},${r} 0 1 1 ${r},0A${r},${r} 0 1 1 ${-r},0Z`,
    polygon([-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]),
    polygon([0, -1.2], [1.1, 0.8], [-1.1, 0.8]),
    polygon([0, -1.3], [1.3, 0], [0, 1.3], [-1.3, 0]),
    polygon([0, 1.2], [1.1, -0.8], [-1.1, -0.8]),
    polygon([-0.4, -1.2], [0.4, -1.2], [0.4, -0.4], [1.2, -0.4], [1.2, 0.4], [0.4, 0.4],
      [0.4, 1.2], [-0.4, 1.2], [-0.4, 0.4], [-1.2, 0.4], [-1.2, -0.4], [-0.4, -0.4]),
  ][shape % 6];
}

/** Round values from low to high, about `count` of them. */
function linearTicks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough * 0.999);
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high * (1 + 1e-9) || k * step <= high; k += 1) ticks.push(Number((k * step).toPrecision(12)));
  return ticks;
}

/** Parts of the powers of ten from low to high: 1, 2 and 5 of each, or fewer where there is no room for so many. */
function logTicks(low, high, count) {
  for (const factors of [[1, 2, 5], [1, 3], [1]]) {
    const ticks = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1)
      for (const factor of factors) ticks.push(Number((factor * 10 ** power).toPrecision(12)));
    const inside = ticks.filter((tick) => tick >= low * 0.999 && tick <= high * 1.001);
    if (inside.length <= count && inside.length > 1) return inside;
  }
  return linearTicks(low, high, 3).filter((tick) => tick > 0);
}

/** A map from values to pixels, with the ticks of its axis; some room is left on both sides. */
function scale(values, from, to, log, count) {
  let [low, high] = [Math.min(...values), Math.max(...values)];
  if (low === high) [low, high] = log ? [low / 2, high * 2] : [low - 1, high + 1];
  const along = log ? Math.log : (value) => value;
  const back = log ? Math.exp : (value) => value;
  const room = 0.05 * (along(high) - along(low));
  const start = !log && low > 0 && low < 0.3 * high ? 0 : along(low) - room;
  const end = along(high) + room;
  const ticks = log ? logTicks(back(start), back(end), count) : linearTicks(start, end, count);
  const at = (value) => from + ((along(value) - start) / (end - start)) * (to - from);
  return { ticks, at };
}

/**
 * Draws `series` [{label, colour, shape, reference, joined, named, points: [{x, y, lines}]}] into `host`.
 * `x` and `y` are {label, log, format}; the axes span what is no reference, and all where there is nothing else. The chart answers to pointer and arrow keys, and is drawn anew by a new call.
 */
function draw(host, series, x, y) {
  const shown = series.map((one) => ({ ...one, points: one.points.filter((p) => Number.isFinite(p.x) && Number.isFinite(p.y) && (!x.log || p.x > 0)) }))
    .filter((one) => one.points.length);
  const width = Math.max(host.clientWidth, 240);
  const height = Math.round(Math.min(Math.max(width * 0.55, 260), 460));
  const [left, right, top, bottom] = [66, width - 14, 10, height - 44];
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, height, "aria-hidden": "true" });
  const tip = make("div", { class: "tip", role: "status", hidden: "" });
  host.replaceChildren(svg, tip);
  host.current = null;
  host.spots = [];
  if (!shown.length) {
    svg.append(make("text", { x: width / 2, y: height / 2, "text-anchor": "middle" }, "nothing to show"));
    return;
  }
  const measured = shown.some((one) => !one.reference) ? shown.filter((one) => !one.reference) : shown;
  const spanned = measured.flatMap((one) => one.points);
  const across = scale(spanned.map((p) => p.x), left, right, x.log, width / 75);
  const up = scale(spanned.map((p) => p.y), bottom, top, false, 6);
  const inside = (s) => s.x >= left && s.x <= right && s.y >= top && s.y <= bottom;
  drawAxes(svg, across, up, { left, right, top, bottom, width, height }, x, y);
  const clip = make("clipPath", { id: `${host.id}-box` }, make("rect", { x: left, y: top, width: right - left, height: bottom - top }));
  const body = make("g", { "clip-path": `url(#${host.id}-box)` });
  svg.append(clip, body);
  const labels = [];
  for (const one of shown) {
    const spots = one.points.map((point) => ({ x: across.at(point.x), y: up.at(point.y), point, one }));
    const look = `c${one.colour % 8}${one.reference ? " reference" : ""}`;
    if (one.joined) body.append(make("path", { class: `curve ${look}`, d: `M${spots.map((s) => `${s.x.toFixed(1)},${s.y.toFixed(1)}`).join("L")}` }));
    const visible = spots.filter(inside);
    if (!visible.length) continue;
    for (const spot of visible) svg.append(make("path", { class: `mark ${look}`, d: mark(one.shape, one.joined ? 4 : 6), transform: `translate(${spot.x.toFixed(1)} ${spot.y.toFixed(1)})` }));
    if (one.named) labels.push({ spot: spots[0], text: one.label });
    host.spots.push(visible);
  }
  name(svg, labels, { left, right, top, bottom });
}

const shownAs = (tick, axis) => (axis.format ? axis.format(tick) : String(tick)).replace("-", "\u2212");

function drawAxes(svg, across, up, box, x, y) {
  for (const tick of up.ticks) {
    const at = up.at(tick);
    svg.append(make("line", { class: "gridline", x1: box.left, x2: box.right, y1: at, y2: at }));
    svg.append(make("text", { x: box.left - 8, y: at + 4, "text-anchor": "end" }, shownAs(tick, y)));
  }
  for (const tick of across.ticks) {
    const at = across.at(tick);
    svg.append(make("line", { class: "gridline", x1: at, x2: at, y1: box.top, y2: box.bottom }));
    svg.append(make("text", { x: at, y: box.bottom + 18, "text-anchor": "middle" }, shownAs(tick, x)));
  }
  svg.append(make("line", { class: "baseline", x1: box.left, x2: box.right, y1: box.bottom, y2: box.bottom }));
  svg.append(make("text", { class: "axis", x: (box.left + box.right) / 2, y: box.height - 6, "text-anchor": "middle" }, x.label));
  const middle = (box.top + box.bottom) / 2;
  svg.append(make("text", { class: "axis", x: 11, y: middle, "text-anchor": "middle", transform: `rotate(-90 11 ${middle})` }, y.label));
}

/** Names beside lone points, each at the nearest place where it lies on no mark and no other name. */
function name(svg, labels, box) {
  const taken = labels.map(({ spot }) => ({ from: spot.x - 9, to: spot.x + 9, y: spot.y + 4 }));
  for (const { spot, text } of labels) {
    const length = 6.6 * text.length;
    const places = [0, 15, -15, 30, -30, 45, -45].flatMap((shift) => [spot.x + 12, spot.x - 12 - length]
      .map((from) => ({ from, to: from + length, y: spot.y + 4 + shift })))
      .filter((one) => one.from >= box.left && one.to <= box.right + 10 && one.y > box.top + 8 && one.y < box.bottom);
    const free = places.find((one) => !taken.some((other) => one.from < other.to && one.to > other.from && Math.abs(one.y - other.y) < 14));
    if (!free) continue; // pointing at it, and the legend, still tell
    taken.push(free);
    const left = free.from < spot.x;
    svg.append(make("text", { class: "name", x: left ? free.to : free.from, y: free.y, "text-anchor": left ? "end" : "start" }, text));
  }
}

/** Shows the figures of one spot beside it. */
function point(host, spot) {
  const [svg, tip] = host.children;
  svg.querySelector(".ring")?.remove();
  host.current = spot;
  tip.hidden = !spot;
  if (!spot) return;
  svg.append(make("circle", { class: "ring", cx: spot.x, cy: spot.y, r: 8 }));
  tip.replaceChildren(make("strong", {}, spot.one.label), ...spot.point.lines.map((line) => make("div", {}, line)));
  const free = host.clientWidth - tip.offsetWidth;
  const beside = spot.x + 16 > free ? spot.x - 16 - tip.offsetWidth : spot.x + 16;
  tip.style.left = `${Math.max(0, Math.min(beside, free))}px`;
  tip.style.top = `${Math.max(0, Math.min(spot.y - tip.offsetHeight / 2, host.clientHeight - tip.offsetHeight))}px`;
}

/** Makes a chart's host answer to pointer and keys; once for each host. */
function listen(host) {
  host.spots = [];
  host.current = null;
  const near = (event) => {
    const box = host.getBoundingClientRect();
    const distance = (s) => Math.hypot(s.x - (event.clientX - box.left), s.y - (event.clientY - box.top));
    const spots = host.spots.flat();
    point(host, spots.length ? spots.reduce((best, s) => (distance(s) < distance(best) ? s : best)) : null);
  };
  host.addEventListener("pointermove", near);
  host.addEventListener("pointerdown", near);
  host.addEventListener("pointerleave", (event) => event.pointerType === "touch" || point(host, null));
  host.addEventListener("blur", () => point(host, null));
  host.addEventListener("keydown", (event) => {
    const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (event.key === "Escape") point(host, null);
    if (!step || !host.spots.length) return;
    event.preventDefault();
    point(host, neighbour(host.spots, host.current, step));
  });
}

/** The spot a step along its curve or at another curve; the first where there was none. */
function neighbour(curves, current, [curve, along]) {
  const row = curves.findIndex((spots) => spots.includes(current));
  if (row < 0) return curves[0][0];
  if (curve) {
    const next = curves[(row + curve + curves.length) % curves.length];
    return next.reduce((best, s) => (Math.abs(s.x - current.x) < Math.abs(best.x - current.x) ? s : best));
  }
  const spots = curves[row];
  const at = spots.indexOf(current) + along;
  if (at >= 0 && at < spots.length) return spots[at];
  const next = curves[(row + along + curves.length) % curves.length];
  return along > 0 ? next[0] : next.at(-1);
}
