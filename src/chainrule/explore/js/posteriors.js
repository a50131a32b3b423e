// One column's distribution given all that is set, and what monitors show of it.

const MAX_BARS = 12;
const N_CELLS = 96;
const SHOWN_MASS = 0.999;
// A single level of a column with bins is shown beside the curve where it is this probable.
const HEAVY = 0.05;
const FURTHEST = 1e3;
const TINY = 1e-12;

/** The mixture of one column's conditionals over weighted particles, cut to an event on the column itself. */
class Posterior {
  constructor(mixed, event = null) {
    Object.assign(this, { mixed, column: mixed.column, family: mixed.family, event });
    this.isFinite = this.family.kind === "finite";
    if (this.isFinite) this.codes = this._codeProbabilities();
    else this.total = event ? this._sum((p) => mixed.massOf(p, event.low, event.high)) : 1;
  }

  _sum(f) {
    let sum = 0;
    this.mixed.weights.forEach((weight, p) => {
      if (weight > 0) sum += weight * f(p);
    });
    return sum;
  }

  /** The probabilities of the codes that networks see: levels or bins. */
  _codeProbabilities() {
    const sums = new Float64Array(this.family.n), { weights } = this.mixed;
    for (let p = 0; p < this.mixed.n; p++) {
      const each = this.mixed.probabilitiesOf(p);
      for (let k = 0; k < sums.length; k++) sums[k] += weights[p] * each[k];
    }
    if (!this.event) return sums;
    const cut = sums.map((each, k) => each * this.event.allowed[k]);
    const total = cut.reduce((a, b) => a + b, 0);
    return cut.map((each) => each / total);
  }

  /** Return P(X <= edge) at sorted edges: levels' numbers, counts or codes of real numbers. */
  cdf(edges) {
    if (this.isFinite) return edges.map((edge) => this._cdfOfLevel(Math.floor(edge)));
    const out = new Float64Array(edges.length), { event } = this;
    const ends = event ? [...edges.map((edge) => Math.min(edge, event.high)), event.high] : edges;
    const sums = this._cdfSums(ends);
    if (!event) return out.map((_, i) => sums[i]);
    const before = sums.at(-1) - this.total;
    return out.map((_, i) => (edges[i] < event.low ? 0 : Math.max(sums[i] - before, 0) / this.total));
  }

  _cdfSums(edges) {
    const sums = new Float64Array(edges.length), { weights } = this.mixed;
    for (let p = 0; p < this.mixed.n; p++) {
      if (!(weights[p] > 0)) continue;
      this.mixed.each(p, (P, o, share) => this.family.addCdf(edges, weights[p] * share, P, o, sums));
    }
    return sums;
  }

  _cdfOfLevel(level) {
    const { bins } = this.column;
    this.cumulative ??= cumulated(this.codes);
    if (level < 0) return 0;
    if (level >= this.column.nLevels - 1) return 1;
    if (!bins) return this.cumulative[level + 1];
    const bin = bins.binOf(level);
    return this.cumulative[bin] + this.codes[bin] * this._cdfWithin(bin, level);
  }

  _cdfWithin(bin, level) {
    const { bins } = this.column, { event } = this;
    if (!event) return bins.cdfWithin(bin, level);
    if (level < event.from) return 0;
    if (!(event.allowed[bin] > 0)) return 1;
    const before = bins.cdfWithin(bin, event.from - 1);
    return Math.max(bins.cdfWithin(bin, Math.min(level, event.to)) - before, 0) / event.allowed[bin];
  }

  /** Return the expected value as a number of the person's. */
  mean() {
    if (!this.isFinite && this.event) return this._meanByCells();
    if (!this.isFinite) {
      const each = (p) => {
        let sum = 0;
        this.mixed.each(p, (P, o, share) => {
          sum += share * this.family.mean(P, o);
        });
        return sum;
      };
      return this._sum(each) * this.column.step + this.column.offset;
    }
    const { bins } = this.column, isCut = bins && this.event;
    let sum = 0;
    this.codes.forEach((p, code) => {
      if (p > 0) sum += p * (isCut ? this._meanWithin(code) : bins ? bins.means[code] : code);
    });
    return sum + this.column.level(0);
  }

  /** The mean of a bin that an event cuts: the middle of what is left of it is close enough. */
  _meanWithin(bin) {
    const { bins } = this.column;
    if (this.event.allowed[bin] > 1 - TINY) return bins.means[bin];
    return (Math.max(bins.starts[bin], this.event.from) + Math.min(bins.starts[bin + 1] - 1, this.event.to)) / 2;
  }

  /** The mean of a density between two ends, from its distribution function at many points. */
  _meanByCells() {
    const [low, high] = [this.quantiles([0.0005])[0], this.quantiles([0.9995])[0]];
    const n = 512, edges = Float64Array.from({ length: n + 1 }, (_, i) => low + ((high - low) * i) / n);
    const reached = this.cdf(edges);
    let sum = low * reached[0] + high * (1 - reached[n]);
    for (let i = 0; i < n; i++) sum += (reached[i + 1] - reached[i]) * (edges[i] + edges[i + 1]) * 0.5;
    return sum * this.column.step + this.column.offset;
  }

  /** Return the least codes (of levels their numbers) up to which the probability is at least each q. */
  quantiles(qs) {
    const isReal = this.family.kind === "real";
    const lows = qs.map(() => (isReal ? -FURTHEST : -1));
    const highs = qs.map(() => this.furthest());
    const isDone = () => lows.every((low, i) => highs[i] - low <= (isReal ? 1e-9 : 1));
    while (!isDone()) {
      const middles = lows.map((low, i) => (isReal ? (low + highs[i]) / 2 : Math.floor((low + highs[i]) / 2)));
      qs.forEach((q, i) => {
        if (this.cdf([middles[i]])[0] < q - TINY) lows[i] = middles[i];
        else highs[i] = middles[i];
      });
    }
    const masses = this.family.masses ?? [];
    return highs.map((code) => masses.find((mass) => Math.abs(code - mass) < 2e-9) ?? code);
  }

  furthest() {
    if (this.isFinite) return this.column.nLevels - 1;
    if (this.family.kind === "real") return FURTHEST;
    let high = 1;
    while (high < 2 ** 24 && this.cdf([high])[0] < 1 - 1e-6) high *= 2;
    return high;
  }

  /** Return the value of a code, of columns with levels of a level's number. */
  valueOf(code) {
    return this.isFinite ? this.column.level(code) : this.column.number(code);
  }

  /** Return the probabilities of single codes, of real numbers' point masses. */
  massesOf() {
    const sums = new Float64Array(this.family.masses.length), { weights } = this.mixed;
    for (let p = 0; p < this.mixed.n; p++) {
      this.mixed.each(p, (P, o, share) => this.family.addMasses(weights[p] * share, P, o, sums));
    }
    const { event } = this;
    if (!event) return sums;
    return sums.map((each, j) => {
      const code = this.family.masses[j];
      return code >= event.low && code <= event.high ? each / this.total : 0;
    });
  }
}

function cumulated(probabilities) {
  const sums = new Float64Array(probabilities.length + 1);
  probabilities.forEach((each, i) => {
    sums[i + 1] = sums[i] + each;
  });
  return sums;
}

/** How a monitor shows a column: bars of levels, or a curve over cells with heavy single values beside it. */
function displayOf(column, prior) {
  if (column.isFinite && !column.bins && (!column.is_numeric || column.nLevels <= MAX_BARS)) {
    return { kind: "levels", labels: Array.from({ length: column.nLevels }, (_, i) => column.levelText(i)) };
  }
  const atoms = atomsOf(column, prior);
  const isReal = column.family.kind === "real";
  const [low, high] = column.isFinite && !column.bins ? [0, column.nLevels - 1] : shownRange(prior, atoms);
  const edges = isReal ? evenEdges(low, high, N_CELLS) : wholeEdges(low, high);
  const shift = isReal ? 0 : 0.5;
  const numbers = edges.map((edge) => (column.isFinite ? column.level(0) + edge : edge * column.step + column.offset) + shift);
  const labels = atoms.map((code) => (column.isFinite ? column.level(code) : column.number(code)));
  return { kind: "curve", edges, numbers, atoms, labels, isReal };
}

/** Return the codes that have a probability of their own in a monitor. */
function atomsOf(column, prior) {
  if (column.family.masses) return column.family.masses;
  if (!column.bins) return [];
  const { starts } = column.bins;
  const heavy = [...prior.codes.keys()].filter(
    (bin) => starts[bin + 1] - starts[bin] === 1 && prior.codes[bin] >= HEAVY,
  );
  return heavy.sort((a, b) => prior.codes[b] - prior.codes[a]).slice(0, 6).sort((a, b) => a - b)
    .map((bin) => starts[bin]);
}

/** Return P(atom) of all atoms. */
function atomMasses(posterior, atoms) {
  if (posterior.family.masses) return posterior.massesOf();
  return Float64Array.from(atoms, (level) => posterior.codes[posterior.column.bins.binOf(level)]);
}

/** Return between which codes nearly all lies that is no atom. */
function shownRange(prior, atoms) {
  const masses = atomMasses(prior, atoms);
  const rest = 1 - masses.reduce((a, b) => a + b, 0);
  const reached = (edge) =>
    atoms.reduce((sum, atom, i) => sum - (atom <= edge ? masses[i] : 0), prior.cdf([edge])[0]);
  const isReal = prior.family.kind === "real";
  return [1 - SHOWN_MASS, SHOWN_MASS].map((q) => {
    let low = isReal ? -FURTHEST : -1, high = prior.furthest();
    while (high - low > (isReal ? 1e-6 : 1)) {
      const middle = isReal ? (low + high) / 2 : Math.floor((low + high) / 2);
      if (reached(middle) < q * rest) low = middle;
      else high = middle;
    }
    return high;
  });
}

function evenEdges(low, high, n) {
  const margin = (high - low) * 0.03;
  const step = (high - low + 2 * margin) / n;
  return Float64Array.from({ length: n + 1 }, (_, i) => low - margin + i * step);
}

/** Edges between whole numbers: one cell for each, or for several where there are many. */
function wholeEdges(low, high) {
  const step = high - low < 256 ? 1 : Math.ceil((high - low + 1) / 64);
  const n = Math.max(Math.ceil((high - low + 1) / step), 1);
  return Float64Array.from({ length: n + 1 }, (_, i) => low - 1 + i * step);
}

/** Return what a monitor shows of a posterior. */
function shownOf(posterior, display) {
  if (display.kind === "levels") return { probabilities: posterior.codes };
  const reached = posterior.cdf(display.edges), { edges } = display;
  const atoms = display.atoms.length ? atomMasses(posterior, display.atoms) : new Float64Array(0);
  const masses = Float64Array.from({ length: edges.length - 1 }, (_, i) => reached[i + 1] - reached[i]);
  display.atoms.forEach((atom, a) => {
    const cell = edges.findIndex((edge, i) => atom > edge && atom <= edges[i + 1]);
    if (cell >= 0) masses[cell] = Math.max(masses[cell] - atoms[a], 0);
  });
  const heights = masses.map((mass, i) => mass / (display.numbers[i + 1] - display.numbers[i]));
  return { heights, atoms, mean: posterior.mean() };
}
