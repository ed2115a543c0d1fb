// Small helpers that every drawing uses: elements, scales, axes, marks, tooltips, dragging.
// Texts enter the page as text nodes alone, so that nothing a model wrote can become markup.

const SVG = "http://www.w3.org/2000/svg";
const LATE_MS = 4000;

// ---- elements ----------------------------------------------------------------------------------------------------

// Element of the page: node("p", {class: "tp-note", onclick: f}, "text", child). Strings become text nodes;
// attributes that are null, undefined or false are left out.
function node(tag, attributes, ...children) {
  return dress(document.createElement(tag), attributes, children);
}

// The same in a drawing.
function shape(tag, attributes, ...children) {
  return dress(document.createElementNS(SVG, tag), attributes, children);
}

function dress(made, attributes, children) {
  setAttributes(made, attributes || {});
  made.append(...children.filter((child) => child !== null && child !== undefined).map(asNode));
  return made;
}

function setAttributes(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === null || value === undefined || value === false) element.removeAttribute(name);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  return element;
}

function asNode(child) {
  return child instanceof Node ? child : document.createTextNode(String(child));
}

function fill(element, ...children) {
  element.replaceChildren(...children.filter((child) => child !== null && child !== undefined).map(asNode));
  return element;
}

// Text that is already there is left alone, so that a selection in it survives a redraw.
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
  return element;
}

// The options of a select, and which is chosen; options that are there are left alone, as a list that is open is.
function offer(select, labels, chosen) {
  const known = [...select.options].map((option) => option.textContent);
  if (known.length !== labels.length || labels.some((label, index) => label !== known[index])) {
    fill(select, ...labels.map((label) => node("option", {}, label)));
  }
  if (select.selectedIndex !== chosen) select.selectedIndex = chosen;
}

// A button that is disabled under the focus hands it on, so that keys do not go astray.
function disable(button, disabled, heir) {
  if (disabled && !button.disabled && button.getRootNode().activeElement === button) heir.focus({ preventScroll: true });
  button.disabled = disabled;
}

let lastName = 0;
function uniqueName(stem) {
  lastName += 1;
  return `tp-${stem}-${lastName}`;
}

// ---- numbers -----------------------------------------------------------------------------------------------------

function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}

// A number for people; a dash where there is none. Minus is the sign, not the hyphen.
function figure(value, digits = 2) {
  if (!isNumber(value)) return "–";
  const text = value.toFixed(digits);
  const plain = Number(text) === 0 ? (0).toFixed(digits) : text;
  return plain.replace("-", "−");
}

// A probability; never "1.00" for what is not certain, nor "0.00" for what is not impossible.
function chance(value, digits = 2) {
  if (!isNumber(value)) return "–";
  const least = 10 ** -digits;
  if (value > 0 && value < least / 2) return `<${least.toFixed(digits)}`;
  if (value < 1 && value > 1 - least / 2) return `>${(1 - least).toFixed(digits)}`;
  return figure(value, digits);
}

// As many digits as the size of the number asks for: 0.042, 3.1, 42, 1234.
function brief(value) {
  if (!isNumber(value)) return "–";
  const size = Math.abs(value);
  if (size >= 100 || size === 0) return figure(value, 0);
  if (size >= 10) return figure(value, 1);
  if (size >= 0.995) return figure(value, 2);
  if (size >= 0.0005) return figure(value, 3);
  return value < 0 ? ">−0.001" : "<0.001";
}

function extent(values) {
  const known = values.filter(isNumber);
  return known.length ? [Math.min(...known), Math.max(...known)] : [0, 1];
}

// ---- scales ------------------------------------------------------------------------------------------------------

// scale(value) → place; scale.invert(place) → value; scale.ticks(count) → values worth a label.
function linearScale(domain, range) {
  const [low, high] = domain[0] === domain[1] ? [domain[0] - 0.5, domain[1] + 0.5] : domain;
  const scale = (value) => range[0] + ((value - low) / (high - low)) * (range[1] - range[0]);
  scale.invert = (place) => low + ((place - range[0]) / (range[1] - range[0])) * (high - low);
  scale.domain = [low, high];
  scale.range = range;
  scale.ticks = (count = 5) => niceTicks(low, high, count);
  return scale;
}

// Linear around 0 within about ± unit, logarithmic beyond: shows 0.5 beside 60, and knows zero and negative numbers.
function signedLogScale(domain, range, unit) {
  const bend = (value) => Math.asinh(value / unit);
  const inner = linearScale([bend(domain[0]), bend(domain[1])], range);
  const scale = (value) => inner(bend(value));
  scale.invert = (place) => unit * Math.sinh(inner.invert(place));
  scale.domain = domain;
  scale.range = range;
  scale.ticks = () => {
    const first = Math.floor(Math.log10(unit));
    const decades = [0, 1, 2, 3, 4, 5].map((power) => 10 ** (first + power));
    const all = [...decades.map((value) => -value).reverse(), 0, ...decades];
    return all.filter((value) => value >= Math.min(...domain) && value <= Math.max(...domain));
  };
  return scale;
}

// Middle of equal bands, one for each of `count` things: steps(3) → place; steps.width is that of one band.
function bandScale(count, range) {
  const width = (range[1] - range[0]) / Math.max(count, 1);
  const scale = (index) => range[0] + (index + 0.5) * width;
  scale.width = width;
  scale.invert = (place) => Math.min(count - 1, Math.max(0, Math.floor((place - range[0]) / width)));
  scale.range = range;
  return scale;
}

function niceTicks(low, high, count = 5) {
  const raw = (high - low) / Math.max(count, 1);
  if (!(raw > 0)) return [low];
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((size) => size >= raw * 0.999);
  const ticks = [];
  for (let index = Math.ceil(low / step - 1e-9); index * step <= high + step * 1e-9; index += 1) {
    ticks.push(Number((index * step).toPrecision(12)));
  }
  return ticks;
}

function tickText(value) {
  return String(Number(value.toPrecision(6))).replace("-", "−");
}

// ---- plots that fit their place ----------------------------------------------------------------------------------

// A plot as wide as its place. `paint(area)` draws into area.back, which is empty each time; what must outlive a
// redraw (a handle that holds the focus) is appended once to area.front. Returns {element, area, paint(), stop()}.
//   area: {svg, back, front, width, height, left, right, top, bottom}: right and bottom are coordinates, not margins
function plot(parent, options, paint) {
  const margin = { top: 10, right: 12, bottom: 34, left: 44, ...options.margin };
  const svg = shape("svg", { class: "tp-plot", role: options.role || "img", "aria-label": options.label });
  const back = shape("g");
  const front = shape("g");
  svg.append(back, front);
  parent.append(svg);
  const area = { svg, back, front, width: 0, height: options.height };
  const draw = () => {
    if (area.width < 40) return;
    back.replaceChildren();
    paint(area);
  };
  const stop = fitWidth(parent, (width) => {
    const height = typeof options.height === "function" ? options.height(width) : options.height;
    Object.assign(area, { width, height, left: margin.left, top: margin.top });
    Object.assign(area, { right: width - margin.right, bottom: height - margin.bottom });
    setAttributes(svg, { width, height, viewBox: `0 0 ${width} ${height}` });
    draw();
  });
  return { element: svg, area, paint: draw, stop };
}

// Calls draw(width) now and whenever the place changes its width; returns a function that ends it.
function fitWidth(element, draw) {
  let known = -1;
  const look = () => {
    const style = getComputedStyle(element);
    const inner = element.clientWidth - (parseFloat(style.paddingLeft) || 0) - (parseFloat(style.paddingRight) || 0);
    const width = Math.floor(inner);
    if (width > 0 && width !== known) {
      known = width;
      draw(width);
    }
  };
  look();
  const observer = new ResizeObserver(look);
  observer.observe(element);
  return () => observer.disconnect();
}

// ---- axes --------------------------------------------------------------------------------------------------------

// options: {label, ticks: [values], count, format, grid}
function axisBottom(area, scale, options = {}) {
  const group = shape("g", { class: "tp-axis" });
  const format = options.format || tickText;
  group.append(shape("line", { x1: area.left, x2: area.right, y1: area.bottom, y2: area.bottom }));
  for (const value of options.ticks || scale.ticks(options.count || Math.max(3, Math.floor(area.width / 90)))) {
    const x = scale(value);
    if (options.grid) group.append(shape("line", { class: "tp-grid", x1: x, x2: x, y1: area.top, y2: area.bottom }));
    group.append(
      shape("line", { x1: x, x2: x, y1: area.bottom, y2: area.bottom + 4 }),
      shape("text", { x, y: area.bottom + 16, "text-anchor": "middle" }, format(value)),
    );
  }
  if (options.label) {
    const at = { x: (area.left + area.right) / 2, y: area.bottom + 31, "text-anchor": "middle", class: "tp-axis-label" };
    group.append(shape("text", at, options.label));
  }
  area.back.append(group);
  return group;
}

// The label of a vertical axis stands above it, level, where it can be read.
function axisLeft(area, scale, options = {}) {
  const group = shape("g", { class: "tp-axis" });
  const format = options.format || tickText;
  for (const value of options.ticks || scale.ticks(options.count || 4)) {
    const y = scale(value);
    if (options.grid !== false) {
      group.append(shape("line", { class: "tp-grid", x1: area.left, x2: area.right, y1: y, y2: y }));
    }
    group.append(shape("text", { x: area.left - 6, y: y + 4, "text-anchor": "end" }, format(value)));
  }
  if (options.label) {
    group.append(shape("text", { x: 0, y: area.top - 11, class: "tp-axis-label" }, options.label));
  }
  area.back.append(group);
  return group;
}

// ---- marks -------------------------------------------------------------------------------------------------------

// Path through points [[x, y], …] in places; a point without a number starts a new piece.
function pathOf(points) {
  let open = false;
  let path = "";
  for (const [x, y] of points) {
    if (!isNumber(x) || !isNumber(y)) {
      open = false;
      continue;
    }
    path += `${open ? "L" : "M"}${x.toFixed(2)} ${y.toFixed(2)}`;
    open = true;
  }
  return path;
}

function places(xs, ys, scaleX, scaleY) {
  return xs.map((x, index) => [isNumber(x) ? scaleX(x) : null, isNumber(ys[index]) ? scaleY(ys[index]) : null]);
}

function drawLine(group, xs, ys, scaleX, scaleY, attributes) {
  const line = shape("path", { fill: "none", d: pathOf(places(xs, ys, scaleX, scaleY)), ...attributes });
  group.append(line);
  return line;
}

// Area between two curves, as an interval or a share.
function drawBand(group, xs, lows, highs, scaleX, scaleY, attributes) {
  const known = xs.map((_, index) => index).filter((index) => isNumber(lows[index]) && isNumber(highs[index]));
  const there = known.map((index) => [scaleX(xs[index]), scaleY(highs[index])]);
  const back = known.map((index) => [scaleX(xs[index]), scaleY(lows[index])]).reverse();
  const band = shape("path", { stroke: "none", d: known.length ? `${pathOf([...there, ...back])}Z` : "", ...attributes });
  group.append(band);
  return band;
}

// points: [{x, y, low, high, xLow, xHigh, label}] in values, with error bars where their ends are given.
function drawPoints(group, points, scaleX, scaleY, options = {}) {
  for (const point of points.filter((item) => isNumber(item.x) && isNumber(item.y))) {
    const [x, y] = [scaleX(point.x), scaleY(point.y)];
    const mark = shape("g", { class: options.class });
    if (isNumber(point.low) && isNumber(point.high)) {
      mark.append(errorBar(x, x, scaleY(point.low), scaleY(point.high), 4, 0));
    }
    if (isNumber(point.xLow) && isNumber(point.xHigh)) {
      mark.append(errorBar(scaleX(point.xLow), scaleX(point.xHigh), y, y, 0, 4));
    }
    mark.append(markAt(options.mark || "circle", x, y, options.size || 4.5));
    if (point.label) mark.append(shape("title", {}, point.label));
    group.append(mark);
  }
}

function errorBar(x1, x2, y1, y2, capX, capY) {
  const ends = `M${x1 - capX} ${y1 - capY}L${x1 + capX} ${y1 + capY}M${x2 - capX} ${y2 - capY}L${x2 + capX} ${y2 + capY}`;
  return shape("path", { class: "tp-error-bar", fill: "none", d: `M${x1} ${y1}L${x2} ${y2}${ends}` });
}

// Shapes that are told apart without colour.
function markAt(kind, x, y, size, attributes) {
  if (kind === "circle") return shape("circle", { cx: x, cy: y, r: size, ...attributes });
  const outlines = {
    square: [[-1, -1], [1, -1], [1, 1], [-1, 1]],
    diamond: [[0, -1.35], [1.35, 0], [0, 1.35], [-1.35, 0]],
    up: [[0, -1.3], [1.2, 0.9], [-1.2, 0.9]],
    down: [[0, 1.3], [1.2, -0.9], [-1.2, -0.9]],
  };
  const corners = outlines[kind].map(([dx, dy]) => `${(x + dx * size).toFixed(2)},${(y + dy * size).toFixed(2)}`);
  return shape("polygon", { points: corners.join(" "), ...attributes });
}

// Bars of one value each, standing on `base` (a value).
function drawBars(group, values, scaleX, scaleY, options = {}) {
  const base = scaleY(options.base || 0);
  const width = Math.min(options.widest || 26, scaleX.width * (options.share || 0.7));
  values.forEach((value, index) => {
    if (!isNumber(value)) return;
    const end = scaleY(value);
    const place = { x: scaleX(index) - width / 2, width, y: Math.min(base, end), height: Math.abs(base - end) };
    const look = typeof options.attributes === "function" ? options.attributes(index) : options.attributes;
    group.append(shape("rect", { ...place, ...look }));
  });
}

// Patterns of the classes beside their colours: S0 plain, S1 striped, S2 dotted. Returns the three fills.
function classFills(svg) {
  const name = uniqueName("fill");
  const stripes = shape(
    "pattern",
    { id: `${name}-1`, width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" },
    shape("rect", { width: 5, height: 5, class: "tp-s1" }),
    shape("rect", { width: 1.5, height: 5, class: "tp-over" }),
  );
  const dots = shape(
    "pattern",
    { id: `${name}-2`, width: 5, height: 5, patternUnits: "userSpaceOnUse" },
    shape("rect", { width: 5, height: 5, class: "tp-s2" }),
    shape("circle", { cx: 2.5, cy: 2.5, r: 1, class: "tp-over" }),
  );
  svg.prepend(shape("defs", {}, stripes, dots));
  return ["var(--tp-s0)", `url(#${name}-1)`, `url(#${name}-2)`];
}

// ---- what follows the pointer ------------------------------------------------------------------------------------

// One tooltip in a root whose position is relative: show(event, ["line", …]), hide().
function tooltip(root) {
  const box = node("div", { class: "tp-tooltip", role: "status", hidden: true });
  root.append(box);
  return {
    show(event, lines) {
      fill(box, ...lines.map((line) => node("div", {}, line)));
      box.hidden = false;
      const frame = root.getBoundingClientRect();
      const left = Math.min(event.clientX - frame.left + 12, frame.width - box.offsetWidth - 4);
      box.style.left = `${Math.max(4, left)}px`;
      box.style.top = `${event.clientY - frame.top + 14}px`;
    },
    hide() {
      box.hidden = true;
    },
  };
}

// At most one call a frame, with the newest arguments: what a drag sends does not queue up.
function oncePerFrame(call) {
  let waiting = null;
  return (...values) => {
    const idle = waiting === null;
    waiting = values;
    if (!idle) return;
    requestAnimationFrame(() => {
      const newest = waiting;
      waiting = null;
      call(...newest);
    });
  };
}

// What was sent last and is not answered yet: the answer to an earlier move must not pull back what has moved on.
// {sent(value), isLate(answered), forget()}
function awaited() {
  let last = null;
  const forget = () => {
    last = null;
  };
  return {
    forget,
    sent(value) {
      last = { value, at: performance.now() };
    },
    isLate(answered) {
      if (last !== null && last.value !== answered && performance.now() - last.at < LATE_MS) return true;
      forget();
      return false;
    },
  };
}

// Drags by mouse, pen or finger, with places relative to `element`: {start(x, y) → false to refuse, move(x, y), end()}.
function draggable(element, handlers) {
  let pointer = null;
  const place = (event) => {
    const frame = element.getBoundingClientRect();
    return [event.clientX - frame.left, event.clientY - frame.top];
  };
  const move = oncePerFrame((x, y) => handlers.move(x, y));
  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || handlers.start?.(...place(event), event) === false) return;
    pointer = event.pointerId;
    element.setPointerCapture(pointer);
    event.preventDefault();
  });
  element.addEventListener("pointermove", (event) => {
    if (event.pointerId === pointer) move(...place(event));
  });
  const end = (event) => {
    if (event.pointerId !== pointer) return;
    pointer = null;
    handlers.end?.();
  };
  element.addEventListener("pointerup", end);
  element.addEventListener("pointercancel", end);
}

// ---- light and dark ----------------------------------------------------------------------------------------------

// Says on `root` what the page around it says, where style sheets cannot see the page (a shadow root). Follows
// changes; returns a function that ends that. Where the page says nothing, the system decides.
function followTheme(root) {
  const look = () => {
    const said = [document.body, document.documentElement].map(themeOf).find((theme) => theme !== null);
    setAttributes(root, { "data-tp-theme": said });
  };
  look();
  const observer = new MutationObserver(look);
  const attributes = { attributes: true, attributeFilter: ["class", "theme", "data-theme", "data-jp-theme-light"] };
  observer.observe(document.documentElement, attributes);
  observer.observe(document.body, attributes);
  return () => observer.disconnect();
}

function themeOf(element) {
  const { jpThemeLight } = element.dataset;
  const theme = element.dataset.theme || element.getAttribute("theme"); // the latter in Colab
  if (theme === "dark" || jpThemeLight === "false" || element.classList.contains("dark")) return "dark";
  if (theme === "light" || jpThemeLight === "true" || element.classList.contains("light")) return "light";
  return null;
}

// Keys of controls are theirs: JupyterLab takes those of an element that does not say so itself, whatever holds it.
function keepKeys(root) {
  for (const control of root.querySelectorAll("input, select, button, summary")) {
    setAttributes(control, { "data-lm-suppress-shortcuts": "true" });
  }
}
