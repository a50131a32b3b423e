// A curve of a numeric column on uPlot: grey before, coloured now; brush a range, or type its ends.

const CHART_HEIGHT = 118;
const DATE_FORMATS = { days: "date", seconds: "datetime-local" };

// Asked of the style sheet once in each theme: every question costs a layout of the page.
const themeColours = new Map();

function themeColour(name) {
  if (!themeColours.has(name)) {
    themeColours.set(name, getComputedStyle(document.documentElement).getPropertyValue(name).trim());
  }
  return themeColours.get(name);
}

class Curve {
  constructor({ column, display, evidence }) {
    Object.assign(this, { column, display, evidence, name: column.name });
    const { numbers } = display;
    // Cells of whole numbers are steps; a density is a line through the middles.
    this.x = display.isReal
      ? Array.from({ length: numbers.length - 1 }, (_, i) => (numbers[i] + numbers[i + 1]) / 2)
      : Array.from(numbers);
    this.before = this.now = this.x.map(() => 0);
    this.chart = element("div", { class: "chart", role: "img" });
    this.ends = ["from", "to"].map((word) => this._input(word));
    this.element = element("div", {}, this.chart,
      element("div", { class: column.unit ? "ends is-dates" : "ends" }, ...this.ends.map((input, i) =>
        element("label", {}, element("span", {}, ["from", "to"][i]), input))));
    new ResizeObserver(() => this._fit()).observe(this.chart);
  }

  _input(word) {
    const type = this.column.unit ? DATE_FORMATS[this.column.unit] : "number";
    return element("input", {
      type, step: this.column.unit === "seconds" || this.column.is_whole ? 1 : "any",
      inputmode: this.column.unit ? null : "decimal",
      "aria-label": `${this.name} ${word}`, change: () => this._typed(),
    });
  }

  _typed() {
    const { unit } = this.column;
    const read = ({ value }) => (value === "" ? null : unit ? numberOfDate(value, unit) : Number(value));
    this._set(...this.ends.map(read));
  }

  _set(low, high) {
    if (low === null && high === null) this.evidence.set(this.name, undefined);
    else if (low !== null && low === high) this.evidence.set(this.name, low);
    else this.evidence.set(this.name, { range: [low, high] });
  }

  _brushed(chart) {
    const { left, width } = chart.select;
    if (width < 3) {
      this._mark();
      return;
    }
    let [low, high] = [chart.posToVal(left, "x"), chart.posToVal(left + width, "x")];
    if (this.display.isReal) [low, high] = [low, high].map((end) => rounded(end, this.column.step));
    else {
      low = Math.ceil(low);
      high = Math.floor(high);
      if (low > high) low = high = Math.round((low + high) / 2);
    }
    this._set(low, high);
  }

  _make() {
    const colour = (name) => () => themeColour(name);
    const paths = this.display.isReal ? uPlot.paths.linear() : uPlot.paths.stepped({ align: 1 });
    const line = (stroke, fill, width) => ({
      stroke: colour(stroke), fill: colour(fill), width, paths, points: { show: false },
    });
    const options = {
      width: this.chart.clientWidth, height: CHART_HEIGHT, legend: { show: false },
      padding: [6, 18, 0, 10],
      cursor: { y: false, points: { show: false }, drag: { x: true, y: false, setScale: false } },
      scales: {
        x: { time: false, range: () => [this.display.numbers[0], this.display.numbers.at(-1)] },
        y: { range: (_, __, high) => [0, high > 0 ? high * 1.04 : 1] },
      },
      axes: [this._axis(colour), { show: false }],
      series: [{}, line("--prior-line", "--prior", 1), line("--accent", "--posterior-fill", 2)],
      hooks: { setSelect: [(chart) => this._brushed(chart)] },
    };
    this.plot = new uPlot(options, this._data(), this.chart);
    this._listenToFingers(this.plot.over);
    this.plot.over.addEventListener("dblclick", () => this.evidence.set(this.name, undefined));
    this._mark();
  }

  /** The height in CSS pixels; to ask the element would make the browser lay out the page once more. */
  plotHeight() {
    return this.plot.bbox.height / devicePixelRatio;
  }

  /** uPlot listens to a mouse alone: let a finger brush as well. */
  _listenToFingers(over) {
    let start = null;
    const place = (event) =>
      Math.min(Math.max(event.clientX - over.getBoundingClientRect().left, 0), over.clientWidth);
    const select = (event) => {
      const [left, right] = [start, place(event)].sort((a, b) => a - b);
      this.plot.setSelect({ left, width: right - left, top: 0, height: this.plotHeight() }, false);
    };
    over.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "touch") start = place(event);
    });
    over.addEventListener("pointermove", (event) => {
      if (start !== null) select(event);
    });
    over.addEventListener("pointerup", (event) => {
      if (start === null) return;
      select(event);
      start = null;
      this._brushed(this.plot);
    });
    over.addEventListener("pointercancel", () => {
      start = null;
      this._mark();
    });
  }

  _axis(colour) {
    const span = this.display.numbers.at(-1) - this.display.numbers[0];
    const text = (_, values) => values.map((value) => tickText(value, this.column, span));
    return {
      stroke: colour("--muted"), font: "12px system-ui, sans-serif", size: 26, gap: 3,
      space: this.column.unit ? 84 : 42, values: text, grid: { show: false },
      incrs: increments(this.column),
      ticks: { stroke: colour("--rule"), width: 1, size: 4 },
    };
  }

  _data() {
    const steps = (heights) => (this.display.isReal ? heights : [...heights, heights.at(-1)]);
    return [this.x, steps(this.before), steps(this.now)];
  }

  _fit() {
    const width = this.chart.clientWidth;
    if (!width) return;
    if (!this.plot) this._make();
    else if (this.plot.width !== width) this.plot.setSize({ width, height: CHART_HEIGHT });
    this._mark();
  }

  showPrior(heights) {
    this.before = Array.from(heights);
    this.show(heights);
  }

  /** Show densities; null where the column is set to a value. */
  show(heights) {
    this.now = heights ? Array.from(heights) : this.before.map(() => 0);
    this.plot?.setData(this._data());
    this._mark();
  }

  /** Say in words what the curve shows, for those who do not see it. */
  describe(words) {
    this.chart.setAttribute("aria-label", `${this.name}: ${words}. Drag over it, or type the ends of a range below.`);
  }

  redraw() {
    this.plot?.redraw();
  }

  /** Show on the chart and in the fields what the column is set to. */
  _mark() {
    const condition = this.evidence.get(this.name);
    const isRange = Boolean(condition?.range);
    const [low, high] = isRange ? condition.range : [condition ?? null, condition ?? null];
    [low, high].forEach((end, i) => {
      if (document.activeElement !== this.ends[i] || end === null) this.ends[i].value = this._fieldText(end);
    });
    if (!this.plot) return;
    const [first, last] = [this.display.numbers[0], this.display.numbers.at(-1)];
    const half = this.display.isReal ? 0 : 0.5;
    const inside = [(low ?? -Infinity) - half, (high ?? Infinity) + half].map((end) =>
      Math.min(Math.max(end, first), last));
    const [left, right] = inside.map((end) => this.plot.valToPos(end, "x"));
    const width = condition === undefined ? 0 : Math.max(right - left, 2);
    this.plot.setSelect({ left, width, top: 0, height: this.plotHeight() }, false);
  }

  _fieldText(end) {
    if (end === null || typeof end !== "number") return end === null ? "" : String(end);
    if (this.column.unit) return dateText(end, this.column.unit).replace(" ", "T");
    return String(end);
  }
}

/** Return a number without digits that a brush cannot mean. */
function rounded(number, step) {
  const unit = 10 ** (Math.floor(Math.log10(step)) - 2);
  return Number((Math.round(number / unit) * unit).toPrecision(12));
}

/** Return by what ticks may differ: whole numbers, whole days, or anything round. */
function increments(column) {
  const whole = Array.from({ length: 12 }, (_, i) => [1, 2, 5].map((each) => each * 10 ** i)).flat();
  if (column.unit !== "seconds") return column.is_whole || column.unit ? whole : undefined;
  const ofDay = [1, 10, 60, 600, 3600, 6 * 3600];
  return [...ofDay, ...whole.map((days) => days * 86400)];
}
