// What a run is in the page: its settings and everything that its frames brought.

export function newRun(id, values) {
  return { id, values, curves: {}, profiles: {}, matrices: {}, tables: {}, step: 0, total: 0, at: 0, arrived: 0, done: false, seconds: 0 };
}

/** A run from a snapshot or from a snapshot's pin. */
export function runOf(data) {
  const at = data.at ?? 0;
  return {
    ...newRun(data.run, data.values ?? {}),
    curves: data.curves ?? {},
    profiles: data.profiles ?? {},
    matrices: data.matrices ?? {},
    tables: data.tables ?? {},
    step: data.step ?? 0,
    total: data.total ?? 0,
    at,
    arrived: at,
    done: Boolean(data.done),
    seconds: data.seconds ?? 0,
  };
}

/** A copy that no later frame changes. Points are never changed in place, so the lists are copied, not the points. */
export function frozenCopy(run) {
  const curves = {};
  for (const [panel, series] of Object.entries(run.curves)) {
    curves[panel] = {};
    for (const [key, line] of Object.entries(series)) curves[panel][key] = { x: [...line.x], y: [...line.y] };
  }
  return { ...run, curves, profiles: { ...run.profiles }, matrices: { ...run.matrices }, tables: { ...run.tables } };
}

/** Take a frame into a run: curve points are appended, the rest replaces what was there. */
export function addFrame(run, frame) {
  for (const [panel, series] of Object.entries(frame.curves ?? {})) {
    const own = (run.curves[panel] ??= {});
    for (const [key, points] of Object.entries(series)) {
      const line = (own[key] ??= { x: [], y: [] });
      for (const x of points.x) line.x.push(x);
      for (const y of points.y) line.y.push(y);
    }
  }
  Object.assign(run.profiles, frame.profiles);
  Object.assign(run.matrices, frame.matrices);
  Object.assign(run.tables, frame.tables);
  run.at += frame.frames;
  run.step = frame.step;
  run.total = frame.total;
  run.done = frame.done;
  run.seconds = frame.seconds;
}

/**
 * Cut a frame message that holds several experiment frames into the smallest parts that each move the picture: one for
 * every x at which a curve has a new point. Pictures that replace one another go with the last part.
 */
export function singleFrames(frame, stepBefore) {
  const lines = Object.entries(frame.curves ?? {}).flatMap(([panel, series]) =>
    Object.entries(series).map(([key, { x, y }]) => ({ panel, key, x, y })));
  const stops = [...new Set(lines.flatMap(({ x }) => x))].sort((a, b) => a - b);
  const count = Math.min(frame.frames, stops.length);
  if (count <= 1) return [frame];
  const until = (i) => Math.round((frame.frames * (i + 1)) / count);
  const parts = Array.from({ length: count }, (_, i) => ({
    frames: until(i) - (i ? until(i - 1) : 0),
    curves: {},
    step: Math.round(stepBefore + ((frame.step - stepBefore) * (i + 1)) / count),
    total: frame.total,
    done: false,
    seconds: frame.seconds,
  }));
  for (const { panel, key, x, y } of lines) {
    x.forEach((at, i) => {
      const part = parts[Math.min(count - 1, Math.floor((stops.indexOf(at) * count) / stops.length))];
      const line = ((part.curves[panel] ??= {})[key] ??= { x: [], y: [] });
      line.x.push(at);
      line.y.push(y[i]);
    });
  }
  const { profiles, matrices, tables, done, step } = frame;
  Object.assign(parts[count - 1], { profiles, matrices, tables, done, step });
  return parts;
}
