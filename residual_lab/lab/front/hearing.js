// A remedy for what anywidget (0.9 to 0.11) does on a busy machine: it gives a model up for good when its module has not loaded
// within two seconds. The view is drawn as soon as it has, but every message of the kernel is thrown away.

/** Hear the kernel's messages whether or not anywidget gave this model up: who calls this has loaded. */
export function hearInSpite(model) {
  const heard = (whole) => {
    const channel = whole?.comm?.jsServicesComm; // JupyterLab's; in Colab, which has its own, a second listener would take messages away
    if (!channel) return;
    const before = channel.onMsg;
    channel.onMsg = (message) => {
      const { method, content } = message.content.data;
      if (method !== "custom") return before(message);
      whole.trigger("msg:custom", content, message.buffers);
    };
  };
  model.on("change:heard", heard); // a change brings the whole model, of which anywidget hands out a part
  model.set("heard", true);
  model.off("change:heard", heard);
}
