// The observation explorer: what scores look like by class, what a score is worth, what transfer changes.
// Stands after explorers.js.
//
// drawObservations(root, state, on) draws `observation_state` of Python and returns update(state);
// on.move({false_alarms, misses, look_right, base_rate}) tells where the sliders stand.

const TRANSFERS = [
  ["false_alarms", "false alarms e", "share of right steps that look like first wrong ones"],
  ["misses", "misses d", "share of first wrong steps that look like right ones"],
  ["look_right", "looks right p_d", "how often a step of a derailed solution looks right"],
  ["base_rate", "right steps", "share of right steps after a right prefix: it moves what a score is worth, not how steps score"],
];
const SEEN_CLASSES = ["S0, right", "S1, derailed earlier", "S2, first error"];

function drawObservations(root, state, on = {}) {
  root.classList.add("tp-root", "tp-explorer");
  setAttributes(root, { role: "region", "aria-label": "Observation explorer" });
  const view = { state, at: { ...state.sliders } };
  const frame = node("div", { class: "tp-frame" });
  fill(root, frame);
  view.tip = tooltip(root);
  const ask = (moved) => on.move?.({ ...Object.assign(view.at, moved) });
  const parts = [observationHead(view, ask), scoresByClass(view), scoresWorth(view)];
  frame.append(parts[0].element, node("div", { class: "tp-columns" }, parts[1].element, parts[2].element));
  const update = (next) => {
    view.state = next;
    view.at = { ...next.sliders };
    parts.forEach((part) => part.update());
  };
  keepKeys(root);
  update(state);
  update.stop = () => parts.forEach((part) => part.stop?.());
  return update;
}

function observationHead(view, ask) {
  const sliders = TRANSFERS.map(([name, label, words]) => {
    const options = { min: 0, max: 1, step: 0.005, words, format: (value) => figure(value, 3) };
    return [name, explorerSlider(label, options, (value) => ask({ [name]: value }))];
  });
  const reset = node("button", { type: "button" }, "as it was");
  const forget = () => sliders.forEach(([, slider]) => slider.forget());
  reset.addEventListener("click", () => {
    forget();
    ask(view.state.start);
  });
  const title = node("div", { class: "tp-title" });
  const auc = bigSeparation();
  const note = node("p", { class: "tp-note" });
  const trouble = explorerTrouble();
  const controls = node("div", { class: "tp-controls tp-transfers" }, ...sliders.map(([, slider]) => slider.element), reset);
  const element = node("header", {}, title, controls, trouble.element, auc.element, note);
  const update = () => {
    const { state } = view;
    setText(title, `${state.name}: ${state.score}`);
    if (state.trouble) forget();
    for (const [name, slider] of sliders) slider.set(state.sliders[name]);
    sliders[2][1].element.hidden = state.as_labelled;
    auc.set(state.auc);
    const notes = [];
    if (state.as_labelled) notes.push("Derailed steps have the density as labelled, which no slider moves.");
    if (state.over_minimum) notes.push("Bins of (smallest score before, current score) are summed over the former.");
    if (state.fitted) notes.push("The sliders of transfer begin where the dynamics were fitted.");
    setText(note, notes.join(" "));
    note.hidden = !notes.length;
    trouble.update(state.trouble);
    disable(reset, TRANSFERS.every(([name]) => state.sliders[name] === state.start[name]), sliders[0][1].input);
  };
  return { element, update };
}

function bigSeparation() {
  const value = node("span", { class: "tp-value tp-figure-accuracy" });
  const words = node("span", { class: "tp-words" }, "chance that a right step has more evidence for it than a first error (AUC)");
  const element = node("div", { class: "tp-numbers", "aria-live": "polite" }, node("div", { class: "tp-number-box" }, value, words));
  return { element, set: (auc) => setText(value, figure(auc, 3)) };
}

function scoresByClass(view) {
  const panel = explorerPanel("How steps score, by class");
  const place = node("div", {});
  const drawing = plot(place, { label: "Share of steps by score and class", height: 300, margin: { top: 24, left: 42, right: 8, bottom: 62 } }, (area) => paintClasses(area, view, fills));
  const fills = classFills(drawing.element);
  const keys = explorerKeys([...SEEN_CLASSES.map((text, index) => ({ text, fill: fills[index] })), { text: "as labelled, before weights and transfer", line: true, class: "tp-tick-before" }]);
  panel.element.append(place, keys);
  drawing.element.addEventListener("pointermove", (event) => {
    const lines = classesAt(event, drawing.area, view.state);
    if (lines) view.tip.show(event, lines);
    else view.tip.hide();
  });
  drawing.element.addEventListener("pointerleave", () => view.tip.hide());
  return { element: panel.element, update: () => drawing.paint(), stop: drawing.stop };
}

function paintClasses(area, view, fills) {
  const { bins, densities, labelled } = view.state;
  const x = bandScale(bins.length, [area.left, area.right]);
  const most = Math.max(...densities.flat(), ...labelled.flat().filter(isNumber));
  const y = linearScale([0, most * 1.05], [area.bottom, area.top]);
  axisLeft(area, y, { label: "share of the steps of a class", count: 4 });
  const group = shape("g");
  const width = (0.84 * x.width) / 3;
  densities.forEach((row, of) => {
    row.forEach((value, index) => {
      const left = x(index) + (of - 1.5) * width;
      group.append(shape("rect", { x: left, width: Math.max(1, width - 1), y: y(value), height: area.bottom - y(value), fill: fills[of] }));
      const before = labelled[of] ? labelled[of][index] : null;
      if (isNumber(before)) group.append(shape("line", { x1: left - 0.5, x2: left + width - 0.5, y1: y(before), y2: y(before), class: "tp-tick-before" }));
    });
  });
  area.back.append(group, shape("line", { class: "tp-base-line", x1: area.left, x2: area.right, y1: area.bottom, y2: area.bottom }));
  bins.forEach((name, index) => {
    const at = `translate(${(x(index) + 4).toFixed(1)} ${area.bottom + 10}) rotate(-45)`;
    area.back.append(shape("text", { transform: at, "text-anchor": "end", class: "tp-bin-name" }, name));
  });
}

function classesAt(event, area, state) {
  const frame = area.svg.getBoundingClientRect();
  const left = event.clientX - frame.left;
  if (left < area.left || left > area.right) return null;
  const index = bandScale(state.bins.length, [area.left, area.right]).invert(left);
  return [`score ${state.bins[index]}`, ...state.densities.map((row, of) => `${SEEN_CLASSES[of]}: ${chance(row[index], 3)}`)];
}

function scoresWorth(view) {
  const panel = explorerPanel("What a score is worth");
  const place = node("div", {});
  const keys = node("div", {});
  const drawing = plot(place, { label: "Chance that a step is right, by its score", height: 300, margin: { top: 24, left: 42, right: 12, bottom: 38 } }, (area) => paintWorth(area, view.state));
  panel.element.append(place, keys);
  const update = () => {
    const items = [{ text: "in this model", line: true, class: "tp-line-planned" }, { text: "a score that is the chance itself", line: true, class: "tp-line-before" }];
    if (view.state.measured.length) items.push({ text: "labelled steps, 95% intervals", mark: "circle", class: "tp-mark-given" });
    fill(keys, explorerKeys(items));
    drawing.paint();
  };
  return { element: panel.element, update, stop: drawing.stop };
}

function paintWorth(area, state) {
  const x = linearScale([0, 1], [area.left, area.right]);
  const y = linearScale([0, 1], [area.bottom, area.top]);
  axisBottom(area, x, { label: state.score, ticks: [0, 0.25, 0.5, 0.75, 1] });
  axisLeft(area, y, { label: "chance that the step is right, after a right prefix", ticks: [0, 0.25, 0.5, 0.75, 1] });
  const group = shape("g");
  drawLine(group, [0, 1], [0, 1], x, y, { class: "tp-line-before" });
  drawLine(group, state.reliability.x, state.reliability.y, x, y, { class: "tp-line-planned" });
  const points = state.measured.map((point) => ({ ...point, label: `${figure(point.y, 3)} of ${point.n} steps are right` }));
  drawPoints(group, points, x, y, { class: "tp-mark-given", size: 4 });
  area.back.append(group);
}
