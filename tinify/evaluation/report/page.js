// The page itself: which curves are drawn from the data, and tables that sort.

const data = JSON.parse(document.getElementById("data").textContent);
const metrics = {
  psnr: { name: "PSNR", label: "PSNR RGB (dB)", of: (p) => p.psnr },
  psnr_yuv: { name: "PSNR YUV", label: "PSNR YUV 6:1:1 (dB)", of: (p) => p.psnr_yuv },
  ms_ssim: { name: "MS-SSIM", label: "MS-SSIM (dB)", of: (p) => (p.ms_ssim === null || p.ms_ssim >= 1 ? null : -10 * Math.log10(1 - p.ms_ssim)) },
};
const curves = [
  ...data.codecs.map((codec) => ({ ...codec, reference: false })),
  ...data.references.map((curve) => ({ ...curve, reference: true })),
].map((curve, index) => ({ ...curve, colour: index, shape: index, shown: true }));
const get = (id) => document.getElementById(id);
const filled = (value) => value !== null && value !== undefined;

let metric = Object.keys(metrics).find((key) => curves.some((c) => c.points.some((p) => filled(metrics[key].of(p))))) ?? "psnr";

/** What is said of a point when it is pointed at. */
function figures(p) {
  const lines = [];
  if (filled(p.quality)) lines.push(`quality ${p.quality}`);
  lines.push(`${digits(p.bpp)} bpp`);
  if (filled(p.bytes)) lines.push(`${p.bytes.toLocaleString("en")} bytes`);
  if (filled(p.psnr)) lines.push(`PSNR ${p.psnr.toFixed(2)} dB`);
  if (filled(p.ms_ssim)) lines.push(`MS-SSIM ${p.ms_ssim.toFixed(4)}${p.ms_ssim < 1 ? ` (${metrics.ms_ssim.of(p).toFixed(2)} dB)` : ""}`);
  if (filled(p.encode_s)) lines.push(`encode ${seconds(p.encode_s)}`);
  if (filled(p.decode_s)) lines.push(`decode ${seconds(p.decode_s)}`);
  return lines;
}

/** The points of a codec: means, or those of one picture. */
function pointsOf(curve, picture) {
  if (picture === "") return curve.points;
  return curve.points.flatMap((p) => (p.pictures ?? []).filter((one) => one.name === picture).map((one) => ({ ...one, quality: p.quality })));
}

function drawRate() {
  const { label, of } = metrics[metric];
  const log = get("log-rate").checked;
  const series = curves.filter((c) => c.shown).map((c) => ({
    ...c, joined: true, points: pointsOf(c, get("curve-picture").value).map((p) => ({ x: p.bpp, y: of(p) ?? NaN, lines: figures(p) })),
  }));
  draw(get("rate-chart"), series, { label: "bits per pixel", log }, { label });
}

const median = (values) => {
  const sorted = values.filter(filled).sort((a, b) => a - b);
  if (!sorted.length) return null;
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
};
const costs = {
  decode_s: { name: "decode time", of: (c, p) => p?.decode_s ?? median(c.points.map((one) => one.decode_s)), format: seconds },
  encode_s: { name: "encode time", of: (c, p) => p?.encode_s ?? median(c.points.map((one) => one.encode_s)), format: seconds },
  kmac: { name: "kMAC per pixel", of: (c) => c.kmac_per_pixel, format: (value) => digits(value, 3) },
};
const anchors = [...new Set(data.bd.map((one) => JSON.stringify([one.metric, one.anchor])))].map((key) => JSON.parse(key));

/** One named point for each codec: its cost, and its BD-rate against an anchor. */
function deltas(cost, [wanted, anchor]) {
  return curves.filter((c) => c.shown && !c.reference).map((c) => {
    const found = data.bd.find((one) => one.codec === c.name && one.metric === wanted && one.anchor === anchor);
    const rate = c.name === anchor ? 0 : (found?.rate_percent ?? NaN);
    const lines = [`BD-rate ${digits(rate, 3)} % against ${labelOf(anchor)}`, `${cost.name} ${cost.format(cost.of(c) ?? 0)}`];
    if (found?.warning) lines.push(found.warning);
    return { ...c, named: true, points: [{ x: cost.of(c) ?? NaN, y: rate, lines }] };
  });
}

function drawSpeed() {
  const cost = costs[get("speed-x").value];
  const wanted = get("speed-y").value;
  const x = { label: `${cost.name}, logarithmic`, log: true, format: cost === costs.kmac ? undefined : (v) => seconds(v).replace(/\.0+ /, " ") };
  if (wanted in metrics) {
    const { label, of } = metrics[wanted];
    const series = curves.filter((c) => c.shown && !c.reference).map((c) => ({
      ...c, joined: true, points: c.points.map((p) => ({ x: cost.of(c, p) ?? NaN, y: of(p) ?? NaN, lines: figures(p) })),
    }));
    draw(get("speed-chart"), series, x, { label });
    absent(series);
  } else {
    const series = deltas(cost, anchors[wanted]);
    absent(series);
    draw(get("speed-chart"), series, x, { label: "BD-rate, lower is better", format: (v) => `${v} %` });
  }
}

/** Says which codecs have no point in the second chart. */
function absent(series) {
  const missing = series.filter((one) => !one.points.some((p) => Number.isFinite(p.x) && Number.isFinite(p.y)));
  get("speed-absent").textContent = missing.length ? `Without these figures: ${missing.map((one) => one.label).join(", ")}.` : "";
}

const labelOf = (name) => curves.find((c) => c.name === name)?.label ?? name;

function redraw() {
  drawRate();
  drawSpeed();
}

function startCharts() {
  for (const [key, { name: text, of }] of Object.entries(metrics)) {
    if (!curves.some((c) => c.points.some((p) => filled(of(p))))) continue;
    const button = make("button", { type: "button", "aria-pressed": key === metric }, text);
    button.addEventListener("click", () => {
      metric = key;
      for (const one of get("metric").children) one.setAttribute("aria-pressed", one === button);
      drawRate();
    });
    get("metric").append(button);
  }
  const names = [...new Set(data.codecs.flatMap((c) => c.points.flatMap((p) => p.pictures.map((one) => one.name))))];
  get("curve-picture").append(make("option", { value: "" }, "all pictures (means)"), ...names.map((text) => make("option", { value: text }, text)));
  for (const [key, cost] of Object.entries(costs))
    if (curves.some((c) => filled(cost.of(c)))) get("speed-x").append(make("option", { value: key }, cost.name));
  if (!get("speed-x").options.length) get("speed-x").append(make("option", { value: "decode_s" }, "decode time"));
  anchors.forEach(([measure, anchor], index) => get("speed-y").append(make("option", { value: index }, `BD-rate (${metrics[measure]?.name ?? measure}) against ${labelOf(anchor)}`)));
  for (const [key, one] of Object.entries(metrics)) get("speed-y").append(make("option", { value: key }, one.name));
  get("legend").append(...curves.map(legend));
  for (const id of ["curve-picture", "log-rate"]) get(id).addEventListener("change", drawRate);
  for (const id of ["speed-x", "speed-y"]) get(id).addEventListener("change", drawSpeed);
  for (const id of ["rate-chart", "speed-chart"]) listen(get(id));
  let width = 0;
  new ResizeObserver(([entry]) => {
    if (entry.contentRect.width === width) return;
    width = entry.contentRect.width;
    redraw();
  }).observe(get("rate-chart"));
  redraw();
}

/** The button that shows and hides a curve. */
function legend(curve) {
  const look = `c${curve.colour % 8}${curve.reference ? " reference" : ""}`;
  const sample = make("svg", { width: 30, height: 14, viewBox: "0 0 30 14", "aria-hidden": "true" },
    make("path", { class: `curve ${look}`, d: "M1,7L29,7" }), make("path", { class: `mark ${look}`, d: mark(curve.shape, 4), transform: "translate(15 7)" }));
  const button = make("button", { type: "button", "aria-pressed": "true" }, sample, curve.label);
  if (curve.note) button.title = curve.note;
  button.addEventListener("click", () => {
    curve.shown = !curve.shown;
    button.setAttribute("aria-pressed", curve.shown);
    redraw();
  });
  return button;
}

/** Sorts a table by a column: rising, then falling; cells without a value stay last. */
function sortBy(table, column) {
  const head = table.tHead.rows[0].cells;
  const falling = head[column].getAttribute("aria-sort") === "ascending";
  for (const cell of head) cell.removeAttribute("aria-sort");
  head[column].setAttribute("aria-sort", falling ? "descending" : "ascending");
  const key = (row) => row.cells[column].dataset.v ?? row.cells[column].textContent;
  const numeric = head[column].dataset.kind === "number";
  const compare = (a, b) => (numeric ? a - b : a.localeCompare(b, "en", { numeric: true }));
  const rows = [...table.tBodies[0].rows].sort((a, b) => {
    const [p, q] = [key(a), key(b)];
    if (p === "" || q === "") return (p === "") - (q === "");
    return falling ? compare(q, p) : compare(p, q);
  });
  table.tBodies[0].append(...rows);
}

function startTables() {
  for (const table of document.querySelectorAll("table.sortable"))
    [...table.tHead.rows[0].cells].forEach((cell, column) => cell.firstElementChild.addEventListener("click", () => sortBy(table, column)));
}

startCharts();
startTables();
if (data.panels.length) startComparer(data.panels);
document.documentElement.dataset.ready = "yes";
