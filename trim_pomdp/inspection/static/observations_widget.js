export default widgetOf((root, state, ask) => drawObservations(root, state, { move: (question) => ask("move", question) }));
