// Columns: from a person's values and ranges to codes and back; bins of wide ordinals.

/** Runs of levels that networks see as one; see schema/types/bins.py. */
class Bins {
  constructor({ starts, levels, counts, discount }) {
    Object.assign(this, { starts, levels, counts, discount, n: starts.length - 1 });
    this.kept = new Float64Array(levels.length + 1);
    this.rows = new Float64Array(this.n);
    const nSeen = new Float64Array(this.n), sums = new Float64Array(this.n);
    levels.forEach((level, i) => {
      const bin = this.binOf(level);
      this.kept[i + 1] = this.kept[i] + counts[i] - discount;
      this.rows[bin] += counts[i];
      nSeen[bin] += 1;
      sums[bin] += (counts[i] - discount) * level;
    });
    this.spread = nSeen.map((seen, b) => (discount * seen + 1) / (starts[b + 1] - starts[b]));
    this.means = sums.map((sum, b) => {
      const evenly = this.spread[b] * (starts[b + 1] - starts[b]) * ((starts[b] + starts[b + 1] - 1) / 2);
      return (sum + evenly) / (this.rows[b] + 1);
    });
  }

  binOf(level) {
    return firstAbove(this.starts, level) - 1;
  }

  logProbWithin(level) {
    const bin = this.binOf(level), at = firstAbove(this.levels, level) - 1;
    const own = at >= 0 && this.levels[at] === level ? this.counts[at] - this.discount : 0;
    return Math.log((own + this.spread[bin]) / (this.rows[bin] + 1));
  }

  /** Return P(X <= level | bin), for any level: 0 before the bin, 1 behind it. */
  cdfWithin(bin, level) {
    const start = this.starts[bin], end = this.starts[bin + 1];
    if (level < start) return 0;
    if (level >= end - 1) return 1;
    const kept = this.kept[firstAbove(this.levels, level)] - this.kept[firstAbove(this.levels, start - 1)];
    return (kept + this.spread[bin] * (Math.floor(level) - start + 1)) / (this.rows[bin] + 1);
  }

  /** Draw a level of a bin between two levels, by bisection. */
  draw(bin, low, high, uniform) {
    let a = Math.max(low, this.starts[bin]) - 1, b = Math.min(high, this.starts[bin + 1] - 1);
    const from = this.cdfWithin(bin, a), wanted = from + uniform * (this.cdfWithin(bin, b) - from);
    while (b - a > 1) {
      const middle = Math.floor((a + b) / 2);
      if (this.cdfWithin(bin, middle) < wanted) a = middle;
      else b = middle;
    }
    return b;
  }
}

/** Return how many of the sorted numbers are at most x. */
function firstAbove(sorted, x) {
  let low = 0, high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle] <= x) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** One column: what its values are, and how networks see them. */
class Column {
  constructor(description, index) {
    Object.assign(this, description, { index });
    this.family = makeFamily(description.family);
    this.bins = description.bins ? new Bins(description.bins) : null;
    this.isFinite = this.family.kind === "finite";
    const { levels } = description;
    this.nLevels = Array.isArray(levels) ? levels.length : levels ? levels.high - levels.low + 1 : Infinity;
  }

  level(number) {
    return Array.isArray(this.levels) ? this.levels[number] : this.levels.low + number;
  }

  /** Return the text of a level, of which dates are numbers; an empty column has one, a missing value. */
  levelText(number) {
    const level = this.level(number);
    if (level === null) return "missing";
    return this.unit && typeof level === "number" ? dateText(level, this.unit) : String(level);
  }

  /** Return the value on the number line of a code, which need not be whole; point masses are exact. */
  number(code) {
    const at = (this.family.masses ?? []).indexOf(code);
    return at >= 0 ? this.masses[at] : code * this.step + this.offset;
  }

  /** Return the code of a number: of levels their distance from the least one. */
  codeOfNumber(number) {
    const at = (this.masses ?? []).indexOf(number);
    return at >= 0 ? this.family.masses[at] : (number - this.offset) / this.step;
  }

  /** Return a person's value as a number. */
  parseNumber(value) {
    const date = this.unit && typeof value === "string" ? numberOfDate(value, this.unit) : NaN;
    const number = Number.isNaN(date) && String(value).trim() !== "" ? Number(value) : date;
    if (!Number.isFinite(number)) {
      const wanted = this.unit ? "dates such as 2024-01-31" : "numbers";
      throw new Error(`column ${this.name} takes ${wanted}, not ${JSON.stringify(value)}`);
    }
    return number;
  }

  /** Return the number of the level that a value is or spells. */
  levelOf(value) {
    if (!Array.isArray(this.levels)) {
      const number = this.parseNumber(value), { low, high } = this.levels;
      if (!Number.isInteger(number) || number < low || number > high) {
        const [from, to] = [low, high].map((each) => (this.unit ? dateText(each, this.unit) : each));
        throw new Error(`column ${this.name} takes whole numbers from ${from} to ${to}, not ${value}`);
      }
      return number - low;
    }
    let at = this.levels.indexOf(value);
    for (let i = 0; at < 0 && i < this.levels.length; i++) {
      if (String(this.levels[i]) === String(value) || this.levelText(i) === String(value)) at = i;
    }
    if (at < 0) {
      const known = this.levels.slice(0, 5).map((_, i) => JSON.stringify(this.levelText(i))).join(", ");
      const more = this.levels.length > 5 ? ", ..." : "";
      throw new Error(`column ${this.name} has no level ${JSON.stringify(value)}; it has ${known}${more}`);
    }
    return at;
  }

  /** Return one value as evidence: the code that networks see, and what the rest is worth in nats. */
  valueEvidence(value) {
    if (this.nLevels < Infinity) {
      const level = this.levelOf(value);
      const within = this.bins ? this.bins.logProbWithin(level) : this.log_seen;
      return { d: this.index, code: this.bins ? this.bins.binOf(level) : level, level, within };
    }
    const number = this.parseNumber(value);
    if (this.family.kind === "count") {
      if (!Number.isInteger(number) || number < 0) {
        throw new Error(`column ${this.name} takes whole numbers from 0 on, not ${value}`);
      }
      return { d: this.index, code: number, within: 0 };
    }
    const code = this.massOrDensityCode(number);
    const isMass = (this.family.masses ?? []).includes(code);
    return { d: this.index, code, within: isMass ? 0 : -Math.log(this.step), isDensity: !isMass };
  }

  /** Return a real number's code as Python knows it: in single precision, and no point mass by rounding. */
  massOrDensityCode(number) {
    const code = this.codeOfNumber(number);
    if ((this.family.masses ?? []).includes(code)) return code;
    const rounded = Math.fround(code);
    return (this.family.masses ?? []).includes(rounded) ? code : rounded;
  }

  /** Return a closed range as an event. */
  rangeEvent([first, last]) {
    if (!this.is_numeric) {
      throw new Error(`column ${this.name} has no order: give {levels: [...]} instead of a range`);
    }
    const [low, high] = [first ?? null, last ?? null].map((end, i) =>
      end === null ? [-Infinity, Infinity][i] : this.parseNumber(end));
    if (low > high) throw new Error(`column ${this.name}: the range ${first} to ${last} is upside down`);
    if (!this.isFinite) return { d: this.index, low: this.codeOfEnd(low), high: this.codeOfEnd(high) };
    const from = Math.max(Math.ceil(low - this.level(0)), 0);
    const to = Math.min(Math.floor(high - this.level(0)), this.nLevels - 1);
    const allowed = new Float64Array(this.family.n);
    if (this.bins) {
      for (let b = 0; b < this.bins.n; b++) {
        allowed[b] = Math.max(this.bins.cdfWithin(b, to) - this.bins.cdfWithin(b, from - 1), 0);
      }
    } else if (from <= to) allowed.fill(1, from, to + 1);
    return { d: this.index, allowed, from, to };
  }

  codeOfEnd(number) {
    return Number.isFinite(number) ? this.codeOfNumber(number) : number;
  }

  /** Return a set of levels as an event. */
  levelsEvent(values) {
    if (!this.isFinite || this.bins) {
      throw new Error(`column ${this.name} has no list of levels: give a value or {range: [from, to]}`);
    }
    const allowed = new Float64Array(this.family.n);
    for (const value of values) allowed[this.levelOf(value)] = 1;
    return { d: this.index, allowed };
  }

  /** Return what a condition says: a value, a range or a set of levels. */
  evidence(condition) {
    if (condition !== null && typeof condition === "object") {
      if (Array.isArray(condition.range) && condition.range.length === 2) return this.rangeEvent(condition.range);
      if (Array.isArray(condition.levels) && condition.levels.length) return this.levelsEvent(condition.levels);
      throw new Error(`column ${this.name}: expected a value, {range: [from, to]} or {levels: [...]}`);
    }
    if (condition === null || condition === undefined) {
      throw new Error(`column ${this.name} is given without a value: leave it out`);
    }
    return this.valueEvidence(condition);
  }
}
