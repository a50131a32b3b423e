// The page as a whole: from what is set to what is shown, and `window.chainrule` for programs.

const FEW_PARTICLES = 64;

const model = JSON.parse(document.getElementById("model").textContent);
const source = JSON.parse(document.getElementById("worker-source").textContent);
const columns = model.description.columns.map((column, number) => ({ ...column, number }));
const byName = new Map(columns.map((column) => [column.name, column]));
const evidence = new Evidence();
const client = new Client(source, model);
// What takes longer has a worker of its own: monitors do not wait for it.
const slow = new Client(source, model);
const panels = [RowsPanel, NextPanel].map((Panel) => new Panel({ columns, client: slow, evidence }));
const status = document.getElementById("status");
const region = document.getElementById("set");
let monitors = [];

/** Return log p and how it came about, in words. */
function statusText({ log_probability: logProbability, n_effective: effective, is_density: isDensity }) {
  if (logProbability === null || logProbability === -Infinity) {
    return "What is set has no probability under the model: take something away.";
  }
  const share = isDensity ? "" : ` (${percent(Math.exp(logProbability))})`;
  const few = effective !== null && effective < FEW_PARTICLES;
  const warning = few ? ` Only about ${Math.round(effective)} of the draws behind this count: take it as rough.` : "";
  return `log p of what is set: ${fixed(logProbability, 3)} nats${share}.${warning}`;
}

function show(result, error) {
  status.classList.toggle("is-error", Boolean(error));
  if (error) {
    status.textContent = error.message;
    return;
  }
  const isAnything = evidence.conditions.size > 0;
  status.textContent = isAnything
    ? statusText(result)
    : "Nothing is set. Choose a bar, or drag over a curve.";
  monitors.forEach((monitor, d) => monitor.show(result.shown && result.shown[d]));
  document.body.dataset.milliseconds = result.milliseconds.toFixed(1);
}

function changed() {
  showChips(document.getElementById("chips"), evidence, byName, region);
  document.getElementById("clear").hidden = evidence.conditions.size === 0;
  const given = evidence.given();
  client.newest("monitors", { given }, show);
  for (const panel of panels) panel.update();
  if (window.parent !== window) window.parent.postMessage({ chainrule: { given } }, "*");
}

async function start() {
  const { displays, prior } = await client.request("start");
  monitors = columns.map((column, d) => new Monitor({ column, display: displays[d], evidence }));
  document.getElementById("monitors").append(...monitors.map((monitor) => monitor.element));
  monitors.forEach((monitor, d) => monitor.showPrior(prior[d]));
  evidence.listeners.push(changed);
  document.getElementById("clear").addEventListener("click", () => {
    evidence.replace({});
    region.focus();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    themeColours.clear();
    for (const monitor of monitors) monitor.curve?.redraw();
  });
  changed();
}

/** Set exactly these conditions, for programs; what is wrong with them is said on the page, too. */
function setAll(given) {
  const unknown = Object.keys(given).find((name) => !byName.has(name));
  if (unknown === undefined) {
    evidence.replace(given);
    return;
  }
  const error = new Error(`there is no column ${JSON.stringify(unknown)}`);
  show(null, error);
  throw error;
}

window.addEventListener("message", ({ data, source: from }) => {
  if (from === window.parent && data?.chainrule?.set) setAll(data.chainrule.set);
});

/** What programs may ask: see docs/explore.md. */
window.chainrule = Object.freeze({
  ready: start().then(() => true),
  ask: (question) => client.request("ask", question),
  set: setAll,
  given: () => evidence.given(),
});
window.chainrule.ready.catch((error) => {
  status.classList.add("is-error");
  status.textContent = `The page could not start: ${error.message}`;
});
