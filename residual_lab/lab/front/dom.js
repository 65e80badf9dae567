// Making and changing page elements. `node` makes HTML, `shape` makes SVG; both take attributes and children.
// An attribute that is a function is an event listener; null and false attributes are left out.

function furnish(el, attrs, kids) {
  for (const [name, value] of Object.entries(attrs)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") el.addEventListener(name, value);
    else el.setAttribute(name, value === true ? "" : String(value));
  }
  el.append(...kids.filter((kid) => kid !== null && kid !== undefined));
  return el;
}

export function node(tag, attrs = {}, ...kids) {
  return furnish(document.createElement(tag), attrs, kids);
}

export function shape(tag, attrs = {}, ...kids) {
  return furnish(document.createElementNS("http://www.w3.org/2000/svg", tag), attrs, kids);
}

/** Set the text of an element only when it differs, so that an unchanged frame costs no layout. */
export function setText(el, text) {
  if (el.textContent !== text) el.textContent = text;
}

/** Set or (with null) remove an attribute only when it differs. */
export function setAttr(el, name, value) {
  if (value === null || value === undefined) {
    if (el.hasAttribute(name)) el.removeAttribute(name);
  } else if (el.getAttribute(name) !== String(value)) {
    el.setAttribute(name, value);
  }
}

let serial = 0;

/** An id that no other element of the page has. */
export function freshId(stem) {
  serial += 1;
  return `rl-${stem}-${serial}-${Math.random().toString(36).slice(2, 7)}`;
}

/** Buttons stay focusable while they are unavailable, so that a keyboard user does not lose the place. */
export function setEnabled(button, enabled) {
  setAttr(button, "aria-disabled", enabled ? null : "true");
}

export function isEnabled(button) {
  return button.getAttribute("aria-disabled") !== "true";
}

/**
 * Keep typed keys inside: JupyterLab takes arrows, Enter and letters pressed in an output for its own shortcuts.
 * What hosts need everywhere (Ctrl, Meta, Alt, Escape, Shift+Enter) gets through.
 */
export function guardKeys(event) {
  const forHost = event.ctrlKey || event.metaKey || event.altKey || event.key === "Escape" || (event.shiftKey && event.key === "Enter");
  if (!forHost) event.stopPropagation();
}
