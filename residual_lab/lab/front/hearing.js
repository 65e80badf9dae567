// Hearing the kernel: how long a widget waits for an answer, what it says then, and a remedy for messages that get lost.

export const SILENCE_MS = 4000; // unanswered for so long: tell the learner
export const RESTARTED = "커널을 다시 시작했다면 노트북을 처음부터 다시 실행하십시오.";
export const UNANSWERED = `커널이 아직 답하지 않습니다. 실행 중인 셀이 끝나면 이어집니다. ${RESTARTED}`;

/**
 * Hear the kernel's messages whether or not anywidget gave this model up: who calls this has loaded.
 *
 * When a widget's module has not loaded within two seconds, as happens on a busy machine, anywidget (0.9 to 0.11) gives it up for
 * good: the view is drawn as soon as the module has loaded, but every message of the kernel is thrown away.
 */
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
