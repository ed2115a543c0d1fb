export default widgetOf((root, state, ask) =>
  drawFrontier(root, state, {
    look: (question) => ask("look", question),
    details: () => ask("details"),
  }),
);
