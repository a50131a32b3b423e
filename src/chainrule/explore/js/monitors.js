// A monitor per column: its name, its bars or its curve, and a line of words.

class Monitor {
  constructor({ column, display, evidence }) {
    Object.assign(this, { column, display, evidence });
    this.id = `monitor-${column.number}`;
    this.words = element("p", { class: "words" });
    const heading = element("h3", { id: `${this.id}-name` }, column.name);
    this.element = element("article", { class: "monitor", id: this.id, tabindex: "-1",
      "aria-labelledby": `${this.id}-name` }, heading, this.words);
    if (display.kind === "levels") this._addBars(this._levels(), display.labels, this._order.bind(this), true);
    else this._addCurve();
  }

  _levels() {
    const { levels } = this.column;
    return this.display.labels.map((_, i) => (Array.isArray(levels) ? levels[i] : levels.low + i));
  }

  _addBars(values, labels, order, canHoldSeveral) {
    const { evidence } = this, { name } = this.column;
    this.makeBars = (probabilities) => {
      this.bars = new Bars({ name, values, labels, order: order(probabilities), canHoldSeveral, evidence });
      this.bars.showPrior(probabilities);
      this.element.append(this.bars.element);
    };
  }

  /** Names come by probability, numbers and two levels as they are. */
  _order(probabilities) {
    const numbers = [...probabilities.keys()];
    if (this.column.is_numeric || numbers.length < 3) return numbers;
    return numbers.sort((a, b) => probabilities[b] - probabilities[a]);
  }

  _addCurve() {
    const { column, display, evidence } = this;
    this.curve = new Curve({ column, display, evidence });
    this.element.append(this.curve.element);
    if (!display.labels.length) return;
    const labels = display.labels.map((value) => `= ${valueText(value, column)}`);
    this._addBars(display.labels, labels, (probabilities) => [...probabilities.keys()], false);
  }

  showPrior(shown) {
    this.before = shown;
    this.makeBars?.(shown.probabilities ?? shown.atoms);
    this.curve?.showPrior(shown.heights);
  }

  /** Show a posterior; null where the column is set to a value, or nothing is left. */
  show(shown) {
    const condition = this.evidence.get(this.column.name);
    this.element.classList.toggle("is-set", condition !== undefined);
    this.bars?.show(shown && (shown.probabilities ?? shown.atoms));
    this.curve?.show(shown && shown.heights);
    this.words.textContent = this._words(condition, shown);
    this.curve?.describe(this.words.textContent);
  }

  _words(condition, shown) {
    if (condition !== undefined && !shown) return `set: ${conditionText(condition, this.column)}`;
    if (!shown || shown.mean === undefined) return this.column.summary;
    const [before, now] = [this.before.mean, shown.mean].map((mean) => meanText(mean, this.column));
    return before === now ? `mean ${before}` : `mean ${now}, before ${before}`;
  }
}

/** Return a mean, which has a digit more than small whole numbers. */
function meanText(mean, column) {
  return numberText(mean, column, column.is_whole && Math.abs(mean) < 1000 ? 1 : 0);
}
