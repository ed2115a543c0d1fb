// What the explorers share: sliders with their values, keys, the map of a policy. Stands after svg.js.

const MAP_INTERVENE = [230, 159, 0];
const MAP_KEEP = [0, 114, 178];
const MAP_BAND = 9;

// A slider with its name and value: {element, input, set(value), forget()}. `moved(number)` is called at most once a frame.
// options: {min, max, step, format, words}; the words say under it what is moved.
function explorerSlider(name, options, moved) {
  const input = node("input", { type: "range", min: options.min, max: options.max, step: options.step });
  const output = node("output", {});
  const words = options.words ? node("span", { class: "tp-slider-words", id: uniqueName("words") }, options.words) : null;
  // Called as it is labelled, so that who speaks to it says what is seen.
  setAttributes(input, { "aria-label": name, "aria-describedby": words && words.id });
  const element = node("label", { class: "tp-control tp-slider" }, name, input, output, words);
  const waiting = awaited();
  const tell = oncePerFrame((value) => moved(value));
  const say = (value) => {
    const text = options.format(value);
    setText(output, text);
    setAttributes(input, { "aria-valuetext": text });
  };
  input.addEventListener("input", () => {
    waiting.sent(Number(input.value));
    say(Number(input.value));
    tell(Number(input.value));
  });
  const set = (value) => {
    if (waiting.isLate(value)) return;
    if (Number(input.value) !== value) input.value = String(value);
    say(value);
  };
  return { element, input, set, forget: waiting.forget };
}

// Keys of a drawing: [{text, mark | line | fill, class}], each with a little picture of what it explains.
function explorerKeys(items) {
  const pictures = items.map((item) => {
    const picture = shape("svg", { width: 22, height: 12, "aria-hidden": "true", class: "tp-key-picture" });
    const group = shape("g", { class: item.class });
    if (item.line) group.append(shape("line", { x1: 0, x2: 22, y1: 6, y2: 6 }));
    if (item.fill) group.append(shape("rect", { x: 3, y: 1, width: 16, height: 10, fill: item.fill }));
    if (item.mark) group.append(markAt(item.mark, 11, 6, item.size || 4.2));
    picture.append(group);
    return node("span", { class: "tp-key" }, picture, item.text);
  });
  return node("div", { class: "tp-keys" }, ...pictures);
}

// What Python could not do, in its words: {element, update(trouble)}.
function explorerTrouble() {
  const element = node("p", { class: "tp-trouble", role: "alert", hidden: true });
  const update = (trouble) => {
    setText(element, trouble || "");
    element.hidden = !trouble;
  };
  return { element, update };
}

function explorerPanel(title, ...children) {
  const heading = node("h3", {}, title);
  const element = node("section", { class: "tp-panel" }, heading, ...children);
  return { element, heading };
}

// ---- the map of a policy -----------------------------------------------------------------------------------------

// Gain − price over (q, score), from `policy_map_state`: {element, update(state)}.
function policyMap(tip, options = {}) {
  const holder = node("div", { class: "tp-map" });
  const canvas = node("canvas", { class: "tp-map-canvas", "aria-hidden": "true" });
  const plotBox = node("div", { class: "tp-map-plot" }, canvas);
  const empty = node("p", { class: "tp-note" });
  const key = mapKey();
  holder.append(empty, plotBox, key.element);
  let state = null;
  let drawn = null;
  const drawing = plot(
    plotBox,
    { label: "Policy map", height: options.height || 300, margin: { top: 22, bottom: 36 } },
    (area) => {
      drawn = state && state.grid ? paintMap(area, canvas, state) : null;
    },
  );
  drawing.element.addEventListener("pointermove", (event) => {
    const lines = drawn && drawn.read(event);
    if (lines) tip.show(event, lines);
    else tip.hide();
  });
  drawing.element.addEventListener("pointerleave", () => tip.hide());
  const update = (next) => {
    state = next;
    const there = Boolean(next && next.grid);
    plotBox.hidden = !there;
    key.element.hidden = !there;
    empty.hidden = there;
    setText(empty, (next && next.why_not) || "");
    if (!there) return;
    key.update(next);
    setAttributes(drawing.element, { "aria-label": `Where the policy ${next.does}, over q and the score` });
    drawing.paint();
  };
  return { element: holder, update, stop: drawing.stop };
}

// A policy of a mixture, as a select names it.
function partLabel(part) {
  return `${part.label}, drawn for ${figure(100 * part.probability, 0)}%`;
}

function paintMap(area, canvas, state) {
  const { q, edges, values, limit, zero } = state.grid;
  const atom = edges[edges.length - 1] >= 1 ? MAP_BAND : 0;
  const x = linearScale([0, 1], [area.left, area.right]);
  const y = linearScale([0, 1], [area.bottom, area.top + atom + (atom ? 3 : 0)]);
  const place = { left: area.left, top: area.top, width: area.right - area.left, height: area.bottom - area.top };
  Object.assign(canvas.style, Object.fromEntries(Object.entries(place).map(([name, size]) => [name, `${size}px`])));
  paintCells(canvas, place, (pixel) => {
    const at = pixel + area.top + 0.5;
    if (atom && at < area.top + atom) return values.length - 1;
    return binOf(edges, Math.min(Math.max(y.invert(at), 0), 1 - 1e-9));
  }, values, limit);
  const group = shape("g");
  area.back.append(group);
  axisBottom(area, x, { label: "q: chance that the steps before are right", ticks: [0, 0.25, 0.5, 0.75, 1] });
  axisLeft(area, y, { label: `${state.score} of the step`, ticks: [0, 0.25, 0.5, 0.75, 1], grid: false });
  group.append(shape("rect", { ...frameOf(place), class: "tp-map-frame" }));
  if (atom) {
    const line = { x1: area.left, x2: area.right, y1: area.top + atom + 1.5, y2: area.top + atom + 1.5 };
    group.append(shape("line", { ...line, class: "tp-map-gap" }));
    group.append(shape("text", { x: area.right, y: area.top - 6, "text-anchor": "end", class: "tp-map-note" }, "top: exactly 1"));
  }
  for (const line of zero) drawLine(group, line.q, line.score, x, y, { class: "tp-map-zero" });
  if (isNumber(state.threshold)) {
    const at = y(state.threshold);
    group.append(shape("line", { x1: area.left, x2: area.right, y1: at, y2: at, class: "tp-map-rule" }));
    const below = at > area.top + 40;
    const label = `threshold rule of this budget: k = ${figure(state.threshold, 3)}`;
    group.append(shape("text", { x: area.left + 6, y: below ? at - 6 : at + 15, class: "tp-map-label" }, label));
  }
  const read = (event) => {
    const frame = area.svg.getBoundingClientRect();
    const [left, top] = [event.clientX - frame.left, event.clientY - frame.top];
    if (left < area.left || left > area.right || top < area.top || top > area.bottom) return null;
    const onAtom = atom && top < area.top + atom + 1.5;
    const score = onAtom ? 1 : Math.min(y.invert(top), 1 - 1e-9);
    const column = Math.round(x.invert(left) * (q.length - 1));
    const value = values[onAtom ? values.length - 1 : binOf(edges, score)][column];
    const what = value > 0 ? state.verb : "keep";
    return [`q ${figure(q[column], 2)}, ${state.score} ${onAtom ? "1" : figure(score, 3)}`, `gain − price ${signed(value)}: ${what}`];
  };
  return { read };
}

// Orange where gain exceeds price, blue where it does not; the more the difference, the less of the page shows through.
function paintCells(canvas, place, rowOf, values, limit) {
  const height = Math.max(1, Math.round(place.height));
  const columns = values[0].length;
  canvas.width = columns;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(columns, height);
  for (let pixel = 0; pixel < height; pixel += 1) {
    const row = values[rowOf(pixel)];
    for (let column = 0; column < columns; column += 1) {
      const value = row[column];
      const at = 4 * (pixel * columns + column);
      image.data.set(value > 0 ? MAP_INTERVENE : MAP_KEEP, at);
      image.data[at + 3] = limit > 0 ? Math.round(235 * Math.sqrt(Math.min(1, Math.abs(value) / limit))) : 0;
    }
  }
  context.putImageData(image, 0, 0);
}

function binOf(edges, score) {
  let low = 0;
  let high = edges.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (edges[middle] <= score) low = middle;
    else high = middle - 1;
  }
  return low;
}

function mapKey() {
  const low = node("span", {});
  const high = node("span", {});
  const bar = node("span", { class: "tp-map-bar", "aria-hidden": "true" });
  const words = node("span", { class: "tp-note" }, "gain − price, in units of reward");
  const element = node("div", { class: "tp-map-key" }, low, bar, high, words);
  const update = (state) => {
    setText(low, `keep ${signed(-state.grid.limit)}`);
    setText(high, `${signed(state.grid.limit)} ${state.verb}`);
    setText(words, `gain − price (a right answer is ${figure(state.reward, 0)}); line: they are equal`);
  };
  return { element, update };
}

function frameOf(place) {
  return { x: place.left, y: place.top, width: place.width, height: place.height };
}

function signed(value) {
  const text = brief(Math.abs(value));
  if (value === 0) return "0";
  return value < 0 ? `−${text}` : `+${text}`;
}
