// The frontier explorer: a budget, what it buys, by which policies, where it is spent. Stands after explorers.js.
//
// drawFrontier(root, state, on) draws `frontier_state` of Python and returns update(state), with update.stop().
// It plans nothing: on.look({spend, step, part}) tells what the reader wants to see. Where the answer's details are of
// another budget (state.late), since those take longer, on.details() asks for them once the reader pauses.

const PAUSE_MS = 60;
const SPENDINGS = [
  ["strong_tokens", "strong tokens", "strong tokens per problem"],
  ["regenerations", "regenerated steps", "regenerated steps per problem"],
  ["share", "chance of regenerating", "chance that a step is regenerated"],
];

// What was measured, by kind: what it looks like, and what the keys say of it.
const MEASURED = [
  { name: "threshold", text: "threshold rule, measured", mark: "diamond", class: "tp-mark-threshold" },
  { name: "end", text: "weak-only, strong-only, measured", mark: "square", class: "tp-mark-measured-end" },
  { name: "given", text: "measured", mark: "circle", class: "tp-mark-given" },
];

function drawFrontier(root, state, on = {}) {
  root.classList.add("tp-root", "tp-explorer");
  setAttributes(root, { role: "region", "aria-label": "Frontier explorer" });
  const view = { ...state, what: "strong_tokens", part: null };
  const frame = node("div", { class: "tp-frame" });
  fill(root, frame);
  view.tip = tooltip(root);
  view.spend = state.chosen.spend;
  view.step = state.details.map ? state.details.map.step : 1;
  let pause = null;
  view.ask = (moved) => {
    Object.assign(view, moved);
    parts.forEach((part) => part.moved?.());
    clearTimeout(pause);
    on.look?.({ spend: view.spend, step: view.step, part: view.part });
  };
  const parts = [frontierHead(view), frontierPlot(view), frontierPolicies(view)];
  const left = node("div", { class: "tp-column" }, parts[1].element, parts[2].element);
  const body = node("div", { class: "tp-columns" }, left);
  frame.append(parts[0].element, body);
  if (state.fixed.no_details) {
    left.append(node("p", { class: "tp-note" }, state.fixed.no_details));
    body.classList.add("tp-alone");
  } else {
    const details = [spendingBySteps(view), frontierMap(view)];
    body.append(node("div", { class: "tp-column" }, ...details.map((part) => part.element)));
    parts.push(...details);
  }
  keepKeys(root);
  parts.forEach((part) => part.update());
  const update = (next) => {
    Object.assign(view, next);
    if (!next.late) view.late = false;
    body.classList.toggle("tp-late", Boolean(view.late));
    parts.forEach((part) => part.update());
    clearTimeout(pause);
    if (view.late) pause = setTimeout(() => on.details?.(), PAUSE_MS);
  };
  update.stop = () => {
    clearTimeout(pause);
    parts.forEach((part) => part.stop?.());
  };
  return update;
}

// ---- what was asked for, and what it buys ------------------------------------------------------------------------

function frontierHead(view) {
  const { fixed } = view;
  const tokens = fixed.over === "strong_tokens";
  const step = tokens ? 0.005 : (fixed.high - fixed.low) / 400;
  const format = tokens ? (value) => figure(value, 3) : (value) => String(Number(value.toPrecision(4)));
  const slider = explorerSlider(
    tokens ? "budget" : "money",
    { min: fixed.low, max: fixed.high, step, format, words: fixed.axis },
    (spend) => view.ask({ spend, part: null }),
  );
  slider.element.classList.add("tp-wide");
  const accuracy = bigNumber("accuracy, planned");
  const bound = bigNumber("no policy of this model exceeds");
  const rule = bigNumber("");
  const tokensBox = bigNumber("strong tokens per problem");
  const redone = bigNumber("regenerated, of steps per problem");
  const note = node("p", { class: "tp-note tp-frontier-note" });
  const trouble = explorerTrouble();
  const warnings = fixed.warnings.length
    ? node("details", { class: "tp-warnings" }, node("summary", {}, `⚠ ${fixed.warnings.length} warning(s) of the fit`), ...fixed.warnings.map((text) => node("p", { class: "tp-note" }, text)))
    : null;
  const element = node(
    "header",
    {},
    node("div", { class: "tp-title" }, fixed.title),
    warnings,
    node("div", { class: "tp-controls" }, slider.element),
    node("div", { class: "tp-numbers", "aria-live": "polite" }, ...[accuracy, bound, rule, tokensBox, redone].map((box) => box.element)),
    note,
    trouble.element,
  );
  const moved = () => slider.set(view.spend);
  const update = () => {
    const { chosen } = view;
    moved();
    accuracy.set(figure(chosen.accuracy, 4), "tp-figure-accuracy");
    bound.set(figure(chosen.bound, 4));
    rule.element.hidden = !chosen.threshold;
    if (chosen.threshold) rule.set(figure(chosen.threshold.accuracy, 4));
    if (chosen.threshold) rule.say(`threshold rule of this budget, k\u00a0=\u00a0${figure(chosen.threshold.k, 3)}`);
    tokensBox.set(figure(chosen.strong_tokens, 1));
    redone.set(`${figure(chosen.regenerations, 2)} of ${figure(chosen.steps, 2)}`);
    setText(note, chosen.note || "");
    note.hidden = !chosen.note;
    trouble.update(view.trouble);
  };
  return { element, update, moved };
}

function bigNumber(words) {
  const value = node("span", { class: "tp-value" });
  const told = node("span", { class: "tp-words" }, words);
  return {
    element: node("div", { class: "tp-number-box" }, value, told),
    say: (text) => setText(told, text),
    set(text, name) {
      setText(value, text);
      if (name) value.classList.add(name);
    },
  };
}

// ---- accuracy against budget -------------------------------------------------------------------------------------

function frontierPlot(view) {
  const { fixed } = view;
  const panel = explorerPanel("Accuracy against what is spent");
  const place = node("div", { class: "tp-drag" });
  panel.element.append(place, frontierKeys(fixed));
  if (fixed.measured.length) panel.element.append(node("p", { class: "tp-note" }, "Bars: 95% intervals."));
  let scales = null;
  const cursor = shape("line", { class: "tp-cursor" });
  const dot = shape("circle", { class: "tp-chosen-dot", r: 6 });
  const look = { label: "Accuracy against what is spent", margin: { top: 26, left: 42, right: 14, bottom: 40 } };
  const drawing = plot(place, { ...look, height: (width) => (width < 500 ? 280 : 340) }, (area) => {
    scales = frontierScales(area, fixed);
    paintFrontier(area, scales, fixed);
    setAttributes(cursor, { y1: area.top, y2: area.bottom });
    follow();
  });
  drawing.area.front.append(cursor, dot);
  const follow = () => {
    if (scales === null) return;
    const x = scales.x(view.spend);
    setAttributes(cursor, { x1: x, x2: x });
    setAttributes(dot, { cx: scales.x(view.chosen.spent), cy: scales.y(view.chosen.accuracy) });
  };
  const go = (x) => {
    const wanted = Math.min(fixed.high, Math.max(fixed.low, scales.x.invert(x)));
    view.ask({ spend: fixed.over === "money" ? wanted : Number(wanted.toFixed(3)), part: null });
  };
  draggable(drawing.element, { start: (x) => go(x), move: (x) => go(x) });
  return { element: panel.element, update: follow, moved: follow, stop: drawing.stop };
}

function frontierKeys(fixed) {
  const keys = [
    { text: "planned", line: true, class: "tp-line-planned" },
    { text: "certified bound", line: true, class: "tp-line-bound" },
    fixed.thresholds.x.length ? { text: "threshold rule, same model", line: true, class: "tp-line-rule" } : null,
    { text: "weak-only, strong-only, same model", mark: "square", class: "tp-mark-end" },
    ...MEASURED.map((kind) => (hasKind(fixed, kind.name) ? kind : null)),
  ];
  return explorerKeys(keys.filter((item) => item !== null));
}

function frontierScales(area, fixed) {
  const low = fixed.over === "money" ? 0 : -0.02;
  const places = [...fixed.measured.map((point) => point.x_high ?? point.x), ...fixed.ends.map((end) => end.x)];
  const right = Math.max(fixed.high, ...places, ...fixed.thresholds.x);
  return {
    x: linearScale([low, right * 1.03], [area.left, area.right]),
    y: linearScale(frontierHeights(fixed), [area.bottom, area.top]),
  };
}

function paintFrontier(area, { x, y }, fixed) {
  axisBottom(area, x, { label: area.width < 420 && fixed.over !== "money" ? "budget" : fixed.axis });
  axisLeft(area, y, { label: "accuracy: share of problems solved", count: 6 });
  const group = shape("g");
  drawLine(group, fixed.bound.x, fixed.bound.y, x, y, { class: "tp-line-bound" });
  drawLine(group, fixed.thresholds.x, fixed.thresholds.y, x, y, { class: "tp-line-rule" });
  drawLine(group, fixed.hull.x, fixed.hull.y, x, y, { class: "tp-line-planned" });
  for (const { name, mark, class: look } of MEASURED) {
    const points = fixed.measured.filter((point) => point.kind === name).map(measuredPoint);
    drawPoints(group, points, x, y, { mark, class: look, size: 4 });
  }
  nameRuns(group, fixed.measured.filter((point) => point.kind === "given"), x, y);
  const ends = fixed.ends.map((end) => ({ ...end, label: `${end.name}: accuracy ${figure(end.y, 4)}` }));
  drawPoints(group, ends, x, y, { mark: "square", class: "tp-mark-end", size: 4.5 });
  area.back.append(group);
}

function frontierHeights(fixed) {
  const measured = fixed.measured.flatMap((point) => [point.y, point.y_low, point.y_high]);
  const [low, high] = extent([...fixed.hull.y, ...fixed.thresholds.y, ...fixed.ends.map((end) => end.y), ...measured]);
  const room = Math.max(0.01, 0.06 * (high - low));
  return [Math.max(0, low - room), Math.min(1, high + room)];
}

function hasKind(fixed, kind) {
  return fixed.measured.some((point) => point.kind === kind);
}

// What a reader named stands beside its point, on the side where there is room.
function nameRuns(group, points, scaleX, scaleY) {
  const middle = (scaleX.range[0] + scaleX.range[1]) / 2;
  for (const point of points) {
    const x = scaleX(point.x);
    const onTheLeft = x > middle;
    const at = { x: x + (onTheLeft ? -9 : 9), y: scaleY(point.y) + 4, "text-anchor": onTheLeft ? "end" : "start" };
    group.append(shape("text", { ...at, class: "tp-map-label" }, shortened(point.label)));
  }
}

function shortened(text) {
  return text.length > 28 ? `${text.slice(0, 27)}…` : text;
}

function measuredPoint(point) {
  const { x, y, label } = point;
  return { x, y, low: point.y_low, high: point.y_high, xLow: point.x_low, xHigh: point.x_high, label: `${label}: ${figure(y, 3)} at ${brief(x)}` };
}

// ---- the policies that are drawn from ----------------------------------------------------------------------------

function frontierPolicies(view) {
  const panel = explorerPanel("The policy");
  const words = node("p", { class: "tp-note" });
  const head = ["", "drawn for", view.fixed.over === "strong_tokens" ? "budget" : "money", "accuracy", "regenerated steps"];
  const rows = node("tbody", {});
  const table = node("table", { class: "tp-table" }, node("thead", {}, node("tr", {}, ...head.map((text) => node("th", { scope: "col" }, text)))), rows);
  panel.element.append(words, table);
  const update = () => {
    const { policies } = view.chosen;
    setText(words, policies.length === 1 ? "One policy spends just this." : "One of two neighbours is drawn for each problem, so that the expected spending is met.");
    const lines = policies.map((policy) => {
      const bar = node("span", { class: "tp-share", "aria-hidden": "true" }, node("span", { style: `width: ${(100 * policy.probability).toFixed(1)}%` }));
      const share = node("td", { class: "tp-share-cell" }, bar, `${figure(100 * policy.probability, 1)}% of problems`);
      const numbers = [figure(policy.spent, view.fixed.over === "strong_tokens" ? 4 : 6), figure(policy.accuracy, 4), figure(policy.regenerations, 2)];
      return node("tr", {}, node("th", { scope: "row" }, policy.label), share, ...numbers.map((text) => node("td", {}, text)));
    });
    fill(rows, ...lines);
  };
  return { element: panel.element, update };
}

// ---- spending by step --------------------------------------------------------------------------------------------

function spendingBySteps(view) {
  const panel = explorerPanel("Where it is spent, by step");
  const select = node("select", { "aria-label": "what is counted by step" }, ...SPENDINGS.map(([name, , text]) => node("option", { value: name }, text)));
  const ruleKey = { text: "threshold rule, same budget", line: true, class: "tp-line-rule" };
  const keys = explorerKeys([{ text: "this policy", fill: "var(--tp-strong)" }, ruleKey]);
  const place = node("div", {});
  panel.element.append(node("div", { class: "tp-controls" }, select), place, keys);
  const drawing = plot(place, { label: "Spending by step", height: 170, margin: { top: 22, left: 42, right: 10, bottom: 36 } }, (area) => paintSpending(area, view));
  select.addEventListener("change", () => {
    view.what = select.value;
    update();
  });
  const update = () => {
    keys.lastChild.hidden = view.what !== "strong_tokens" || !view.details.by_step.threshold;
    drawing.paint();
  };
  drawing.element.addEventListener("pointermove", (event) => {
    const lines = spendingAt(event, drawing.area, view);
    if (lines) view.tip.show(event, lines);
    else view.tip.hide();
  });
  drawing.element.addEventListener("pointerleave", () => view.tip.hide());
  return { element: panel.element, update, stop: drawing.stop };
}

function paintSpending(area, view) {
  const values = view.details.by_step[view.what].slice(0, view.details.by_step.shown);
  const rule = view.what === "strong_tokens" ? (view.details.by_step.threshold || []).slice(0, values.length) : [];
  const x = bandScale(values.length, [area.left, area.right]);
  const most = Math.max(...values.filter(isNumber), ...rule, 1e-9);
  const y = linearScale([0, view.what === "share" ? Math.min(1, most * 1.05) : most * 1.05], [area.bottom, area.top]);
  const every = Math.ceil(values.length / Math.max(4, Math.floor(area.width / 34)));
  axisBottom(area, x, { label: "step", ticks: values.map((_, index) => index).filter((index) => index % every === 0), format: (index) => String(index + 1) });
  axisLeft(area, y, { label: SPENDINGS.find(([name]) => name === view.what)[1], count: 3 });
  const group = shape("g");
  drawBars(group, values, x, y, { attributes: { class: "tp-bar-strong" } });
  if (rule.length) drawLine(group, rule.map((_, index) => index), rule, x, y, { class: "tp-line-rule" });
  area.back.append(group);
}

function spendingAt(event, area, view) {
  const frame = area.svg.getBoundingClientRect();
  const by = view.details.by_step;
  const left = event.clientX - frame.left;
  if (left < area.left || left > area.right) return null;
  const index = bandScale(by.shown, [area.left, area.right]).invert(left);
  const lines = [`step ${index + 1}: ${brief(by.steps[index])} reach it`, `strong tokens ${brief(by.strong_tokens[index])}`, `regenerated ${brief(by.regenerations[index])}`];
  if (by.threshold) lines.push(`threshold rule: ${brief(by.threshold[index])} strong tokens`);
  return lines;
}

// ---- the map -----------------------------------------------------------------------------------------------------

function frontierMap(view) {
  const panel = explorerPanel("");
  const map = policyMap(view.tip, { height: 290 });
  const slider = explorerSlider("step", { min: 0, max: 1, step: 1, format: (value) => String(value + 1) }, (step) => view.ask({ step }));
  const part = node("select", { "aria-label": "which of the two policies" });
  const controls = node("div", { class: "tp-controls" }, slider.element, part);
  part.addEventListener("change", () => view.ask({ part: part.selectedIndex }));
  panel.element.append(controls, map.element);
  const update = () => {
    const state = view.details.map;
    setText(panel.heading, `Where it ${state.does}`);
    slider.element.hidden = !state.grid;
    setAttributes(slider.input, { max: state.last_step });
    slider.set(Math.min(view.step, state.last_step));
    part.hidden = state.parts.length < 2 || !state.grid;
    offer(part, state.parts.map(partLabel), state.part);
    map.update(state);
  };
  return { element: panel.element, update, stop: map.stop };
}
