// SPDX-License-Identifier: MIT
// The pictures of a page that report --html or view --html prints. Without this script the page is its table.
//
// #data is JSON, and one of:
//   { kind: "report", processes: { pid: comm }, rows: [[pid, owner, thing, detail, kind, name, vmas, size, rss, pss, uss, swap]],
//     arenas: [[pid, name, name of its row, resident, live, free, trimmable, pinned, chunks]],
//     regions: { pid: [[address, KiB, number of the name, the name where it is met first]] } }
//   { kind: "recording", figure, at: [ms], rows: [[owner, thing, detail, kind, name, [moment, bytes, moment, bytes, ...]]] }
// A figure is null where it cannot be known. Text reaches the page through textContent alone.
"use strict";
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const main = document.getElementById("main");
const isReport = data.kind === "report";
const FIGURES = ["vmas", "size", "rss", "pss", "uss", "swap"];
const SHOWN = 300;                      // rows of the table until more are asked for

const rows = data.rows.map((row, index) => {
  const texts = isReport ? row.slice(1, 6) : row.slice(0, 5);
  const one = { index, pid: isReport ? row[0] : 0, owner: texts[0], thing: texts[1], detail: texts[2], kind: texts[3], name: texts[4] };
  if (isReport) FIGURES.forEach((figure, k) => { one[figure] = row[6 + k]; });
  else one.steps = row[5];
  return one;
});

// The parts of an arena that a bar shows: what is live, what could be given back, what cannot, and what is free for other reasons.
const PARTS = [["live", "#3f6fb5", "live"], ["trimmable", "#3d8b57", "free, could be given back"], ["pinned", "#c9662b", "free, pinned by live chunks"], ["rest", "#8d949e", "other: cached, top, the allocator's own"]];
const arenas = (data.arenas || []).map(([pid, name, label, resident, live, free, trimmable, pinned, chunks]) => ({ pid, name, resident, live, free, trimmable, pinned, chunks,
  row: rows.find(row => row.pid === pid && row.name === label) || null }));

const several = isReport && new Set(rows.map(row => row.pid)).size > 1;

// --- small things --------------------------------------------------------------

function make(parent, tag, attributes = {}, text = null) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== null) element.textContent = text;
  parent.append(element);
  return element;
}

function size(bytes) {
  if (bytes === null || bytes === undefined) return "-";
  if (!bytes) return "0";
  let value = Math.abs(bytes), unit = 0;
  while (value >= 999.5 && unit < 6) { value /= 1024; unit++; }
  return (bytes < 0 ? "-" : "") + (unit && value < 99.95 ? value.toFixed(1) : value.toFixed(0)) + "BKMGTPE"[unit];
}

const pad = number => String(number).padStart(2, "0");
function when(ms) {
  const at = new Date(ms);
  return `${at.getFullYear()}-${pad(at.getMonth() + 1)}-${pad(at.getDate())} ${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
}

function change(bytes) { return (bytes > 0 ? "+" : "") + size(bytes); }

// Owners by weight, each with a colour of its own as far as they go; files and what has no name are grey.
const PALETTE = ["#3f6fb5", "#c9662b", "#3d8b57", "#a8487a", "#7a5bb0", "#b08a1e", "#2d8c93", "#b5494a", "#66803a", "#8a6249", "#5d78c9", "#97489b"];
const weights = d3.nest().key(row => row.owner).rollup(all => d3.sum(all, row => isReport ? row.pss : d3.max(row.steps.filter((_, i) => i % 2)))).entries(rows)
  .sort((a, b) => b.value - a.value).map(one => one.key);
const named = weights.filter(owner => owner[0] !== "[" || owner === "[heap]");
const colors = new Map(weights.map(owner => [owner, owner === "[anon]" ? "#6d7178" : owner[0] === "[" && owner !== "[heap]" ? "#8d949e" : PALETTE[named.indexOf(owner) % PALETTE.length]]));
const color = owner => colors.get(owner) || "#8d949e";

const tip = make(document.body, "div", { id: "tip", role: "status" });
function showTip(event, text) {
  tip.textContent = text;
  if (!event || !text) return;
  tip.style.left = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8) + "px";
  tip.style.top = Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 8) + "px";
}
function tipped(element, text) {
  element.addEventListener("mousemove", event => showTip(event, text()));
  element.addEventListener("mouseleave", () => showTip(null, ""));
}

// --- what is chosen ---------------------------------------------------------------

const state = { search: "", figure: isReport && rows.every(row => row.pss === null) ? "rss" : "pss", group: "owner", path: [], picked: null,
  sort: isReport ? "figure" : "growth", down: true, all: false, from: 0, to: isReport ? 0 : data.at.length - 1 };

// Of a recording: bytes at a moment, by the last change up to it.
function bytesAt(row, moment) {
  let low = 0, high = row.steps.length / 2;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (row.steps[2 * middle] <= moment) low = middle + 1; else high = middle;
  }
  return low ? row.steps[2 * low - 1] : 0;
}
const value = row => isReport ? row[state.figure] : bytesAt(row, state.to);
const growth = row => bytesAt(row, state.to) - bytesAt(row, state.from);
const processOf = row => row.pid ? row.pid + " " + (data.processes[row.pid] || "") : "";
// The owner stands for all where names have no parts.
const GROUPS = { owner: row => [row.owner, row.thing, row.detail], process: row => [processOf(row), row.owner, row.thing], kind: row => [row.kind, row.owner, row.thing] };
const partsOf = row => GROUPS[state.group](row).filter(part => part !== "");

function wanted() {
  const search = state.search.toLowerCase();
  return rows.filter(row => state.path.every((part, k) => partsOf(row)[k] === part) &&
    (!search || row.name.toLowerCase().includes(search) || processOf(row).toLowerCase().includes(search)));
}

// --- the page ---------------------------------------------------------------------

const total = document.querySelector("#rows");
total.remove();
const bar = make(main, "div", { class: "bar" });
const search = make(bar, "input", { type: "search", placeholder: "Search names", "aria-label": "Search names" });
search.addEventListener("input", () => { state.search = search.value; draw(); });
function choice(label, options, get, set) {
  const select = make(make(bar, "label", {}, label + " "), "select", { "aria-label": label });
  for (const [key, text] of options) make(select, "option", { value: key }, text);
  select.value = get();
  select.addEventListener("change", () => { set(select.value); draw(); });
}
if (isReport) choice("Figure", [["pss", "PSS"], ["rss", "RSS"], ["uss", "USS"], ["swap", "Swap"], ["size", "Size"]], () => state.figure, key => { state.figure = key; });
choice("Group by", [["owner", "Owner"], ["kind", "Kind"], ...(isReport ? [["process", "Process"]] : [])], () => state.group, key => { state.group = key; state.path = []; });
const night = make(bar, "button", { type: "button", id: "night" }, "Dark");
function setNight(on) { document.documentElement.classList.toggle("night", on); night.textContent = on ? "Light" : "Dark"; }
night.addEventListener("click", () => setNight(!document.documentElement.classList.contains("night")));
setNight(matchMedia("(prefers-color-scheme: dark)").matches);
const keys = make(bar, "span", { class: "keys" });
for (const [key, text] of [["/", "search"], ["↑ ↓", "rows"], ["Enter", "into"], ["Esc", "back"], ["d", "dark"]]) { make(keys, "kbd", {}, key); keys.append(" " + text + "  "); }

const timeline = isReport ? null : make(main, "section", { class: "timeline" });
const two = make(main, "div", { class: "two" });
const map = make(two, "section", { class: "map" }), list = make(two, "section", { class: "rows" });
const mapHead = make(map, "div", { class: "head path" });
const svg = d3.select(map).append("svg").attr("id", "treemap").attr("role", "img").attr("aria-label", "Treemap; the table has the same");
const listHead = make(list, "div", { class: "head" });
const table = make(make(list, "div", { class: "list" }), "table", { id: "table" });
const inside = document.getElementById("inside");
if (inside) inside.remove();
const heaps = arenas.length ? make(main, "section", { class: "heaps", style: "margin-top:14px" }) : null;
const strip = isReport && Object.keys(data.regions).length ? make(main, "section", { class: "space", style: "margin-top:14px" }) : null;

function pick(row, scroll) {
  state.picked = row;
  drawPicked(scroll);
  if (strip && row) drawStrip();
}

function drawPicked(scroll) {
  if (heaps) for (const line of heaps.querySelectorAll("tbody tr")) line.classList.toggle("picked", !!state.picked && arenas[+line.dataset.arena].row === state.picked);
  d3.selectAll(".cell").classed("picked", cell => cell.data.row === state.picked);
  for (const line of table.querySelectorAll("tbody tr")) {
    const on = state.picked && +line.dataset.row === state.picked.index;
    line.classList.toggle("picked", !!on);
    line.setAttribute("aria-selected", !!on);
    if (on && scroll) line.scrollIntoView({ block: "nearest" });
  }
}

// --- the treemap --------------------------------------------------------------------

function hierarchyOf(some) {
  const root = { name: "", children: new Map() };
  for (const row of some) {
    const bytes = value(row);
    if (!bytes || bytes < 0) continue;
    let node = root;
    const parts = partsOf(row).slice(state.path.length);
    for (const part of parts.length ? parts : [row.name]) {
      if (!node.children.has(part)) node.children.set(part, { name: part, children: new Map() });
      node = node.children.get(part);
    }
    // Two rows may be of one name, of two processes.
    if (node.row) node.children.set("\u0000" + node.children.size, { name: processOf(row) || row.name, children: new Map(), row, bytes });
    else Object.assign(node, { row, bytes });
  }
  // What is both a row and a group shows its row as a child.
  const list = node => ({ name: node.name, row: node.children.size ? null : node.row, bytes: node.children.size ? 0 : node.bytes || 0,
    children: node.children.size ? [...node.children.values()].map(list).concat(node.row ? [{ name: several ? processOf(node.row) || node.name : node.name, row: node.row, bytes: node.bytes }] : []) : undefined });
  return d3.hierarchy(list(root)).sum(node => node.bytes || 0).sort((a, b) => b.value - a.value);
}

// The last part of a path says more than its first.
const short = (text, width) => {
  const base = text.startsWith("/") ? text.slice(text.lastIndexOf("/") + 1) : text, most = Math.floor((width - 8) / 6.2);
  return most < 3 ? "" : base.length <= most ? base : base.slice(0, Math.max(1, most - 1)) + "…";
};

function drawMap(some) {
  const width = map.clientWidth - 30, height = 560, root = hierarchyOf(some);
  mapHead.textContent = "";
  make(mapHead, "h2", {}, "Who has it");
  ["All", ...state.path].forEach((part, k) => {
    if (k) mapHead.append("›");
    make(mapHead, "button", { type: "button" }, part).addEventListener("click", () => { state.path = state.path.slice(0, k); draw(); });
  });
  make(mapHead, "span", { style: "margin-left:auto" }, size(root.value));
  d3.treemap().size([width, height]).paddingInner(1).paddingTop(node => node.depth === 1 && node.children && node.x1 - node.x0 > 46 ? 17 : 0).round(true)(root);
  svg.attr("viewBox", `0 0 ${width} ${height}`).attr("height", height).selectAll("*").remove();
  const ownerOf = node => { while (!node.data.row) node = node.children[0]; return node.data.row.owner; };
  const groups = svg.selectAll(".top").data(root.children || []).enter().filter(node => node.children).append("g").attr("class", "top").attr("transform", node => `translate(${node.x0},${node.y0})`);
  groups.append("rect").attr("width", node => node.x1 - node.x0).attr("height", node => node.y1 - node.y0).attr("rx", 2)
    .attr("fill", node => d3.color(color(ownerOf(node))).darker(0.7)).style("cursor", "zoom-in")
    .on("click", node => { state.path.push(node.data.name); draw(); });
  groups.append("text").attr("class", "group").attr("x", 4).attr("y", 12).text(node => node.y1 - node.y0 > 16 ? short(node.data.name + "  " + size(node.value), node.x1 - node.x0) : "");
  const cells = svg.selectAll(".cell").data(root.leaves().filter(node => node.data.row && node.x1 > node.x0 && node.y1 > node.y0)).enter().append("g").attr("class", "cell")
    .attr("transform", node => `translate(${node.x0},${node.y0})`);
  cells.append("rect").attr("width", node => node.x1 - node.x0).attr("height", node => node.y1 - node.y0).attr("rx", 2)
    .attr("fill", node => color(node.data.row.owner)).attr("fill-opacity", node => node.depth === 1 ? 1 : 0.78 + 0.22 * node.value / node.parent.value)
    .on("click", node => pick(node.data.row, true))
    .on("mousemove", node => showTip(d3.event, `${node.data.row.name}\n${size(node.value)}, ${(100 * node.value / root.value).toFixed(1)} %${processOf(node.data.row) ? "\n" + processOf(node.data.row) : ""}`))
    .on("mouseleave", () => showTip(null, ""));
  cells.append("text").attr("x", 4).attr("y", 13).text(node => node.y1 - node.y0 > 15 ? short(node.data.name, node.x1 - node.x0) : "");
  cells.append("text").attr("x", 4).attr("y", 26).attr("fill-opacity", 0.8).text(node => node.y1 - node.y0 > 30 && node.x1 - node.x0 > 46 ? size(node.value) : "");
}

// --- the table ------------------------------------------------------------------------

const COLUMNS = (isReport ? [
  { id: "figure", title: () => state.figure.toUpperCase(), of: value, text: row => size(value(row)) },
  ...["rss", "uss", "swap"].map(id => ({ id, title: () => id.toUpperCase(), of: row => row[id], text: row => size(row[id]) })),
  ...(several ? [{ id: "pid", title: () => "PID", of: row => row.pid, text: row => row.pid || "" }] : []),
] : [
  { id: "growth", title: () => "Growth", of: growth, text: row => growth(row) ? change(growth(row)) : "", look: row => growth(row) > 0 ? "grow" : "shrink" },
  { id: "first", title: () => "From", of: row => bytesAt(row, state.from), text: row => size(bytesAt(row, state.from)) },
  { id: "last", title: () => "To", of: row => bytesAt(row, state.to), text: row => size(bytesAt(row, state.to)) },
]).concat({ id: "name", title: () => "Name", of: row => row.name, text: row => row.name, isText: true });
let listed = [];

function drawTable(some) {
  const column = COLUMNS.find(one => one.id === state.sort), sign = state.down ? -1 : 1;
  const key = new Map(some.map(row => [row, column.of(row)]));
  listed = some.slice().sort((a, b) => sign * (key.get(a) < key.get(b) ? -1 : key.get(a) > key.get(b) ? 1 : 0) || a.index - b.index);
  table.textContent = "";
  listHead.textContent = "";
  make(listHead, "h2", {}, `${listed.length} ${listed.length === 1 ? "name" : "names"}`);
  if (!isReport) make(listHead, "span", {}, change(d3.sum(some, growth)));
  const line = make(make(table, "thead"), "tr");
  for (const one of COLUMNS) {
    const head = make(line, "th", { class: one.isText ? "text" : "", "aria-sort": one.id === state.sort ? (state.down ? "descending" : "ascending") : "none" });
    make(head, "button", { type: "button" }, one.title() + (one.id === state.sort ? (state.down ? " ↓" : " ↑") : "")).addEventListener("click", () => {
      state.down = one.id === state.sort ? !state.down : !one.isText;
      state.sort = one.id;
      drawTable(wanted());
    });
  }
  const body = make(table, "tbody");
  const shown = state.all ? listed : listed.slice(0, SHOWN);
  for (const row of shown) {
    const tr = make(body, "tr", { "data-row": row.index });
    for (const one of COLUMNS) {
      const td = make(tr, "td", { class: one.isText ? "text" : one.look ? one.look(row) : "" });
      if (one.isText) { make(td, "span", { class: "dot", style: "background:" + color(row.owner) }); td.title = row.name; }
      // Of a path the end says more.
      td.append(one.isText && row.name.startsWith("/") && row.name.length > 46 ? "…" + row.name.slice(-45) : one.text(row));
    }
    tr.addEventListener("click", () => pick(row, false));
  }
  if (shown.length < listed.length)
    make(make(make(body, "tr"), "td", { colspan: COLUMNS.length, class: "text" }), "button", { type: "button" }, `All ${listed.length} rows`)
      .addEventListener("click", () => { state.all = true; drawTable(wanted()); });
  drawPicked(false);
}

// --- the arenas ---------------------------------------------------------------------------

// Drawn once: a bar is as long as what is resident of the arena, beside the largest.
function drawHeaps() {
  const most = d3.max(arenas, arena => arena.resident) || 1;
  make(make(heaps, "div", { class: "head" }), "h2", {}, "Inside the heaps");
  const all = make(make(heaps, "div", { class: "list", style: "max-height:320px" }), "table", { id: "arenas" });
  const line = make(make(all, "thead"), "tr");
  for (const title of [...(several ? ["PID"] : []), "Resident", "Live", "Free", "Trimmable", "Pinned"]) make(line, "th", {}, title);
  make(line, "th", { class: "text" }, "Arena"); make(line, "th", { class: "text" }, "");
  const body = make(all, "tbody");
  arenas.forEach((arena, index) => {
    const tr = make(body, "tr", { "data-arena": index });
    if (several) make(tr, "td", {}, arena.pid);
    for (const figure of ["resident", "live", "free", "trimmable", "pinned"]) make(tr, "td", {}, size(arena[figure]));
    const name = make(tr, "td", { class: "text" });
    make(name, "span", { class: "dot", style: "background:" + (arena.row ? color(arena.row.owner) : "#8d949e") });
    name.append(arena.name);
    const bar = make(make(tr, "td", { class: "text" }), "div", { class: "heap", style: `width:${Math.max(1, 100 * arena.resident / most).toFixed(2)}%` });
    const rest = Math.max(0, arena.resident - arena.live - arena.trimmable - arena.pinned), whole = Math.max(1, arena.live + arena.trimmable + arena.pinned + rest);
    // Of what is not known there is no part.
    const known = arena.live !== null;
    for (const [part, fill, text] of known ? PARTS : [["resident", "#8d949e", "not known"]]) {
      const bytes = part === "rest" ? rest : arena[part];
      if (bytes) tipped(make(bar, "span", { style: `width:${(100 * bytes / (known ? whole : arena.resident)).toFixed(2)}%;background:${fill}` }), () => `${arena.name}\n${size(bytes)} ${text}`);
    }
    tr.addEventListener("click", () => arena.row && pick(arena.row, true));
  });
  const legend = make(heaps, "div", { class: "legend" });
  for (const [, fill, text] of PARTS) { const one = make(legend, "span"); make(one, "span", { class: "dot", style: "background:" + fill }); one.append(text); }
  if (inside) heaps.append(inside.querySelector("ul"));
}

// --- the address space -------------------------------------------------------------------

const regionNames = [];
if (isReport) for (const all of Object.values(data.regions)) for (const region of all) if (region.length > 3) regionNames[region[2]] = region[3];

function drawStrip() {
  const pid = state.picked && data.regions[state.picked.pid] ? state.picked.pid : +Object.keys(data.regions)[0];
  const byName = new Map(rows.filter(row => row.pid === pid).map(row => [row.name, row]));
  strip.textContent = "";
  const head = make(strip, "div", { class: "head" });
  make(head, "h2", {}, "Address space");
  const mine = data.regions[pid].filter(region => state.picked && regionNames[region[2]] === state.picked.name);
  make(head, "span", {}, `${pid} ${data.processes[pid] || ""}, ${data.regions[pid].length} regions from low to high; the wider, the larger` +
    (mine.length ? `. ${state.picked.name}: ${mine.length}` : ""));
  const boxes = make(strip, "div", { class: "strip" });
  let before = null;
  for (const [address, kib, number] of data.regions[pid]) {
    const name = regionNames[number], row = byName.get(name), start = BigInt("0x" + address);
    // A gap in the addresses is a gap in the picture.
    const far = before !== null && start - before > 1n << 30n;
    const box = make(boxes, "div", { class: "box" + (row && row === state.picked ? " picked" : ""),
      style: `width:${Math.max(2, 2.2 * Math.log2(1 + kib / 4)).toFixed(0)}px;background:${color(row ? row.owner : name.split(":")[0])};margin-left:${far ? 10 : 0}px;` +
        `border-width:${row && row === state.picked ? 2 : 0}px;opacity:${row && row.rss === 0 ? 0.45 : 1}` });
    tipped(box, () => `${address} to ${(start + BigInt(kib) * 1024n).toString(16)}\n${name}\n${size(kib * 1024)} of addresses`);
    box.addEventListener("click", () => row && pick(row, true));
    before = start + BigInt(kib) * 1024n;
  }
  if (mine.length) {
    const part = make(make(strip, "div", { class: "list", style: "max-height:180px;margin-top:10px" }), "table", { id: "regions" });
    const line = make(make(part, "thead"), "tr");
    make(line, "th", {}, "From"); make(line, "th", {}, "To"); make(line, "th", {}, "Size"); make(line, "th", { class: "text" }, "");
    const body = make(part, "tbody");
    for (const [address, kib] of mine.slice(0, 200)) {
      const tr = make(body, "tr");
      make(tr, "td", {}, address); make(tr, "td", {}, (BigInt("0x" + address) + BigInt(kib) * 1024n).toString(16)); make(tr, "td", {}, size(kib * 1024)); make(tr, "td", { class: "text" }, "");
    }
  }
}

// --- the timeline --------------------------------------------------------------------------

function drawTimeline() {
  const width = timeline.clientWidth - 30, height = 250, left = 52, bottom = 22;
  const ofGroup = row => partsOf(row)[state.path.length] || row.name;
  const some = wanted();
  const sums = d3.nest().key(ofGroup).rollup(all => d3.sum(all, row => d3.max(row.steps.filter((_, i) => i % 2)) || 0)).entries(some).sort((a, b) => b.value - a.value).map(one => one.key);
  const keys = sums.slice(0, 11).concat(sums.length > 11 ? ["all others"] : []), at = new Map(sums.map((key, k) => [key, Math.min(k, 11)]));
  const layers = data.at.map(() => new Array(keys.length).fill(0));
  for (const row of some)
    for (let step = 0; step < row.steps.length; step += 2)
      for (let moment = row.steps[step]; moment < (step + 2 < row.steps.length ? row.steps[step + 2] : data.at.length); moment++)
        layers[moment][at.get(ofGroup(row))] += row.steps[step + 1];
  const stack = d3.stack().keys(d3.range(keys.length)).value((layer, key) => layer[key])(layers);
  const x = d3.scaleTime().domain([data.at[0], data.at[data.at.length - 1]]).range([left, width - 6]);
  const y = d3.scaleLinear().domain([0, d3.max(layers, layer => d3.sum(layer)) || 1]).nice().range([height - bottom, 8]);
  const unit = 1024 ** Math.floor(Math.log(y.domain()[1]) / Math.log(1024));
  const first = new Map(some.map(row => [ofGroup(row), row.owner]));
  const fill = (key, k) => state.group === "owner" && !state.path.length ? color(first.get(key)) : key === "all others" ? "#8d949e" : PALETTE[k % PALETTE.length];
  timeline.textContent = "";
  const head = make(timeline, "div", { class: "head" });
  make(head, "h2", {}, data.figure + " over time");
  const said = make(head, "span", { id: "between" });
  const picture = d3.select(timeline).append("svg").attr("id", "timeline").attr("viewBox", `0 0 ${width} ${height}`).attr("height", height);
  const area = d3.area().x((_, i) => x(data.at[i])).y0(part => y(part[0])).y1(part => y(part[1])).curve(d3.curveStepAfter);
  picture.selectAll("path").data(stack).enter().append("path").attr("d", area).attr("fill", (_, k) => fill(keys[k], k)).attr("fill-opacity", 0.9);
  picture.append("g").attr("class", "axis").attr("transform", `translate(0,${height - bottom})`).call(d3.axisBottom(x).ticks(Math.max(2, width / 110)));
  picture.append("g").attr("class", "axis").attr("transform", `translate(${left},0)`).call(d3.axisLeft(y).tickValues(d3.ticks(0, y.domain()[1] / unit, 5).map(tick => tick * unit)).tickFormat(size));
  const legend = make(timeline, "div", { class: "legend" });
  keys.forEach((key, k) => { const one = make(legend, "span"); make(one, "span", { class: "dot", style: "background:" + fill(key, k) }); one.append(key); });
  const nearest = pixel => { const time = +x.invert(pixel); return d3.scan(data.at, (a, b) => Math.abs(a - time) - Math.abs(b - time)); };
  const say = () => { said.textContent = `${when(data.at[state.from])} to ${when(data.at[state.to])}: ${change(d3.sum(some, growth))}`; };
  const brush = d3.brushX().extent([[left, 8], [width - 6, height - bottom]]).on("brush end", () => {
    if (!d3.event.sourceEvent) return;
    const area = d3.event.selection;
    [state.from, state.to] = area ? area.map(nearest) : [0, data.at.length - 1];
    say();
    if (d3.event.type === "end") { drawMap(wanted()); drawTable(wanted()); }
  });
  const layer = picture.append("g").attr("class", "brush").call(brush);
  if (state.from || state.to < data.at.length - 1) layer.call(brush.move, [x(data.at[state.from]), x(data.at[state.to])]);
  say();
}

// --- all of it ---------------------------------------------------------------------------------

if (heaps) drawHeaps();

function draw() {
  const some = wanted();
  if (timeline) drawTimeline();
  drawMap(some);
  drawTable(some);
  if (strip) drawStrip();
  drawPicked(false);
}

document.addEventListener("keydown", event => {
  const typing = event.target === search;
  if (event.key === "/" && !typing) { search.focus(); event.preventDefault(); }
  else if (event.key === "Escape") {
    if (state.search) { state.search = search.value = ""; search.blur(); } else if (state.path.length) state.path.pop(); else if (state.picked) state.picked = null;
    draw();
  } else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && event.target.tagName !== "SELECT" && listed.length) {
    const at = listed.indexOf(state.picked), next = Math.max(0, Math.min(listed.length - 1, at + (event.key === "ArrowDown" ? 1 : -1)));
    pick(listed[next], true);
    event.preventDefault();
  } else if (event.key === "Enter" && state.picked && !["BUTTON", "SELECT"].includes(event.target.tagName)) {
    const part = partsOf(state.picked)[state.path.length];
    if (part && partsOf(state.picked).length > state.path.length + 1) { state.path.push(part); draw(); }
  } else if (event.key === "d" && !typing && !event.ctrlKey && !event.metaKey) night.click();
});
let waiting = 0;
addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(draw, 100); });
draw();
document.documentElement.dataset.drawn = Math.round(performance.now());
})();
