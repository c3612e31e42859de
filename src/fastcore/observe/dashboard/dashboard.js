// Asks for /debug/overview every two seconds and shows what changed. Names come from outside: they are only ever text.
"use strict";

const EVERY_MS = 2000;
const POINTS = 60;
const BAD = new Set(["errors", "failures", "rejected", "quarantined", "slowed keys"]);

let before = null;          // the answer before this one
let paused = false;
let heard = 0;              // when the last answer came
const history = new Map();  // points by table and row, of the first column

const byId = (id) => document.getElementById(id);
const number = (value) => {
  if (!Number.isFinite(value)) return value > 0 ? "\u221e" : "\u2013";
  const size = Math.abs(value);
  return value.toLocaleString("en", { maximumFractionDigits: size >= 100 ? 0 : size >= 10 ? 1 : 2 });
};
const bytes = (value) => {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  while (value >= 1024 && at < units.length - 1) { value /= 1024; at += 1; }
  return `${number(value)} ${units[at]}`;
};
const seconds = (value) => {
  if (value === 0 || value >= 100) return `${number(value)} s`;
  if (value >= 1) return `${number(value)} s`;
  return value >= 1e-3 ? `${number(value * 1e3)} ms` : `${number(value * 1e6)} \u00b5s`;
};

// The number behind a cell, as of now: a rate needs the answer before.
function measured(kind, now, then, elapsed) {
  if (now === null || now === undefined) return null;
  if (kind === "rate" || kind === "load") {
    return typeof then === "number" && elapsed > 0 ? Math.max(0, now - then) / elapsed : null;
  }
  if (kind === "mean" || kind === "share") {
    const old = Array.isArray(then) && then[1] <= now[1] ? then : [0, 0];
    const of = now[1] - old[1] > 0 ? [now[0] - old[0], now[1] - old[1]] : now;
    return of[1] > 0 ? of[0] / of[1] : null;
  }
  return now;
}

function shown(kind, value) {
  if (value === null) return "\u2013";
  if (kind === "text") return value;
  if (kind === "bytes") return bytes(value);
  if (kind === "seconds" || kind === "mean") return seconds(value);
  if (kind === "share") return `${number(value * 100)} %`;
  if (kind === "load") return `${number(value * 100)} % of a core`;
  return kind === "rate" ? `${number(value)}/s` : number(value);
}

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function trend(points, title) {
  const space = "http://www.w3.org/2000/svg";
  const picture = document.createElementNS(space, "svg");
  picture.setAttribute("viewBox", "0 0 100 20");
  picture.setAttribute("preserveAspectRatio", "none");
  picture.setAttribute("role", "img");
  picture.setAttribute("aria-label", `${title}, the last two minutes`);
  const line = document.createElementNS(space, "polyline");
  const most = Math.max(...points, 1e-9);
  line.setAttribute("points", points.map((value, i) =>
    `${(100 * (i + POINTS - points.length)) / (POINTS - 1)},${19 - (18 * value) / most}`).join(" "));
  picture.append(line);
  return picture;
}

function remember(key, value) {
  const points = history.get(key) ?? [];
  points.push(value ?? 0);
  if (points.length > POINTS) points.shift();
  history.set(key, points);
  return points;
}

function tableOf(table, old, elapsed, kept) {
  const section = element("section");
  section.append(element("h2", table.title));
  const grid = element("table");
  const head = element("tr");
  head.append(element("th", "", { scope: "col" }));
  const moves = table.columns.length > 0 && table.columns[0].kind !== "text" && table.columns[0].kind !== "seconds";
  if (moves) head.append(element("th", "trend", { scope: "col" }));
  for (const column of table.columns) head.append(element("th", column.title, { scope: "col" }));
  const top = element("thead");
  top.append(head);
  const body = element("tbody");
  const earlier = new Map((old?.rows ?? []).map((row) => [row.name, row.cells]));
  for (const row of table.rows) {
    const line = element("tr");
    line.append(element("th", row.name, { scope: "row" }));
    const values = table.columns.map((column, i) =>
      measured(column.kind, row.cells[i], earlier.get(row.name)?.[i], elapsed));
    if (moves) {
      const key = JSON.stringify([table.title, row.name]);
      kept.add(key);
      const cell = element("td", undefined, { class: "trend", "data-title": `${table.columns[0].title}, 2 min` });
      cell.append(trend(remember(key, values[0]), table.columns[0].title));
      line.append(cell);
    }
    table.columns.forEach((column, i) => {
      const cell = element("td", shown(column.kind, values[i]), { "data-title": column.title });
      if (column.kind === "text") cell.classList.add("words");
      if ((BAD.has(column.title) && values[i] > 0) || values[i] === "open") cell.classList.add("bad");
      line.append(cell);
    });
    body.append(line);
  }
  grid.append(top, body);
  section.append(grid);
  if (table.more > 0) section.append(element("p", `and ${table.more} more: see metrics`, { class: "more" }));
  return section;
}

function show(answer) {
  const elapsed = before === null ? 0 : answer.time - before.time;
  const kept = new Set();
  const old = new Map((elapsed > 0 ? before.tables : []).map((table) => [table.title, table]));
  byId("tables").replaceChildren(
    ...answer.tables.map((table) => tableOf(table, old.get(table.title), elapsed, kept)));
  for (const key of history.keys()) if (!kept.has(key)) history.delete(key);
  say(`up ${duration(answer.uptime)}, ${answer.tasks} tasks`, false);
  before = answer;
}

function duration(value) {
  const parts = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];
  const at = Math.max(0, parts.findIndex(([size]) => value >= size));
  const [size, name] = value < 1 ? [1, "s"] : parts[at];
  return `${Math.floor(value / size)} ${name}`;
}

function say(text, lost) {
  const state = byId("state");
  if (state.textContent !== text) state.textContent = text;
  state.classList.toggle("lost", lost);
}

async function turn() {
  if (!paused && !document.hidden) {
    try {
      const answer = await fetch("overview", { signal: AbortSignal.timeout(10000), cache: "no-store" });
      if (!answer.ok) throw new Error(`status ${answer.status}`);
      const told = await answer.json();
      heard = Date.now();
      show(told);
    } catch (error) {
      const since = heard ? `, last heard ${duration((Date.now() - heard) / 1000)} ago` : "";
      say(`no answer (${error.message})${since}`, true);
    }
  }
  setTimeout(turn, EVERY_MS);
}

byId("pause").addEventListener("click", () => {
  paused = !paused;
  byId("pause").setAttribute("aria-pressed", String(paused));
  byId("pause").textContent = paused ? "Go on" : "Pause";
  if (paused) say("paused", false);
  before = null;
});
turn();
