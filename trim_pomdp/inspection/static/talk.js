// How a widget's page talks with Python: one question at a time, the newest of its kind, so that drags never queue up.
// Questions go out in the trait `asked`, states come back in the trait `state` with the serial of what they answer.

const PATIENCE_MS = 4000;

// What anywidget is given: draws the state by draw(root, state, ask) → update(state), where ask(name, …values).
function widgetOf(draw) {
  return {
    render({ model, el }) {
      const root = document.createElement("div");
      el.append(root);
      const forget = followTheme(root);
      const talk = conversation(model);
      const update = draw(root, model.get("state"), talk.ask);
      const changed = () => {
        const state = model.get("state");
        update(state);
        talk.heard(state.serial);
        root.dataset.serial = String(state.serial);
      };
      model.on("change:state", changed);
      return () => {
        model.off("change:state", changed);
        forget();
        update.stop?.();
      };
    },
  };
}

function conversation(model) {
  // Serials of this page do not meet those of another view, or of an earlier one.
  let serial = Math.floor(Math.random() * 2 ** 40);
  let sentAt = null;
  const waiting = new Map();
  const send = () => {
    if (!waiting.size) return;
    serial += 1;
    sentAt = performance.now();
    model.set("asked", { serial, questions: [...waiting.values()] });
    waiting.clear();
    model.save_changes();
  };
  return {
    ask(name, ...values) {
      // The newest of a kind replaces an older one that was not sent yet; kinds keep their order.
      waiting.delete(name);
      waiting.set(name, [name, ...values]);
      if (sentAt === null || performance.now() - sentAt > PATIENCE_MS) send();
    },
    heard(answered) {
      if (answered !== serial) return;
      sentAt = null;
      send();
    },
  };
}
