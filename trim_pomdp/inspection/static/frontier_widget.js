// `FrontierExplorer` in a notebook: Python answers what the drawing asks. Stands last.

function render({ model, el }) {
  const root = node("div", {});
  el.append(root);
  const stopTheme = followTheme(root);
  const asking = oneAtATime((question, number) => {
    model.set("asked", { ...question, number });
    model.save_changes();
  });
  const state = { fixed: model.get("fixed"), chosen: model.get("chosen"), details: model.get("details") };
  const update = drawFrontier(root, state, { ask: asking.put });
  const chosen = () => update({ chosen: model.get("chosen") });
  const details = () => {
    const answer = model.get("details");
    update({ chosen: model.get("chosen"), details: answer });
    asking.answered(answer.number);
  };
  model.on("change:chosen", chosen);
  model.on("change:details", details);
  return () => {
    model.off("change:chosen", chosen);
    model.off("change:details", details);
    update.stop();
    stopTheme();
  };
}

export default { render };
