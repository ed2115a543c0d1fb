export default widgetOf((root, state, ask) => drawPolicyMap(root, state, { look: (question) => ask("look", question) }));
