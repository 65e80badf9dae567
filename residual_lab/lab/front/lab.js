// Entry of the lab for anywidget and for the site: one client per model, any number of views.

import {LabClient} from "./client.js";
import {LabView} from "./view.js";

const CLIENTS = new WeakMap();

/** The client of a model; views of one model share it. */
function clientOf(model) {
  if (!CLIENTS.has(model)) CLIENTS.set(model, new LabClient(model));
  return CLIENTS.get(model);
}

function initialize({ model }) {
  clientOf(model);
  return () => {
    CLIENTS.get(model)?.dispose();
    CLIENTS.delete(model);
  };
}

function render({ model, el }) {
  const view = new LabView(clientOf(model), el);
  return () => view.dispose();
}

export default { initialize, render };
