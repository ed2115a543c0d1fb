// The report: charts of what Python counted, the list of problems, and the annotated solution of one of them.
//
// It draws, filters and looks up; it computes nothing of any model. What it needs at once stands in #tp-data; the
// solutions are packed in chunks (JSON, gzip, base64) that are opened when somebody looks at one of them.

const ROWS_AT_ONCE = 200;

function startReport() {
  const began = performance.timeOrigin;
  const report = JSON.parse(document.getElementById("tp-data").textContent);
  const view = {
    report,
    place: placesOf(report.ids),
    chunks: new Map(),
    run: 0,
    filter: null,
    words: "",
    sort: null,
    shown: [],
    drawing: null,
    scrolled: 0,
  };
  themeSwitch();
  problemList(view);
  addEventListener("hashchange", () => route(view));
  addEventListener("keydown", (event) => keys(view, event));
  route(view);
  document.body.dataset.tpUsable = String(Math.round(Date.now() - began));
  requestAnimationFrame(() => drawCharts(view));
}

// Where problems of an id stand in the list: several of them, where problem sets of several runs use the same ids.
function placesOf(ids) {
  const found = new Map();
  ids.forEach((id, index) => found.set(id, [...(found.get(id) || []), index]));
  return found;
}

// A count, thousands apart as in the tables.
function whole(count) {
  return String(count).replace(/\B(?=(\d{3})+$)/g, "\u202f");
}

function counted(count, noun) {
  return `${whole(count)} ${noun}${count === 1 ? "" : "s"}`;
}

// ---- light and dark ----------------------------------------------------------------------------------------------

function themeSwitch() {
  const button = document.getElementById("tp-theme");
  const root = document.documentElement;
  const prefers = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : prefers.matches);
  const told = () => setText(button, isDark() ? "Light" : "Dark");
  try {
    const kept = localStorage.getItem("tp-theme");
    if (kept === "dark" || kept === "light") root.dataset.theme = kept;
  } catch {
    // A page that may keep nothing follows the system.
  }
  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    told();
    try {
      localStorage.setItem("tp-theme", root.dataset.theme);
    } catch {
      // As above.
    }
  });
  prefers.addEventListener("change", told);
  told();
}

// ---- the list of problems ----------------------------------------------------------------------------------------

// A row of the list in a run: [outcome, reason, answer, reference, steps, regenerations, strong tokens, q, error, filters].
const ROW = { outcome: 0, reason: 1, answer: 2, reference: 3, steps: 4, regenerations: 5, strong: 6, q: 7, error: 8, filters: 9 };

const COLUMNS = [
  { name: "outcome", head: "outcome", value: (row) => outcomeOf(row).order },
  { name: "problem", head: "problem", value: (row, view, index) => index },
  { name: "answer", head: "answer", value: (row) => row[ROW.answer] || "" },
  { name: "steps", head: "steps", number: true, value: (row) => row[ROW.steps] },
  { name: "regenerations", head: "regenerated", number: true, value: (row) => row[ROW.regenerations] },
  { name: "strong", head: "strong tokens", number: true, value: (row) => row[ROW.strong] },
  { name: "q", head: "believed right", number: true, value: (row) => (row[ROW.q] === null ? -1 : row[ROW.q]) },
];

// The words are Python's.
const OUTCOMES = {
  failed: { sign: "!", look: "tp-is-failed", order: 0 },
  wrong: { sign: "✗", look: "tp-is-wrong", order: 1 },
  "not known": { sign: "?", look: "tp-is-unknown", order: 2 },
  right: { sign: "✓", look: "tp-is-right", order: 3 },
};

function outcomeOf(row) {
  return { word: row[ROW.outcome], ...OUTCOMES[row[ROW.outcome]] };
}

function problemList(view) {
  const search = document.getElementById("tp-search");
  let waiting = 0;
  search.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => {
      view.words = search.value;
      listProblems(view);
    }, 60);
  });
  document.getElementById("tp-more").addEventListener("click", () => addRows(view));
  runChips(view);
  filterChips(view);
  heads(view);
  listProblems(view);
}

function runChips(view) {
  const place = document.getElementById("tp-runs");
  place.hidden = view.report.runs.length < 2;
  const made = view.report.runs.map((run, index) => chip(`${run.letter} ${run.name} · ${run.policy}`, () => chooseRun(view, index)));
  fill(place, ...made);
  pressed(place, view.run);
}

function chooseRun(view, index) {
  if (view.run === index) return;
  view.run = index;
  view.filter = null;
  pressed(document.getElementById("tp-runs"), index);
  filterChips(view);
  listProblems(view);
}

function chip(text, chosen, title) {
  return node("button", { type: "button", class: "tp-chip", onclick: chosen, title }, text);
}

// Buttons stay the elements that they are, so that the one that was pressed keeps the focus.
function pressed(place, chosen) {
  [...place.children].forEach((button, index) => setAttributes(button, { "aria-pressed": String(index === chosen) }));
}

// Filters stand as bits in the rows.
function filtersOf(view) {
  const rows = view.report.rows[view.run].filter(Boolean);
  return view.report.filters.map(({ name, meaning }, bit) => {
    const test = (row) => (row[ROW.filters] >> bit) & 1;
    return { name, meaning, test, count: rows.filter(test).length };
  }).filter((item) => item.count);
}

function filterChips(view) {
  const place = document.getElementById("tp-filters");
  const choose = (name) => () => {
    view.filter = view.filter === name ? null : name;
    shown();
    listProblems(view);
  };
  const shown = () => pressed(place, 1 + view.filters.findIndex((item) => item.name === view.filter));
  const all = view.report.rows[view.run].filter(Boolean).length;
  view.filters = filtersOf(view);
  const made = view.filters.map((item) => chip(`${item.name} ${whole(item.count)}`, choose(item.name), item.meaning));
  fill(place, chip(`all ${whole(all)}`, choose(null)), ...made);
  shown();
}

function heads(view) {
  const cells = COLUMNS.map((column) => {
    const first = column.number ? -1 : 1;
    const press = () => {
      const sorted = view.sort && view.sort.name === column.name ? view.sort : null;
      if (!sorted) view.sort = { name: column.name, sign: first };
      else view.sort = sorted.sign === first ? { name: column.name, sign: -first } : null;
      sortMarks(view);
      listProblems(view);
    };
    return node("th", { scope: "col", class: `tp-col-${column.name}` }, node("button", { type: "button", class: "tp-sort", onclick: press }));
  });
  if (view.report.runs.length > 1) cells.push(node("th", { scope: "col", class: "tp-col-others" }, "all runs"));
  fill(document.getElementById("tp-heads"), ...cells);
  sortMarks(view);
}

function sortMarks(view) {
  const cells = document.getElementById("tp-heads").children;
  COLUMNS.forEach((column, index) => {
    const sorted = view.sort && view.sort.name === column.name ? view.sort : null;
    setText(cells[index].firstChild, `${column.head}${sorted ? (sorted.sign > 0 ? " ↑" : " ↓") : ""}`);
    setAttributes(cells[index], { "aria-sort": sorted ? (sorted.sign > 0 ? "ascending" : "descending") : null });
  });
}

function listProblems(view) {
  const rows = view.report.rows[view.run];
  const filter = view.filters.find((item) => item.name === view.filter);
  const words = view.words.toLowerCase().split(/\s+/).filter(Boolean);
  const found = [];
  rows.forEach((row, index) => {
    if (!row || (filter && !filter.test(row))) return;
    if (words.length) {
      const text = searched(view, row, index);
      if (!words.every((word) => text.includes(word))) return;
    }
    found.push(index);
  });
  if (view.sort) {
    const column = COLUMNS.find((item) => item.name === view.sort.name);
    const value = (index) => column.value(rows[index], view, index);
    found.sort((a, b) => view.sort.sign * (value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0) || a - b);
  }
  view.shown = found;
  const total = rows.filter(Boolean).length;
  setText(document.getElementById("tp-told"), found.length === total ? counted(total, "problem") : `${whole(found.length)} of ${counted(total, "problem")}`);
  fill(document.getElementById("tp-rows"));
  addRows(view);
}

function searched(view, row, index) {
  const parts = [view.report.ids[index], view.report.prompts[index], row[ROW.answer], row[ROW.reference], row[ROW.reason], row[ROW.error]];
  return parts.filter(Boolean).join("\n").toLowerCase();
}

function addRows(view) {
  const body = document.getElementById("tp-rows");
  const from = body.childElementCount;
  const next = view.shown.slice(from, from + ROWS_AT_ONCE);
  body.append(...next.map((index) => problemRow(view, index)));
  const left = view.shown.length - from - next.length;
  const more = document.getElementById("tp-more");
  more.hidden = left === 0;
  setText(more, `Show ${Math.min(left, ROWS_AT_ONCE)} more of ${whole(left)}`);
}

function problemRow(view, index) {
  const row = view.report.rows[view.run][index];
  const outcome = outcomeOf(row);
  const id = view.report.ids[index];
  const link = node("a", { href: linkTo(view, index, view.run) }, id);
  const prompt = view.report.prompts[index];
  const answer = row[ROW.error] || (row[ROW.answer] === null ? row[ROW.reason] : row[ROW.answer]);
  const wanted = row[ROW.outcome] === "wrong" && row[ROW.reference] !== null ? node("span", { class: "tp-wanted" }, ` · right: ${row[ROW.reference]}`) : null;
  const cells = [
    node("td", { class: "tp-col-outcome" }, node("span", { class: `tp-outcome-mark ${outcome.look}` }, `${outcome.sign} ${outcome.word}`)),
    node("td", { class: "tp-col-problem" }, link, prompt ? node("span", { class: "tp-excerpt" }, prompt) : null),
    node("td", { class: `tp-col-answer${row[ROW.answer] === null ? " tp-none" : ""}` }, answer, wanted),
    node("td", { class: "tp-col-steps" }, String(row[ROW.steps])),
    node("td", { class: "tp-col-regenerations" }, String(row[ROW.regenerations])),
    node("td", { class: "tp-col-strong" }, whole(row[ROW.strong])),
    node("td", { class: "tp-col-q" }, chance(row[ROW.q])),
  ];
  if (view.report.runs.length > 1) cells.push(node("td", { class: "tp-col-others" }, ...othersOf(view, index)));
  const open = (event) => {
    if (event.target.closest("a") || !document.getSelection().isCollapsed) return;
    location.hash = linkTo(view, index, view.run);
  };
  return node("tr", { class: "tp-problem", onclick: open }, ...cells);
}

function othersOf(view, index) {
  return view.report.runs.map((run, other) => {
    const row = view.report.rows[other][index];
    const outcome = row ? outcomeOf(row) : { sign: "–", word: "not in this run", look: "tp-is-unknown" };
    return node("span", { class: `tp-other-run ${outcome.look}`, title: `${run.name}: ${outcome.word}` }, `${run.letter}${outcome.sign} `);
  });
}

// ---- links -------------------------------------------------------------------------------------------------------

// #problem=ID, and #problem=ID&run=2 for another run than the first that has such a problem.
function linkTo(view, index, run) {
  const id = view.report.ids[index];
  const first = view.report.rows.findIndex((rows) => view.place.get(id).some((place) => rows[place]));
  return `#problem=${encodeURIComponent(id)}${run === first ? "" : `&run=${run + 1}`}`;
}

// What the address asks for: {index, run}; {missing: id} of a problem that is not here; or a section, null. Links of
// older reports are #ID, which is a problem unless a section is called so.
function readLink(view) {
  const [text, number] = location.hash.slice(1).split("&run=");
  const named = text.startsWith("problem=");
  const id = decoded(named ? text.slice("problem=".length) : text);
  if (!id && !named) return null;
  if (!named && document.getElementById(id)?.closest("#tp-overview")) return null;
  const places = view.place.get(id);
  if (!places) return { missing: id };
  const runs = view.report.rows.map((_, run) => run);
  const at = (run) => places.find((index) => view.report.rows[run] && view.report.rows[run][index]);
  const wanted = Number(number) - 1;
  const run = at(wanted) === undefined ? runs.find((other) => at(other) !== undefined) : wanted;
  return { index: at(run), run };
}

function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text; // Not one of ours: taken as it is.
  }
}

function route(view) {
  const place = readLink(view);
  const [overview, solution] = [document.getElementById("tp-overview"), document.getElementById("tp-solution")];
  const missing = document.getElementById("tp-missing");
  missing.hidden = !(place && place.missing !== undefined);
  if (place && missing.hidden) {
    if (!overview.hidden) view.scrolled = scrollY;
    overview.hidden = true;
    solution.hidden = false;
    openProblem(view, place.index, place.run);
    return;
  }
  const left = overview.hidden ? view.opened : null;
  view.opened = null; // What is still being unpacked is not drawn any more.
  overview.hidden = false;
  solution.hidden = true;
  closeDrawing(view);
  document.title = view.report.title;
  if (!missing.hidden) {
    setText(missing, `This report has no problem “${place.missing}”.`);
    missing.scrollIntoView({ block: "center" });
    return;
  }
  const section = location.hash.length > 1 ? document.getElementById(decoded(location.hash.slice(1))) : null;
  if (left && section && section.id === "tp-problems") backInList(view, left);
  else if (section) section.scrollIntoView();
}

// The list where it was, of the run that was looked at, with the focus on the problem's row.
function backInList(view, { index, run }) {
  chooseRun(view, run);
  scrollTo({ top: view.scrolled, behavior: "instant" });
  const row = view.shown.indexOf(index);
  document.querySelectorAll("#tp-rows .tp-col-problem a")[row]?.focus({ preventScroll: view.scrolled > 0 });
}

function keys(view, event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName);
  const solution = !document.getElementById("tp-solution").hidden;
  if (event.key === "/" && !typing && !solution) {
    document.getElementById("tp-search").focus();
    event.preventDefault();
  }
  if (!solution || typing) return;
  if (event.key === "Escape") location.hash = "#tp-problems";
  if (event.key === "n" && view.after) location.hash = view.after;
  if (event.key === "p" && view.before) location.hash = view.before;
}

// ---- one solution ------------------------------------------------------------------------------------------------

async function openProblem(view, index, run) {
  const id = view.report.ids[index];
  document.title = `${id} · ${view.report.title}`;
  setText(document.getElementById("tp-name"), id);
  neighbours(view, index, run);
  versions(view, index, run);
  const opened = { index, run };
  view.opened = opened;
  const detail = await detailOf(view, index, run);
  if (view.opened !== opened) return; // Somebody has gone on meanwhile.
  closeDrawing(view);
  const place = node("div");
  fill(document.getElementById("tp-drawing"), place);
  fill(document.getElementById("tp-notes"), ...detail.notes.map((text) => node("p", { class: "tp-note" }, text)));
  drawSolution(view, place, detail, view.report.runs[run]);
  scrollTo({ top: 0, behavior: "instant" });
  place.querySelector(".tp-steps")?.focus({ preventScroll: true }); // Arrows walk the steps at once.
}

function neighbours(view, index, run) {
  const list = view.run === run && view.shown.includes(index) ? view.shown : view.report.ids.map((_, i) => i).filter((i) => view.report.rows[run][i]);
  const at = list.indexOf(index);
  const [before, after] = [document.getElementById("tp-before"), document.getElementById("tp-after")];
  view.before = at > 0 ? linkTo(view, list[at - 1], run) : null;
  view.after = at < list.length - 1 ? linkTo(view, list[at + 1], run) : null;
  setAttributes(before, { href: view.before, "aria-disabled": view.before ? null : "true" });
  setAttributes(after, { href: view.after, "aria-disabled": view.after ? null : "true" });
  setText(document.getElementById("tp-place"), `${at + 1} of ${list.length}`);
}

function versions(view, index, run) {
  const place = document.getElementById("tp-versions");
  place.hidden = view.report.runs.length < 2;
  const made = view.report.runs.map((item, other) => {
    const row = view.report.rows[other][index];
    if (!row) return null;
    const outcome = outcomeOf(row);
    const here = { class: "tp-chip", href: linkTo(view, index, other), "aria-current": other === run ? "true" : null };
    return node("a", here, `${item.letter} ${item.name} · ${item.policy}: ${outcome.sign} ${outcome.word}, ${counted(row[ROW.strong], "strong token")}`);
  });
  fill(place, ...made);
}

async function detailOf(view, index, run) {
  const number = Math.floor(index / view.report.chunk);
  if (!view.chunks.has(number)) view.chunks.set(number, opened(document.getElementById(`tp-chunk-${number}`).textContent));
  const chunk = await view.chunks.get(number);
  return chunk[index % view.report.chunk][run];
}

// gzip in base64 → JSON.
async function opened(text) {
  const bytes = Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

// detail: {notes, states: [{policy, steps, …} or null], curves: [[curve or null]], own}; a state that is not the run's
// own says only what is otherwise under that policy.
function drawSolution(view, place, detail, run) {
  const own = detail.states[detail.own];
  const known = detail.states.map((_, index) => index).filter((index) => detail.states[index]);
  let policy = detail.own;
  let chosen = 0;
  const labels = known.map((index) => run.policies[index].label);
  const state = () => {
    const other = detail.states[policy];
    const steps = policy === detail.own ? own.steps : other.steps.map((step, index) => ({ ...own.steps[index], ...step }));
    const last = Math.max(0, steps.length - 1);
    chosen = Math.min(chosen, last);
    const curves = detail.curves[policy];
    const budgets = known.length > 1 ? { labels, chosen: known.indexOf(policy), note: policy === detail.own ? "the policy that routed it" : "not the policy that routed it" } : null;
    const controls = { budgets, beliefs: null, edited: policy !== detail.own };
    return { ...own, ...other, steps, chosen, curve: (curves && curves[chosen]) || null, controls };
  };
  const on = {
    choose(step) {
      chosen = step;
      view.drawing(state());
    },
    budget(index) {
      policy = known[index];
      view.drawing(state());
    },
  };
  if (known.length > 1) {
    on.reset = () => {
      policy = detail.own;
      const slider = place.querySelector('input[type="range"]');
      if (slider) slider.value = String(known.indexOf(policy));
      view.drawing(state());
    };
  }
  view.drawing = drawInspector(place, state(), on);
}

function closeDrawing(view) {
  view.drawing?.stop?.();
  view.drawing = null;
  fill(document.getElementById("tp-drawing"));
}

// ---- charts ------------------------------------------------------------------------------------------------------

function drawCharts(view) {
  const draw = { outcome: outcomeChart, steps: stepsChart, calibration: calibrationChart };
  document.querySelectorAll(".tp-chart").forEach((place) => draw[place.dataset.chart](view.report, place));
}

// Strong tokens (as a share of strong-only's, where that is known) against accuracy.
function outcomeChart(report, place) {
  const points = report.runs.flatMap((run) => run.points);
  if (!points.some((point) => isNumber(point.y))) return place.closest("figure").remove();
  const name = points.some((point) => point.share) ? "share of strong-only’s tokens" : "strong tokens per problem";
  const margin = { top: 26, left: 44, right: 16, bottom: 40 };
  plot(place, { height: (width) => Math.min(340, Math.max(240, width * 0.62)), margin, label: "Budget against accuracy" }, (area) => {
    const [low, high] = extent(points.flatMap((point) => [point.y, point.low, point.high]));
    const [, most] = extent(points.flatMap((point) => [point.x, point.xHigh]));
    const spare = Math.max(0.02, 0.08 * (high - low));
    const x = linearScale([0, most * 1.06 || 1], [area.left, area.right]);
    const y = linearScale([Math.max(0, low - spare), Math.min(1, high + spare)], [area.bottom, area.top]);
    axisLeft(area, y, { label: "accuracy" });
    axisBottom(area, x, { label: name });
    const named = new Set();
    for (const run of report.runs) {
      const ends = run.points.filter((point) => point.kind === "end").sort((a, b) => a.x - b.x);
      if (ends.length === 2) drawLine(area.back, ends.map((end) => end.x), ends.map((end) => end.y), x, y, { class: "tp-chord" });
      drawPoints(area.back, ends, x, y, { class: "tp-end-mark", mark: "square", size: 4 });
      // Runs of one plan have the same ends: each is named once.
      ends.filter((end) => !named.has(end.name)).forEach((end) => area.back.append(shape("text", { x: x(end.x) + (x(end.x) > area.right - 80 ? 6 : -4), y: y(end.y) - 8, "text-anchor": x(end.x) > area.right - 80 ? "end" : "start", class: "tp-mark-name tp-haloed" }, end.name)));
      ends.forEach((end) => named.add(end.name));
      const planned = run.points.filter((point) => point.kind === "planned");
      drawPoints(area.back, planned, x, y, { class: "tp-planned-mark", mark: "diamond", size: 5 });
      if (report.runs.length > 1) planned.forEach((point) => area.back.append(shape("text", { x: x(point.x) - 9, y: y(point.y) + 14, "text-anchor": "end", class: "tp-mark-name tp-haloed" }, run.letter)));
      const measured = run.points.filter((point) => point.kind === "measured");
      drawPoints(area.back, measured, x, y, { class: "tp-measured-mark", size: 4.5 });
      measured.filter((point) => isNumber(point.y)).forEach((point) => area.back.append(shape("text", { x: x(point.x) + 9, y: y(point.y) - 8, class: "tp-mark-name tp-strong-name tp-haloed" }, report.runs.length > 1 ? run.letter : "measured")));
    }
  });
}

const STEP_KINDS = [
  ["regenerated", "regenerated", "tp-fill-strong"],
  ["kept", "kept", "tp-fill-weak"],
  ["capped", "kept, out of strong tokens", "tp-fill-capped"],
  ["alone", "no decision", "tp-fill-alone"],
  ["failed", "failed", "tp-fill-failed"],
];

// Regenerated is striped as well as orange, here and in its key.
function stripesIn(group) {
  const id = uniqueName("stripes");
  const line = shape("rect", { width: 1.5, height: 5, class: "tp-stripe" });
  group.append(shape("defs", {}, shape("pattern", { id, width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, line)));
  return id;
}

function stepsChart(report, place) {
  const rows = report.runs[Number(place.dataset.run)].by_step;
  const kinds = STEP_KINDS.filter(([kind]) => rows.some((row) => row[kind]));
  if (!rows.length) return place.closest("figure").remove();
  place.append(node("div", { class: "tp-keys" }, ...kinds.map(([, name, look]) => node("span", { class: "tp-key" }, node("span", { class: `tp-swatch ${look}` }), name))));
  const chart = node("div");
  place.append(chart);
  const tip = tooltip(place);
  const margin = { top: 24, left: 44, right: 8, bottom: 40 };
  plot(chart, { height: 240, margin, label: "Decisions by step" }, (area) => {
    const y = linearScale([0, 1.08 * Math.max(...rows.map((row) => row.reached))], [area.bottom, area.top]);
    const bands = bandScale(rows.length, [area.left, Math.min(area.right, area.left + 56 * rows.length)]);
    const width = Math.min(34, bands.width * 0.78);
    axisLeft(area, y, { label: "problems" });
    const stripes = stripesIn(area.back);
    const every = Math.max(1, Math.ceil(24 / bands.width));
    const axis = { ...area, right: Math.min(area.right, area.left + 56 * rows.length) };
    const scale = Object.assign((index) => bands(index), { ticks: () => [] });
    axisBottom(axis, scale, { label: "step", ticks: rows.map((_, index) => index).filter((index) => index % every === 0), format: (index) => String(rows[index].step) });
    rows.forEach((row, index) => {
      let floor = 0;
      const bar = shape("g");
      for (const [kind, , look] of kinds) {
        const top = floor + row[kind];
        const place = { x: bands(index) - width / 2, width, y: y(top), height: Math.max(0, y(floor) - y(top)) };
        if (row[kind]) bar.append(shape("rect", { ...place, class: look }));
        if (row[kind] && kind === "regenerated") bar.append(shape("rect", { ...place, class: "tp-over-stripes", fill: `url(#${stripes})` }));
        floor = top;
      }
      const lines = [`step ${row.step}: ${counted(row.reached, "problem")}`, ...kinds.filter(([kind]) => row[kind]).map(([kind, name]) => `${name} ${whole(row[kind])}`), `strong tokens ${whole(row.strong_tokens)}`];
      bar.addEventListener("pointermove", (event) => tip.show(event, lines));
      bar.addEventListener("pointerleave", () => tip.hide());
      bar.append(shape("title", {}, lines.join("\n")));
      area.back.append(bar);
    });
  });
}

// Believed against true, and under it how many cases each point is of.
function calibrationChart(report, place) {
  const part = report.runs[Number(place.dataset.run)].calibration[Number(place.dataset.part)];
  const bins = part.bins;
  const margin = { top: 26, left: 44, right: 16, bottom: 82 };
  plot(place, { height: (width) => Math.min(360, Math.max(280, width * 0.8)), margin, label: part.caption }, (area) => {
    const x = linearScale([0, 1], [area.left, area.right]);
    const y = linearScale([0, 1.05], [area.bottom, area.top]);
    axisLeft(area, y, { label: part.axis, ticks: [0, 0.25, 0.5, 0.75, 1] });
    axisBottom(area, x, { label: "believed", ticks: [0, 0.25, 0.5, 0.75, 1] });
    area.back.append(shape("line", { class: "tp-chord", x1: x(0), y1: y(0), x2: x(1), y2: y(1) }));
    const points = bins.map((bin) => ({ x: bin.believed, y: bin.true, low: bin.interval?.[0], high: bin.interval?.[1], label: `believed ${figure(bin.believed, 3)}, true ${figure(bin.true, 3)} of ${bin.count}` }));
    drawPoints(area.back, points, x, y, { class: "tp-measured-mark", size: 4.5 });
    const most = Math.max(...bins.map((bin) => bin.count));
    const foot = area.height - 6;
    for (const bin of bins) {
      const height = Math.max(1.5, (30 * bin.count) / most);
      const [left, right] = [x(bin.low), x(bin.high)];
      area.back.append(shape("rect", { class: "tp-count-bar", x: left + 1, width: Math.max(2, right - left - 2), y: foot - height, height }, shape("title", {}, `${bin.count} cases`)));
    }
  });
}

startReport();
