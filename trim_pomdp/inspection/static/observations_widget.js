// `ObservationExplorer` in a notebook: Python answers what the drawing asks. Stands last.

function render({ model, el }) {
  const root = node("div", {});
  el.append(root);
  const stopTheme = followTheme(root);
  const asking = oneAtATime((question, number) => {
    model.set("asked", { ...question, number });
    model.save_changes();
  });
  const update = drawObservations(root, model.get("state"), { ask: asking.put });
  const changed = () => {
    const answer = model.get("state");
    update(answer);
    asking.answered(answer.number);
  };
  model.on("change:state", changed);
  return () => {
    model.off("change:state", changed);
    update.stop();
    stopTheme();
  };
}

export default { render };
