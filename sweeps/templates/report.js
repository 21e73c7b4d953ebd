"use strict";
// Draw the page's charts: unpack Plotly and the data embedded in the page, and add the controls.

async function unpacked(id) {
  const bytes = Uint8Array.from(atob(document.getElementById(id).textContent), c => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).text();
}

// Escape a text, since Plotly interprets tags.
function escaped(text) {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b), half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

// Values of y at each x, sorted by x; words keep their order.
function byX(xs, ys) {
  const groups = new Map();
  xs.forEach((x, i) => {
    if (x !== null && ys[i] !== null) groups.set(x, [...(groups.get(x) || []), ys[i]]);
  });
  const words = [...groups.keys()].some(x => typeof x === "string");
  return words ? [...groups] : [...groups].sort((a, b) => a[0] - b[0]);
}

// Copy the chosen columns of the table into the traces.
function fill(traces, table, x, y) {
  const measured = table.columns[y].filter(v => v > 0);
  for (const trace of traces) {
    const meta = trace.meta;
    if (meta.diagonal) {
      trace.x = trace.y = [Math.min(...measured) / 1.3, Math.max(...measured) * 1.3];
      continue;
    }
    const xs = meta.rows.map(row => table.columns[x][row]);
    const ys = meta.rows.map(row => table.columns[meta.y || y][row]);
    if (meta.median) {
      const groups = table.keys.includes(x) ? byX(xs, ys) : [];
      trace.x = groups.map(([value]) => value);
      trace.y = groups.map(([, values]) => median(values));
    } else {
      trace.x = xs;
      trace.y = ys;
      trace.customdata = meta.rows.map(row => [escaped(table.trial[row]), table.hash[row], table.trial[row]]);
    }
  }
}

// Configure an axis for words, or for numbers with a tick at each if they are few.
function setAxis(axis, values, name, scale, ticksAtValues) {
  const distinct = [...new Set(values.filter(v => v !== null))];
  const words = distinct.some(v => typeof v === "string");
  const ticks = ticksAtValues && !words && distinct.length <= 12;
  axis.type = words ? "category" : scale;
  axis.title = {text: name};
  axis.autorange = true;
  axis.tickmode = ticks ? "array" : "auto";
  axis.tickvals = ticks ? distinct : null;
  axis.ticktext = ticks ? distinct.map(String) : null;
}

function select(box, name, choices, chosen, onChange) {
  const label = box.appendChild(document.createElement("label"));
  label.append(`${name} `);
  const list = label.appendChild(document.createElement("select"));
  list.setAttribute("aria-label", name);
  for (const [value, text] of choices) list.add(new Option(text, value, value === chosen, value === chosen));
  list.addEventListener("change", onChange);
  return list;
}

function toggle(box, name, onChange) {
  const label = box.appendChild(document.createElement("label"));
  const tick = label.appendChild(document.createElement("input"));
  tick.type = "checkbox";
  tick.checked = true;
  label.append(` ${name}`);
  tick.addEventListener("change", () => onChange(tick.checked));
}

// Show or hide the curves of a kind, except those that the legend hides.
function showKind(plot, kind, shown) {
  const off = new Set(plot.data.filter(t => t.visible === "legendonly").map(t => t.legendgroup));
  const indices = plot.data.flatMap((trace, i) => trace.meta.kind === kind ? [i] : []);
  const visible = indices.map(i => shown && (off.has(plot.data[i].legendgroup) ? "legendonly" : true));
  Plotly.restyle(plot, {visible}, indices);
}

// No button that uploads data, and none that selects points, which would have no effect.
const CONFIG = {
  responsive: true,
  displaylogo: false,
  showSendToCloud: false,
  plotlyServerURL: "",
  modeBarButtonsToRemove: ["select2d", "lasso2d"],
};
const SCALES = [["linear", "linear"], ["log", "logarithmic"]];

async function draw(chart, table) {
  const section = document.getElementById(`chart-${chart.id}`);
  const [controls, plot, picked] = ["controls", "plot", "picked"].map(name => section.querySelector(`.${name}`));
  const {data, layout} = chart.figure;
  const pick = (name, choices) => choices.length > 1
    ? select(controls, name, choices, choices[0][0], () => update()) : {value: (choices[0] || [])[0]};
  const x = pick("x", chart.x);
  const xScale = select(controls, "x scale", SCALES, layout.xaxis.type, () => update());
  const y = pick("y", chart.y);
  const yScale = select(controls, "y scale", SCALES, layout.yaxis.type, () => update());
  const named = (choices, value, other) => (choices.find(([key]) => key === value) || [null, other])[1];

  function prepare() {
    const isTable = chart.x.length > 0;
    if (isTable) fill(data, table, x.value, y.value || data[0].meta.y);
    const values = isTable ? table.columns[x.value] : [];
    setAxis(layout.xaxis, values, named(chart.x, x.value, layout.xaxis.title.text), xScale.value, table.keys.includes(x.value));
    setAxis(layout.yaxis, [], named(chart.y, y.value, layout.yaxis.title.text), yScale.value, false);
    xScale.disabled = layout.xaxis.type === "category";
  }
  function update() {
    prepare();
    return Plotly.react(plot, data, layout);
  }

  prepare();
  await Plotly.newPlot(plot, data, layout, CONFIG);
  if (chart.kinds) {
    for (const kind of ["linearised", "bound"]) toggle(controls, kind, shown => showKind(plot, kind, shown));
  }
  plot.on("plotly_click", event => {
    const point = event.points[0], {trial, hash} = point.data.meta;
    const [name, digest] = trial ? [trial, hash] : [point.customdata[2], point.customdata[1]];
    const code = document.createElement("code");
    code.textContent = digest;
    picked.replaceChildren(`${name}, hash `, code, `, ${layout.yaxis.title.text}: ${point.y}, ${layout.xaxis.title.text}: ${point.x}`);
  });
}

async function main() {
  const script = document.createElement("script");
  script.textContent = await unpacked("library");
  document.head.append(script);
  const {table, charts} = JSON.parse(await unpacked("data"));
  for (const chart of charts) await draw(chart, table);
  document.body.dataset.drawn = charts.length;
}

main().catch(error => {
  const trouble = document.getElementById("trouble");
  trouble.hidden = false;
  trouble.querySelector("span").textContent = error;
});
