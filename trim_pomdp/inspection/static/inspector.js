// The belief inspector: one solution, what was believed of each step, what was done with it and why, what would flip it.
//
// drawInspector(root, state, on) draws `solution_state` of Python and returns update(state), with update.stop().
// It computes nothing of the model: what the reader does goes to `on`, and what comes back is drawn.
//   on.choose(step)         another step was chosen; without it the steps can still be walked, the curve is left out
//   on.score(step, value)   the value of the curve's axis was moved; without it the curve has no handle
//   on.budget(index), on.belief(index), on.reset()
// state.controls (optional): {"budgets": {"labels": [...], "chosen": i} or null, "beliefs": {"labels": [...],
//   "chosen": i} or null, "note": text or null, "edited": bool}; state.trouble (optional): why an answer is none.

const CLASSES = ["right so far", "derailed earlier", "first error here"];
const BRIEF_CLASSES = ["right", "derailed", "first error"];
const CLASS_NAMES = ["S0", "S1", "S2"];
const TYPING_MS = 700;
// Colours say who writes what stands, marks what was done.
const ACTIONS = {
  keep: { mark: "●", done: "kept" },
  regenerate: { mark: "▲", done: "regenerated", byStrong: true },
  redraft: { mark: "↻", done: "redrafted" },
  takeover: { mark: "▲▲", done: "taken over", byStrong: true },
  recall: { mark: "↶", done: "recalled" },
};

function drawInspector(root, state, on = {}) {
  root.classList.add("tp-root", "tp-inspector");
  setAttributes(root, { "data-lm-suppress-shortcuts": "true", role: "region", "aria-label": "Belief inspector" });
  const view = { state, on, chosen: state.chosen || 0, root };
  const body = node("div", { class: "tp-frame" });
  fill(root, body);
  view.tip = tooltip(root);
  const parts = [inspectorHead(view), inspectorControls(view)];
  const left = inspectorSteps(view);
  const right = node("div", { class: "tp-right" });
  const charts = [overSteps(view, right), decisionPanel(view, right)];
  body.append(
    ...parts.map((part) => part.element),
    node("div", { class: "tp-body" }, left.element, right),
  );
  keepKeys(root);
  const all = [...parts, left, ...charts];
  view.choose = (step) => {
    const last = view.state.steps.length - 1;
    const wanted = Math.min(last, Math.max(0, step));
    if (wanted === view.chosen) return;
    view.chosen = wanted;
    view.wanted = on.choose ? wanted : null;
    all.forEach((part) => part.update());
    on.choose?.(wanted);
  };
  const keys = walkByKeys(view);
  root.addEventListener("keydown", keys);
  all.forEach((part) => part.update());
  const update = (next) => {
    const another = next.problem.id !== view.state.problem.id;
    view.state = next;
    // The answer to an earlier choice does not undo a later one.
    const isLate = isNumber(view.wanted) && next.chosen !== view.wanted && view.wanted < next.steps.length;
    if (!isLate || another || next.trouble) {
      view.chosen = Math.min(next.chosen || 0, Math.max(0, next.steps.length - 1));
      view.wanted = null;
    }
    if (another) view.logOdds = undefined;
    all.forEach((part) => part.update());
  };
  update.stop = () => {
    root.removeEventListener("keydown", keys);
    all.forEach((part) => part.stop?.());
  };
  return update;
}

// Arrows walk the steps, Home and End go to the ends, digits jump ("12" typed quickly is step 12).
function walkByKeys(view) {
  let typed = "";
  let typedAt = 0;
  return (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) return;
    const last = view.state.steps.length - 1;
    const moves = {
      ArrowDown: view.chosen + 1,
      ArrowRight: view.chosen + 1,
      ArrowUp: view.chosen - 1,
      ArrowLeft: view.chosen - 1,
      Home: 0,
      End: last,
    };
    if (event.key in moves) {
      view.choose(moves[event.key]);
    } else if (/^[0-9]$/.test(event.key)) {
      const fresh = event.timeStamp - typedAt > TYPING_MS || Number(typed + event.key) > last + 1;
      typed = fresh ? event.key : typed + event.key;
      typedAt = event.timeStamp;
      if (Number(typed) >= 1) view.choose(Number(typed) - 1);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  };
}

// ---- what was asked, and what came of it -------------------------------------------------------------------------

function inspectorHead(view) {
  const name = node("span", { class: "tp-problem" });
  const verdict = node("span", { class: "tp-verdict" });
  const outcome = node("span", { class: "tp-outcome" });
  const prompt = node("p", { class: "tp-prompt" });
  const top = node("div", { class: "tp-head-line" }, name, verdict, outcome);
  const element = node("header", { class: "tp-head" }, top, prompt);
  const update = () => {
    const problem = view.state.problem;
    setText(name, problem.id || "Solution");
    const verdicts = { true: ["✓ right", "tp-is-right"], false: ["✗ wrong", "tp-is-wrong"] };
    const [text, look] = problem.error ? ["failed", "tp-is-wrong"] : verdicts[problem.correct] || ["", ""];
    setText(verdict, text);
    verdict.className = `tp-verdict ${look}`;
    verdict.hidden = !text;
    setText(outcome, outcomeText(view.state));
    setText(prompt, problem.prompt || "");
    prompt.hidden = !problem.prompt;
  };
  return { element, update };
}

function outcomeText(state) {
  const problem = state.problem;
  const parts = [];
  if (problem.error) parts.push(problem.error);
  else if (isText(problem.answer)) parts.push(`answer ${problem.answer}`);
  else if (isText(problem.reason)) parts.push(`no answer (${problem.reason})`);
  if (isText(problem.reference) && problem.correct !== true) parts.push(`reference ${problem.reference}`);
  if (isNumber(state.q_end)) parts.push(`believed right ${chance(state.q_end)}`);
  return parts.join(" · ");
}

function isText(value) {
  return value !== null && value !== undefined && value !== "";
}

// ---- budget, belief, reset ---------------------------------------------------------------------------------------

function inspectorControls(view) {
  const policy = node("span", { class: "tp-policy" });
  const budget = node("input", { type: "range", min: 0, step: 1, "aria-label": "budget" });
  const budgetText = node("output", { class: "tp-budget" });
  const budgetBox = node("label", { class: "tp-control" }, "budget", budget, budgetText);
  const belief = node("select", { "aria-label": "belief" });
  const beliefBox = node("label", { class: "tp-control" }, "belief", belief);
  const note = node("span", { class: "tp-note" });
  const element = node("div", { class: "tp-controls" }, budgetBox, beliefBox, policy, note);
  const moved = oncePerFrame((index) => view.on.budget?.(index));
  budget.addEventListener("input", () => {
    setText(budgetText, view.state.controls.budgets.labels[Number(budget.value)]);
    moved(Number(budget.value));
  });
  belief.addEventListener("change", () => view.on.belief?.(belief.selectedIndex));
  const update = () => {
    const { budgets, beliefs } = view.state.controls || {};
    budgetBox.hidden = !budgets;
    beliefBox.hidden = !beliefs;
    if (budgets) {
      budget.max = String(budgets.labels.length - 1);
      // The answer to an earlier move must not pull back a thumb that has moved on.
      if (view.root.getRootNode().activeElement !== budget) budget.value = String(budgets.chosen);
      setText(budgetText, budgets.labels[Number(budget.value)] || "");
      setAttributes(budget, { "aria-valuetext": budgets.labels[Number(budget.value)] });
    }
    if (beliefs) {
      offer(belief, beliefs.labels, beliefs.chosen);
    }
    setText(policy, policyText(view.state.policy));
    setAttributes(policy, { title: view.state.policy.label });
    setText(note, view.state.trouble || view.state.controls?.note || (budgets && budgets.note) || "");
    note.hidden = !note.textContent;
  };
  return { element, update };
}

const FORMS = {
  alpha_vectors: "planned policy",
  threshold: "threshold rule",
  posterior: "posterior rule",
  schedule: "schedule",
  strategy: "fixed strategy",
  mixed: "mixture",
};
const EVIDENCE = { prm: "PRM scores", logprob: "log-probabilities", "prm+logprob": "PRM scores and log-probabilities" };

function policyText(policy) {
  const parts = [FORMS[policy.form] || policy.form];
  if (isNumber(policy.tradeoff)) parts.push(`λ ${brief(policy.tradeoff)}`);
  if (policy.evidence) parts.push(`sees ${EVIDENCE[policy.evidence] || policy.evidence}`);
  return parts.join(" · ");
}

// ---- the steps, coloured by belief -------------------------------------------------------------------------------

function inspectorSteps(view) {
  const name = uniqueName("steps");
  const list = node("div", { class: "tp-steps", role: "listbox", tabindex: 0, "aria-label": "Steps of the solution" });
  const element = node("div", { class: "tp-left" }, list);
  view.list = list;
  let rows = [];
  const update = () => {
    const steps = view.state.steps;
    if (rows.length !== steps.length) {
      rows = steps.map((_, index) => stepRow(view, index, `${name}-${index}`));
      fill(list, ...rows.map((row) => row.item));
    }
    const firstOther = steps.findIndex((step) => step.hypothetical);
    rows.forEach((row, index) => row.update(steps[index], index === view.chosen, index === firstOther));
    setAttributes(list, { "aria-activedescendant": rows.length ? `${name}-${view.chosen}` : null });
    if (rows.length && list.dataset.shown !== String(view.chosen)) {
      list.dataset.shown = String(view.chosen);
      keepInSight(list, rows[view.chosen].item);
    }
  };
  return { element, update };
}

// Scrolls the list alone, never the page around it.
function keepInSight(list, item) {
  const [frame, place] = [list.getBoundingClientRect(), item.getBoundingClientRect()];
  const spare = 28;
  if (place.top < frame.top + spare) list.scrollTop -= frame.top + spare - place.top;
  else if (place.bottom > frame.bottom - spare) {
    list.scrollTop += Math.min(place.bottom - frame.bottom + spare, place.top - frame.top - spare);
  }
}

function stepRow(view, index, id) {
  const parts = rowParts(index, id);
  parts.box.addEventListener("click", () => {
    const selection = document.getSelection();
    if (selection && !selection.isCollapsed && parts.item.contains(selection.anchorNode)) return;
    view.choose(index);
  });
  const update = (step, chosen, firstOther) => {
    setAttributes(parts.item, { "aria-selected": String(chosen) });
    parts.item.classList.toggle("tp-chosen", chosen);
    parts.item.classList.toggle("tp-hypothetical", Boolean(step.hypothetical));
    parts.other.hidden = !firstOther;
    rowBelief(parts, step.belief || step.prior);
    rowLine(parts, step);
    rowTexts(parts, step);
  };
  return { item: parts.item, update };
}

function rowParts(index, id) {
  const strip = CLASS_NAMES.map((_, kind) => node("span", { class: `tp-part tp-part-${kind}` }));
  const number = node("span", { class: "tp-number" }, String(index + 1));
  const gutter = node("span", { class: "tp-gutter" }, number, node("span", { class: "tp-strip" }, ...strip));
  const author = node("span", { class: "tp-author" });
  const belief = node("span", { class: "tp-belief" });
  const score = node("span", { class: "tp-score" });
  const decision = node("span", { class: "tp-decision" });
  const edited = node("span", { class: "tp-edited" }, "edited");
  const truth = node("span", { class: "tp-truth" });
  const line = node("div", { class: "tp-step-line" }, decision, belief, score, truth, edited, author);
  const text = node("div", { class: "tp-text" });
  const draftText = node("div", { class: "tp-text" });
  const draftHead = node("div", { class: "tp-draft-head" });
  const draft = node("div", { class: "tp-draft" }, draftHead, draftText);
  const others = node("div", { class: "tp-other-drafts" });
  const other = node("div", { class: "tp-other" }, "What follows was recorded after another step");
  const main = node("div", { class: "tp-step-main" }, line, text, draft, others);
  const box = node("div", { class: "tp-step-box" }, gutter, main);
  const item = node("div", { class: "tp-step", role: "option", id }, other, box);
  return { item, box, other, gutter, strip, author, belief, score, decision, edited, truth, text, draft, draftHead, draftText, others };
}

function rowBelief(parts, shares) {
  parts.gutter.classList.toggle("tp-no-belief", !shares);
  parts.strip.forEach((part, kind) => {
    part.style.flexGrow = shares ? String(shares[kind]) : "0";
  });
  const likely = shares ? shares.indexOf(Math.max(...shares)) : -1;
  setText(parts.belief, likely < 0 ? "" : `${BRIEF_CLASSES[likely]} ${chance(shares[likely])}`);
  parts.belief.className = `tp-belief tp-most-${likely}`;
  parts.belief.hidden = likely < 0;
}

function rowLine(parts, step) {
  setText(parts.author, authorText(step));
  parts.author.className = `tp-author tp-by-${step.author}`;
  setText(parts.score, scoreText(step));
  setText(parts.decision, decisionText(step));
  parts.decision.className = `tp-decision tp-${isForced(step) ? "forced" : step.action || "none"}`;
  setText(parts.truth, isNumber(step.true_class) ? `truth: ${BRIEF_CLASSES[step.true_class]}` : "");
  for (const part of [parts.score, parts.decision, parts.truth]) part.hidden = !part.textContent;
  parts.edited.hidden = !step.edited;
}

function rowTexts(parts, step) {
  setText(parts.text, isText(step.text) ? step.text : missingText(step));
  parts.text.hidden = !parts.text.textContent;
  parts.text.classList.toggle("tp-missing", !isText(step.text));
  parts.draft.hidden = !isText(step.draft);
  setText(parts.draftHead, draftFate(step));
  setText(parts.draftText, step.draft || "");
  fill(parts.others, ...(step.drafts || []).filter((item) => isText(item.text)).map(otherDraft));
}

// A draft in whose place another one stands, or was decided on.
function otherDraft(item) {
  const again = item.action === "redraft";
  const words = [again ? `weak draft, ${ACTIONS.redraft.mark} redrafted` : "weak draft, discarded", scoreText(item)];
  if (isNumber(item.true_class)) words.push(`truth: ${BRIEF_CLASSES[item.true_class]}`);
  const head = node("div", { class: "tp-draft-head" }, words.filter(Boolean).join(" · "));
  return node("div", { class: "tp-draft" }, head, node("div", { class: "tp-text" }, item.text));
}

function authorText(step) {
  if (step.note === "failed" || !step.author) return "nobody";
  return step.author === "given" ? "given" : `by ${step.author}`;
}

// What was decided on; the PRM's score too stands with the chosen step.
function scoreText(step) {
  if (isNumber(step.evidence)) return `evidence ${chance(step.evidence)}`;
  return isNumber(step.score) ? `score ${chance(step.score)}` : "";
}

// Why there is nothing to read.
function missingText(step) {
  if (step.author === "strong") return "a strong step that was never written";
  return step.note === "failed" ? "an error came first" : "";
}

// What became of the weak model's step, where it does not stand.
function draftFate(step) {
  if (step.author !== "strong") return "weak draft, neither kept nor replaced";
  return isText(step.text) ? "weak draft, replaced" : "weak draft; the strong step that would replace it was never written";
}

// What was done was not decided by the policy: a note says why, or one model writes alone.
function isForced(step) {
  return Boolean(step.note) || (isText(step.done) && !isText(step.decided));
}

function markOf(step) {
  const action = !isForced(step) && ACTIONS[step.action];
  return action ? `${action.mark} ` : "";
}

function decisionText(step) {
  const other = isText(step.recorded_action) && step.recorded_action !== step.action;
  return `${markOf(step)}${doneText(step)}${other ? ` (recorded: ${step.recorded_action})` : ""}`;
}

// In Python's words, where the policy was asked again.
function doneText(step) {
  return step.done ?? step.action ?? "";
}

// ---- belief, q, gain and price over the steps --------------------------------------------------------------------

function overSteps(view, parent) {
  const names = CLASSES.map((name, kind) =>
    node("span", { class: "tp-key" }, node("span", { class: `tp-swatch tp-part-${kind}` }), `${CLASS_NAMES[kind]} ${name}`),
  );
  const q = node("span", { class: "tp-key" }, node("span", { class: "tp-key-mark" }, "◆"), "q, right before the step");
  const first = node("section", { class: "tp-card" }, node("div", { class: "tp-keys" }, ...names, q));
  const unit = node("span", { class: "tp-key tp-soft" });
  const price = node("span", { class: "tp-key" }, node("span", { class: "tp-key-mark" }, "━"), "price");
  const marks = node("div", { class: "tp-keys" });
  const second = node("section", { class: "tp-card" }, marks);
  parent.append(first, second);
  const margin = { top: 8, bottom: 22, left: 40, right: 8 };
  const beliefs = plot(first, { height: 150, margin, label: "Belief over the steps" }, (area) => drawBeliefs(view, area));
  const gains = plot(second, { height: 130, margin, label: "Gain and price over the steps" }, (area) => drawGains(view, area));
  [beliefs, gains].forEach((chart) => chooseByPointer(view, chart));
  const update = () => {
    const hasBelief = view.state.steps.some((step) => step.belief || step.prior);
    const hasGain = view.state.steps.some((step) => isNumber(step.gain));
    first.hidden = !hasBelief;
    second.hidden = !hasGain;
    const { reward } = view.state.policy;
    fill(marks, ...gainKeys(view.state.steps), price, unit);
    setText(unit, isNumber(reward) ? `points of ${tickText(reward)} for a right answer` : "");
    beliefs.paint();
    gains.paint();
    setAttributes(beliefs.element, { "aria-label": beliefsInWords(view.state) });
    setAttributes(gains.element, { "aria-label": gainsInWords(view.state) });
  };
  return { update, stop: () => [beliefs, gains].forEach((chart) => chart.stop()) };
}

// Of kept and regenerated steps always, of what else was done where it was.
function gainKeys(steps) {
  const there = new Set(["keep", "regenerate", ...steps.map((step) => step.action)]);
  return Object.entries(ACTIONS).filter(([name]) => there.has(name)).map(([name, { mark, done }]) =>
    node("span", { class: "tp-key" }, node("span", { class: `tp-swatch ${fillOf(name)}` }), name === "keep" ? "gain, kept" : `gain ${mark} ${done}`),
  );
}

function fillOf(action) {
  return ACTIONS[action]?.byStrong ? "tp-fill-strong" : "tp-fill-weak";
}

function beliefsInWords(state) {
  const parts = state.steps.map((step) => (step.belief ? `step ${step.step + 1} ${chance(step.belief[0])}` : ""));
  return `Belief that the step is right, by step: ${parts.filter(Boolean).join(", ")}`;
}

function gainsInWords(state) {
  const known = state.steps.filter((step) => isNumber(step.gain));
  return `Gain against price, by step: ${known.map((step) => `step ${step.step + 1} ${brief(step.gain)} against ${brief(step.price)}`).join(", ")}`;
}

function stepBands(view, area) {
  const count = view.state.steps.length;
  // Few steps stand together at the left, so that a bar does not grow to a wall.
  const right = Math.min(area.right, area.left + count * 84);
  return bandScale(count, [area.left, right]);
}

function stepAxis(view, area, bands) {
  const group = shape("g", { class: "tp-axis" });
  const every = Math.max(1, Math.ceil(22 / bands.width));
  view.state.steps.forEach((step, index) => {
    const chosen = index === view.chosen;
    if (!chosen && (index % every !== 0 || Math.abs(index - view.chosen) * bands.width < 18)) return;
    const at = { x: bands(index), y: area.bottom + 15, "text-anchor": "middle", class: chosen ? "tp-tick-chosen" : null };
    group.append(shape("text", at, String(index + 1)));
  });
  area.back.append(group);
}

function chosenBand(view, area, bands) {
  const at = { x: bands(view.chosen) - bands.width / 2, width: bands.width, y: area.top - 4, height: area.bottom - area.top + 4 };
  area.back.append(shape("rect", { class: "tp-column", ...at }));
}

function hypotheticalMark(view, area, bands) {
  const first = view.state.steps.findIndex((step) => step.hypothetical);
  if (first < 0) return;
  const x = bands(first) - bands.width / 2;
  area.back.append(shape("line", { class: "tp-breaks", x1: x, x2: x, y1: area.top - 6, y2: area.bottom }));
}

function drawBeliefs(view, area) {
  const { steps, q_end: end } = view.state;
  const bands = stepBands(view, area);
  const y = linearScale([0, 1], [area.bottom, area.top]);
  view.fills ||= new WeakMap();
  if (!view.fills.has(area)) view.fills.set(area, classFills(area.svg));
  const fills = view.fills.get(area);
  chosenBand(view, area, bands);
  axisLeft(area, y, { ticks: [0, 0.5, 1] });
  stepAxis(view, area, bands);
  const width = Math.min(26, bands.width * 0.72);
  steps.forEach((step, index) => {
    const shares = step.belief || step.prior;
    if (!shares) return;
    let top = 1;
    // S0 stands at the bottom: the higher the blue, the likelier right.
    [2, 1, 0].forEach((kind) => {
      const place = { x: bands(index) - width / 2, width, y: y(top), height: Math.max(0, y(top - shares[kind]) - y(top)) };
      top -= shares[kind];
      area.back.append(shape("rect", { fill: fills[kind], class: step.hypothetical ? "tp-faint" : null, ...place }));
    });
  });
  const q = steps.map((step) => step.q);
  const xs = steps.map((_, index) => bands(index) - bands.width / 2);
  if (isNumber(end) && q.some(isNumber)) {
    q.push(end);
    xs.push(bands(steps.length - 1) + bands.width / 2);
  }
  const points = xs.map((x, index) => [x, isNumber(q[index]) ? y(q[index]) : null]);
  area.back.append(shape("path", { class: "tp-halo", fill: "none", d: pathOf(points) }));
  area.back.append(shape("path", { class: "tp-q", fill: "none", d: pathOf(points) }));
  const size = Math.max(1.8, Math.min(3.6, bands.width / 5));
  points.filter(([, place]) => place !== null).forEach(([x, place]) => area.back.append(markAt("diamond", x, place, size, { class: "tp-q-mark" })));
  hypotheticalMark(view, area, bands);
}

function drawGains(view, area) {
  const steps = view.state.steps;
  const bands = stepBands(view, area);
  const y = gainScale(view.state, steps.map((step) => step.gain), [area.bottom, area.top]);
  chosenBand(view, area, bands);
  axisLeft(area, y, {});
  stepAxis(view, area, bands);
  const look = (index) => {
    const step = steps[index];
    return { class: `${fillOf(step.action)}${step.hypothetical ? " tp-faint" : ""}` };
  };
  drawBars(area.back, steps.map((step) => step.gain), bands, y, { attributes: look, share: 0.72 });
  const half = Math.min(16, bands.width * 0.46);
  steps.forEach((step, index) => {
    const x = bands(index);
    if (isNumber(step.price)) {
      area.back.append(shape("line", { class: "tp-price", x1: x - half, x2: x + half, y1: y(step.price), y2: y(step.price) }));
    }
    if (isNumber(step.gain)) markAction(area, step.action, x, y(Math.max(step.gain, 0)), bands);
  });
  hypotheticalMark(view, area, bands);
}

// Over its bar what was done, if it was not kept.
function markAction(area, action, x, top, bands) {
  if (action === "regenerate") {
    area.back.append(markAt("up", x, top - 7, Math.min(4, bands.width / 4), { class: "tp-strong-mark" }));
  } else if (action !== "keep" && ACTIONS[action]) {
    area.back.append(shape("text", { class: "tp-action-mark", x, y: top - 3, "text-anchor": "middle" }, ACTIONS[action].mark));
  }
}

// Gains reach from thousandths to dozens of points; what matters happens where they meet the price.
function gainScale(state, gains, range) {
  const prices = state.steps.map((step) => step.price).filter((price) => isNumber(price) && price > 0);
  const [low, high] = extent([...gains, ...state.steps.map((step) => step.price), 0]);
  const middle = prices.length ? prices.sort((a, b) => a - b)[Math.floor(prices.length / 2)] : Math.max(high / 10, 0.1);
  const most = Math.max(high, middle * 2) * 1.15;
  if (most < middle * 8) return linearScale([Math.min(0, low), most], range);
  const unit = 10 ** Math.floor(Math.log10(middle));
  return signedLogScale([Math.min(0, low), most], range, unit);
}

function chooseByPointer(view, chart) {
  const stepAt = (event) => {
    const x = event.clientX - chart.element.getBoundingClientRect().left;
    return stepBands(view, chart.area).invert(x);
  };
  chart.element.addEventListener("click", (event) => view.choose(stepAt(event)));
  chart.element.addEventListener("pointermove", (event) => {
    if (event.pointerType === "mouse") view.tip.show(event, stepInWords(view.state.steps[stepAt(event)]));
  });
  chart.element.addEventListener("pointerleave", () => view.tip.hide());
}

function stepInWords(step) {
  const lines = [`Step ${step.step + 1}: ${doneText(step) || "no decision"}, ${authorText(step)}`];
  const seen = scoreText(step);
  if (seen) lines.push(seen);
  if (isNumber(step.q)) lines.push(`q before ${chance(step.q)}`);
  if (step.belief) lines.push(CLASS_NAMES.map((name, kind) => `${name} ${chance(step.belief[kind])}`).join("  "));
  if (isNumber(step.gain)) lines.push(`gain ${brief(step.gain)}, price ${brief(step.price)}`);
  return lines;
}

// ---- the chosen step: what was decided, and what would flip it ---------------------------------------------------

const CURVE_KEYS = [["tp-line-gain", "gain"], ["tp-line-price", "price"], ["tp-box-region", ""]];

// What the policy does where the curve is shaded; of a policy as recorded nobody knows, and there is no curve.
function intervention(policy) {
  return policy.verb === "regenerate" ? "▲ would regenerate" : `would ${policy.verb || "intervene"}`;
}

function decisionPanel(view, parent) {
  const title = node("h3", { class: "tp-title" });
  const words = node("p", { class: "tp-words", "aria-live": "polite" });
  const facts = node("div", { class: "tp-facts" });
  const hint = node("p", { class: "tp-note" });
  const reset = node("button", { type: "button", class: "tp-reset" }, "undo changes");
  reset.addEventListener("click", () => {
    handle.forget();
    view.on.reset?.();
  });
  const keys = node("div", { class: "tp-keys" }, ...CURVE_KEYS.map(([look, name]) => node("span", { class: "tp-key" }, node("span", { class: `tp-swatch ${look}` }), name)));
  const place = node("div", { class: "tp-curve" });
  const below = node("div", { class: "tp-below" }, hint, reset);
  const element = node("section", { class: "tp-card" }, title, words, keys, place, below, facts);
  parent.append(element);
  const handle = scoreHandle(view);
  const margin = { top: 24, bottom: 52, left: 40, right: 12 };
  const chart = plot(place, { height: 210, margin, role: "group", label: "Evidence curve" }, (area) => {
    // Once: an element that is moved, even to where it is, loses the focus.
    if (handle.element.parentNode !== area.front) area.front.append(handle.element);
    drawCurve(view, area, handle);
  });
  handle.listen(chart);
  const update = () => {
    const step = view.state.steps[view.chosen];
    element.hidden = !step;
    if (!step) return;
    const curve = currentCurve(view);
    setText(title, `Step ${view.chosen + 1}: ${decisionTitle(step)}`);
    fill(words, ...(step.decision || []).map((text, index) => (index % 2 ? node("b", {}, text) : text)));
    fill(facts, ...decisionFacts(step));
    place.hidden = !curve;
    setText(keys.lastChild.lastChild, intervention(view.state.policy));
    keys.hidden = !curve || !curve.gain.some(isNumber);
    setText(hint, curve && view.on.score ? `Drag the handle, or use ← →, to try another ${axisName(curve.axis)}.` : "");
    reset.hidden = !view.on.reset;
    disable(reset, !view.state.controls?.edited, view.list);
    below.hidden = !hint.textContent && reset.disabled;
    chart.paint();
  };
  return { update, stop: chart.stop };
}

function currentCurve(view) {
  const curve = view.state.curve;
  return curve && curve.step === view.chosen ? curve : null;
}

function decisionTitle(step) {
  const done = doneText(step);
  if (!done) return "nothing was decided here";
  if (isForced(step) || !isNumber(step.gain) || !isNumber(step.price)) return done;
  return `${done}, gain ${brief(step.gain)} ${step.gain > step.price ? ">" : "≤"} price ${brief(step.price)}`;
}

function axisName(axis) {
  return axis === "score" ? "score" : "evidence score";
}

function flipText(value) {
  return value > 0.99 || value < 0.01 ? figure(value, 4) : figure(value, 2);
}

function decisionFacts(step) {
  const facts = [
    ["q before", chance(step.q)],
    ["q if kept", chance(step.q_keep)],
    ["q if regenerated", chance(step.q_regenerate)],
    ["q after", ["keep", "regenerate"].includes(step.action) ? "–" : chance(step.q_after)],
    // Beside a decision they stand in the title.
    ["gain", isForced(step) && isNumber(step.gain) ? brief(step.gain) : "–"],
    ["price", isForced(step) && isNumber(step.price) ? brief(step.price) : "–"],
    ["PRM score", isNumber(step.evidence) ? chance(step.score) : "–"],
    ["weak tokens", step.tokens && isNumber(step.tokens.weak) ? figure(step.tokens.weak, 0) : "–"],
    ["strong tokens", step.tokens && isNumber(step.tokens.strong) ? figure(step.tokens.strong, 0) : "–"],
  ];
  if (step.belief) CLASS_NAMES.forEach((name, kind) => facts.splice(1 + kind, 0, [name, chance(step.belief[kind])]));
  return facts.filter(([, value]) => value !== "–").map(([name, value]) => fact(name, value));
}

function fact(name, value) {
  return node("div", {}, node("div", { class: "tp-fact-name" }, name), node("div", {}, value));
}

// Scores close to certainty are told apart in log-odds; the scale of a solution stays while it is dragged.
function curveScale(view, curve, range) {
  if (view.logOdds === undefined) {
    const onScore = curve.axis === "score";
    const flips = view.state.steps.map((step) => (onScore ? step.flip_score : step.flip_evidence)).filter(isNumber);
    const seen = view.state.steps.map((step) => (onScore ? step.score : step.evidence)).filter(isNumber);
    const telling = flips.length ? flips : seen;
    view.logOdds = telling.filter((value) => value > 0.98 || value < 0.02).length > telling.length / 2;
  }
  const [low, high] = extent(curve.x);
  if (!view.logOdds) {
    const scale = linearScale([Math.min(0, low), Math.max(1, high)], range);
    scale.inside = (value) => Math.min(Math.max(1, high), Math.max(Math.min(0, low), value));
    return scale;
  }
  const edge = 1e-4;
  const inside = (value) => Math.min(1 - edge, Math.max(edge, value));
  const logit = (value) => Math.log(inside(value) / (1 - inside(value)));
  const inner = linearScale([logit(0), logit(1)], range);
  const scale = (value) => inner(logit(value));
  scale.invert = (x) => 1 / (1 + Math.exp(-inner.invert(x)));
  scale.inside = inside;
  scale.isLogOdds = true;
  const narrow = Math.abs(range[1] - range[0]) < 380;
  scale.ticks = () => (narrow ? [0.01, 0.1, 0.5, 0.9, 0.99] : [0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999]);
  return scale;
}

function drawCurve(view, area, handle) {
  const curve = currentCurve(view);
  if (!curve) return;
  const x = curveScale(view, curve, [area.left, area.right]);
  const y = gainScale(view.state, curve.gain, [area.bottom, area.top]);
  area.x = x;
  const line = stepped(curve);
  shadeRegions(view, area, curve, line.ends, x);
  const weighs = curve.gain.some(isNumber);
  if (weighs) axisLeft(area, y, {});
  beliefStrip(view, area, line, x);
  curveAxis(area, curve, x);
  drawLine(area.back, line.x, line.price, x, y, { class: "tp-price-line" });
  drawLine(area.back, line.x, line.gain, x, y, { class: "tp-gain-line" });
  curve.flips.forEach((value) => {
    area.back.append(shape("line", { class: "tp-flip", x1: x(value), x2: x(value), y1: area.top - 4, y2: area.bottom }));
  });
  nameFlip(area, curve, view.state.steps[curve.step], x);
  handle.place(curve, x, y);
}

// One flip is named, the nearest: of several the names would cover each other.
function nameFlip(area, curve, step, x) {
  const nearest = curve.axis === "score" ? step.flip_score : step.flip_evidence;
  const value = isNumber(nearest) ? nearest : curve.flips[0];
  if (!isNumber(value)) return;
  const text = `flips at ${flipText(value)}${curve.flips.length > 1 ? " and elsewhere" : ""}`;
  const at = { class: "tp-flip-text", x: x(value), y: area.top - 9, "text-anchor": anchorAt(x(value), area) };
  area.back.append(shape("text", at, text));
}

function anchorAt(x, area) {
  if (x < area.left + 60) return "start";
  return x > area.right - 60 ? "end" : "middle";
}

// What is said of a point holds up to the next one: every point twice, at both ends of its piece.
function stepped(curve) {
  const ends = [...curve.x.slice(1), Math.max(1, curve.x[curve.x.length - 1])];
  const twice = (values) => values.flatMap((value) => [value, value]);
  return {
    x: curve.x.flatMap((value, index) => [value, ends[index]]),
    gain: twice(curve.gain),
    price: twice(curve.price),
    belief: twice(curve.belief),
    ends,
  };
}

// Where it would not keep the step: shaded, and said in words.
function shadeRegions(view, area, curve, ends, x) {
  const regenerates = view.state.policy.verb === "regenerate";
  let from = null;
  curve.intervenes.forEach((there, index) => {
    if (there && from === null) from = index;
    if (!there || (curve.intervenes[index + 1] && index + 1 < curve.x.length)) return;
    const left = x(curve.x[from]);
    const width = Math.max(0, x(ends[index]) - left);
    from = null;
    area.back.append(shape("rect", { class: "tp-region", x: left, width, y: area.top - 4, height: area.bottom - area.top + 4 }));
    if (regenerates && width > 16) area.back.append(markAt("up", left + width / 2, area.bottom - 10, 4.5, { class: "tp-strong-mark" }));
  });
}

// Under the axis: what would be believed of the step at each score.
function beliefStrip(view, area, curve, x) {
  view.stripFills ||= classFills(area.svg);
  const y = linearScale([0, 1], [area.bottom + 15, area.bottom + 3]);
  const known = curve.x.filter((_, index) => curve.belief[index]);
  const rows = curve.belief.filter(Boolean);
  if (!rows.length) return;
  const s0 = rows.map((row) => row[0]);
  const upToS1 = rows.map((row) => row[0] + row[1]);
  drawBand(area.back, known, s0.map(() => 0), s0, x, y, { fill: view.stripFills[0] });
  drawBand(area.back, known, s0, upToS1, x, y, { fill: view.stripFills[1] });
  drawBand(area.back, known, upToS1, rows.map(() => 1), x, y, { fill: view.stripFills[2] });
}

function curveAxis(area, curve, x) {
  const below = { ...area, bottom: area.bottom + 15, back: area.back };
  const name = `${axisName(curve.axis)} of the step`;
  axisBottom(below, x, { label: x.isLogOdds ? `${name}, evenly in log-odds` : name });
}

// The handle on the current value: dragged by pointer, moved by arrows (with Shift by more), a slider to screen readers.
function scoreHandle(view) {
  const parts = handleParts();
  const known = { area: null, curve: null, x: null, y: null, value: null, dragged: false };
  const waiting = awaited();
  const stand = () => {
    standHandle(parts, known);
    setAttributes(parts.element, view.on.score ? sliderAttributes(known.curve, known.value) : { role: null, tabindex: null });
  };
  // The handle goes with the pointer at once; what follows from it comes when Python has answered.
  const send = (value) => {
    known.value = known.x.inside(value);
    waiting.sent(known.value);
    stand();
    view.on.score(known.curve.step, known.value);
  };
  const place = (curve, x, y) => {
    const another = known.curve && (known.curve.step !== curve.step || known.curve.axis !== curve.axis);
    if (another || view.state.trouble) waiting.forget();
    Object.assign(known, { curve, x, y });
    if (!known.dragged && !waiting.isLate(curve.at)) known.value = curve.at;
    const shown = isNumber(known.value);
    parts.element.style.display = shown ? "" : "none";
    parts.element.classList.toggle("tp-movable", Boolean(view.on.score));
    if (shown) stand();
  };
  const listen = (chart) => {
    known.area = chart.area;
    const canMove = () => Boolean(view.on.score && known.curve && isNumber(known.curve.at));
    dragHandle(chart.element, parts.element, known, canMove, send);
    parts.element.addEventListener("keydown", (event) => {
      const direction = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
      if (!direction || !canMove()) return;
      event.preventDefault();
      event.stopPropagation();
      const width = (known.area.right - known.area.left) / 100;
      const from = known.x(known.value);
      send(known.x.invert(from + direction * width * (event.shiftKey ? 10 : 1)));
    });
  };
  return { element: parts.element, place, listen, forget: waiting.forget };
}

function handleParts() {
  const line = shape("line", { class: "tp-handle-line" });
  const knob = shape("circle", { class: "tp-handle-knob", r: 7 });
  const grip = shape("rect", { class: "tp-handle-grip", width: 32 });
  const label = shape("text", { class: "tp-handle-text" });
  return { element: shape("g", { class: "tp-handle" }, grip, line, knob, label), line, knob, grip, label };
}

function standHandle(parts, { area, curve, x, y, value }) {
  const at = x(value);
  const gain = curve.gain[pieceAt(curve, value)];
  setAttributes(parts.line, { x1: at, x2: at, y1: area.top, y2: area.bottom });
  setAttributes(parts.knob, { cx: at, cy: isNumber(gain) ? y(gain) : area.top });
  setAttributes(parts.grip, { x: at - 16, y: area.top - 10, height: area.bottom - area.top + 28 });
  const nearEnd = at > area.right - 60;
  setAttributes(parts.label, { x: at + (nearEnd ? -11 : 11), y: area.top + 10, "text-anchor": nearEnd ? "end" : "start" });
  setText(parts.label, shownValue(value));
}

function dragHandle(surface, handle, known, canMove, send) {
  draggable(surface, {
    start: (x, y, event) => {
      if (!canMove()) return false;
      if (Math.abs(x - known.x(known.curve.at)) > (event.pointerType === "touch" ? 28 : 18)) return false;
      handle.focus({ preventScroll: true });
      known.dragged = true;
      return true;
    },
    move: (x) => send(known.x.invert(x)),
    end: () => {
      known.dragged = false;
    },
  });
}

// The piece of the curve that holds at a value.
function pieceAt(curve, value) {
  const after = curve.x.findIndex((start) => start > value);
  return after < 0 ? curve.x.length - 1 : Math.max(0, after - 1);
}

function sliderAttributes(curve, value) {
  return {
    role: "slider",
    tabindex: 0,
    "aria-label": `${curve.axis} of step ${curve.step + 1}`,
    "aria-valuemin": 0,
    "aria-valuemax": 1,
    "aria-valuenow": value,
    "aria-valuetext": shownValue(value),
  };
}

function shownValue(value) {
  return value > 0.99 || value < 0.01 ? figure(value, 4) : figure(value, 3);
}
