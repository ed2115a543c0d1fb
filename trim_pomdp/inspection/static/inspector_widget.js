export default widgetOf((root, state, ask) =>
  drawInspector(root, state, {
    choose: (step) => ask("choose", step),
    score: (step, value) => ask("score", step, value),
    budget: (index) => ask("budget", index),
    belief: (index) => ask("belief", index),
    reset: () => ask("reset"),
  }),
);
