// Entry of the lab for anywidget and for the site: one client per model, any number of views.

import {LabClient} from "./client.js";
import {hearInSpite} from "./hearing.js";
import {LabView} from "./view.js";

const CLIENTS = new WeakMap();

/** The client of a model. anywidget hands every view another wrapper of the model; what all wrappers share is the spec object. */
function clientOf(model) {
  const spec = model.get("spec");
  if (!CLIENTS.has(spec)) CLIENTS.set(spec, new LabClient(model));
  return CLIENTS.get(spec);
}

function initialize({ model }) {
  hearInSpite(model);
  const client = clientOf(model);
  return () => {
    client.dispose();
    CLIENTS.delete(model.get("spec"));
  };
}

function render({ model, el }) {
  const view = new LabView(clientOf(model), el);
  return () => view.dispose();
}

export default { initialize, render };
