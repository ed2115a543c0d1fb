// The policy map alone: gain − price over q and the score, for a step. Stands after explorers.js.
//
// drawPolicyMap(root, state, on) draws `policy_map_state` of Python and returns update(state);
// on.look({step, part, ended}) tells what the reader wants to see.

function drawPolicyMap(root, state, on = {}) {
  root.classList.add("tp-root", "tp-explorer");
  setAttributes(root, { role: "region", "aria-label": "Policy map" });
  const tip = tooltip(root);
  const frame = node("div", { class: "tp-frame tp-narrow" });
  root.prepend(frame);
  const asked = { step: state.step, part: state.part, ended: state.ended };
  const ask = (moved) => on.look?.({ ...Object.assign(asked, moved) });
  const slider = explorerSlider("step", { min: 0, max: Math.max(state.last_step, 1), step: 1, format: (value) => String(value + 1) }, (step) => ask({ step }));
  const part = node("select", { "aria-label": "which policy of the mixture" });
  part.addEventListener("change", () => ask({ part: part.selectedIndex }));
  const ends = node("input", { type: "checkbox" });
  ends.addEventListener("change", () => ask({ ended: ends.checked }));
  const endsBox = node("label", { class: "tp-control" }, ends, "the step ends the solution");
  const map = policyMap(tip, { height: (width) => (width < 500 ? 300 : 380) });
  const title = node("div", { class: "tp-title" });
  const trouble = explorerTrouble();
  frame.append(title, node("div", { class: "tp-controls" }, slider.element, endsBox, part), trouble.element, map.element);
  const update = (next) => {
    const where = `Where the policy ${next.does}`;
    setText(title, next.parts.length > 1 ? `${where} (one of two is drawn for each problem)` : `${where}: ${next.parts[0].label}`);
    for (const control of [slider.element, endsBox]) control.hidden = !next.grid;
    Object.assign(asked, { step: next.step, part: next.part, ended: next.ended });
    slider.set(next.step);
    ends.checked = next.ended;
    part.hidden = next.parts.length < 2;
    offer(part, next.parts.map(partLabel), next.part);
    trouble.update(next.trouble);
    map.update(next);
  };
  keepKeys(root);
  update(state);
  update.stop = () => map.stop();
  return update;
}
