// Conditioning: exact where only values are set, sequential importance sampling where there are events.

const N_PARTICLES = 256;

/** The model: columns, and the networks of its members, whose conditionals are averaged. */
class Engine {
  constructor(description, bytes) {
    this.columns = description.columns.map((each, number) => new Column(each, number));
    this.D = this.columns.length;
    this.networks = description.members.map((each) =>
      makeNetwork(each, bytes, description.columns, description.starts));
    this.byName = new Map(this.columns.map((column, number) => [column.name, number]));
  }

  columnNumber(name) {
    const number = this.byName.get(name);
    if (number === undefined) {
      const known = this.columns.slice(0, 6).map((column) => column.name).join(", ");
      throw new Error(`there is no column ${JSON.stringify(name)}; the columns are ${known}${this.D > 6 ? ", ..." : ""}`);
    }
    return number;
  }

  /** Return conditions, an object from columns to values and events, as evidence. */
  evidence(given) {
    return Object.entries(given).map(([name, condition]) =>
      this.columns[this.columnNumber(name)].evidence(condition));
  }

  /** Return what the conditionals of all columns are given what particles have seen. */
  conditionals(particles) {
    const passes = this.networks.map((network) => network.pass(particles));
    return (d) => new Mixed(this.columns[d], passes.map((pass) => pass(d)), particles);
  }
}

/** Particles that have seen the same columns, each with a weight (a log). */
class Particles {
  constructor(n, D, seen = [], shared = new Set()) {
    Object.assign(this, { n, D, seen, shared });
    this.codes = new Float64Array(n * D);
    this.levels = new Map(); // of columns with bins: the level that is set, or the range within the bins
    this.logWeights = new Float64Array(n);
    this.isSampled = false;
    this.isDensity = false; // whether a value of a density is set, so that weights are no probabilities
  }

  /** Return particles that are copies of these, by number. */
  take(numbers, logWeights) {
    const taken = new Particles(numbers.length, this.D, [...this.seen], new Set(this.shared));
    numbers.forEach((from, to) => {
      taken.codes.set(this.codes.subarray(from * this.D, (from + 1) * this.D), to * this.D);
      taken.logWeights[to] = logWeights ? logWeights[to] : this.logWeights[from];
    });
    taken.levels = this.levels;
    taken.isSampled = this.isSampled;
    taken.isDensity = this.isDensity;
    return taken;
  }

  /** Return weights that sum to one. */
  weights() {
    const high = this.logWeights.reduce((a, b) => Math.max(a, b), -Infinity);
    const weights = this.logWeights.map((each) => Math.exp(each - high));
    const total = weights.reduce((a, b) => a + b, 0);
    return weights.map((each) => each / total);
  }

  logTotal() {
    return this.logWeights.reduce((a, b) => logAddExp(a, b), -Infinity);
  }

  effective() {
    return 1 / this.weights().reduce((sum, each) => sum + each * each, 0);
  }

  /** Return n particles of equal weight, drawn systematically; together they weigh what these do. */
  resampled(n, random) {
    const weights = this.weights(), numbers = [], start = random();
    let sum = 0;
    weights.forEach((weight, i) => {
      sum += weight;
      while (numbers.length < n && (numbers.length + start) / n < sum) numbers.push(i);
    });
    while (numbers.length < n) numbers.push(this.n - 1);
    const each = this.logTotal() - Math.log(n);
    return this.take(numbers, new Float64Array(n).fill(each));
  }

  /** Take in a column's codes: one for all, or one for each. */
  see(d, codes) {
    for (let p = 0; p < this.n; p++) this.codes[p * this.D + d] = typeof codes === "number" ? codes : codes[p];
    this.seen.push(d);
    if (typeof codes === "number") this.shared.add(d);
  }
}

/** One column's distribution in each particle, the mean over members; weighted, their mixture. */
class Mixed {
  constructor(column, params, particles) {
    Object.assign(this, { column, params, n: particles.n, family: column.family });
    this.width = this.family.width;
    this.weights = particles.weights();
  }

  /** Call f(params, offset, share) for each member of one particle. */
  each(p, f) {
    for (const params of this.params) f(params, p * this.width, 1 / this.params.length);
  }

  /** Return the probabilities of one particle's codes. */
  probabilitiesOf(p) {
    const total = new Float64Array(this.family.n);
    this.each(p, (P, o, share) => {
      const each = this.family.probabilities(P, o);
      for (let k = 0; k < total.length; k++) total[k] += share * each[k];
    });
    return total;
  }

  logProbOf(p, code) {
    if (this.family.kind === "finite") return Math.log(this.probabilitiesOf(p)[code]);
    let sum = -Infinity;
    this.each(p, (P, o, share) => {
      sum = logAddExp(sum, Math.log(share) + this.family.logProb(code, P, o));
    });
    return sum;
  }

  massOf(p, low, high) {
    let sum = 0;
    this.each(p, (P, o, share) => {
      sum += share * this.family.mass(low, high, P, o);
    });
    return sum;
  }

  /** Draw a code of one particle between two codes; the member by its mass there. */
  drawOf(p, low, high, u, v) {
    const masses = this.params.map((P) => this.family.mass(low, high, P, p * this.width));
    const total = masses.reduce((a, b) => a + b, 0);
    let left = u * total, k = 0;
    while (k < masses.length - 1 && left >= masses[k]) left -= masses[k++];
    return this.family.draw(low, high, Math.min(left / masses[k], 1), v, this.params[k], p * this.width);
  }
}

/** Condition on evidence: return particles, or null where nothing of it has any probability. */
function condition(engine, evidence, random) {
  let particles = new Particles(1, engine.D);
  const values = evidence.filter((each) => each.code !== undefined);
  const events = evidence.filter((each) => each.code === undefined).sort((a, b) => nCodes(a) - nCodes(b));
  for (const value of values) {
    const logProb = engine.conditionals(particles)(value.d).logProbOf(0, value.code) + value.within;
    if (!(logProb > -Infinity)) return null;
    particles.logWeights[0] += logProb;
    particles.see(value.d, value.code);
    particles.isDensity ||= Boolean(value.isDensity);
    if (value.level !== undefined) particles.levels.set(value.d, [value.level, value.level]);
  }
  for (const event of events) {
    const step = event.allowed ? takeInSet : takeInInterval;
    particles = step(engine, particles, event, random);
    if (particles === null) return null;
    if (event.from !== undefined) particles.levels.set(event.d, [event.from, event.to]);
  }
  return particles;
}

/** Events of few codes come first: as long as all of these are summed over, nothing is drawn. */
function nCodes({ allowed }) {
  return allowed ? allowed.reduce((count, share) => count + (share > 0), 0) : Number.MAX_SAFE_INTEGER;
}

/** Take in an event of a column with few codes: every code, where that makes few particles, else draws. */
function takeInSet(engine, particles, { d, allowed }, random) {
  const codes = [...allowed.keys()].filter((code) => allowed[code] > 0);
  const enumerates = particles.n * codes.length <= N_PARTICLES;
  const before = enumerates ? particles : spreadOut(particles, random);
  const conditional = engine.conditionals(before)(d);
  const numbers = [], drawn = [], logs = [];
  const share = enumerates ? null : stratified(before.n, random);
  for (let p = 0; p < before.n; p++) {
    const each = conditional.probabilitiesOf(p).map((q, code) => q * allowed[code]);
    const mass = each.reduce((a, b) => a + b, 0);
    if (!(mass > 0)) continue;
    for (const code of enumerates ? codes : [chooseIndex(each, share[p])]) {
      const weight = enumerates ? each[code] : mass;
      if (!(weight > 0)) continue;
      numbers.push(p);
      drawn.push(code);
      logs.push(before.logWeights[p] + Math.log(weight));
    }
  }
  return having(before, numbers, drawn, logs, d, !enumerates);
}

/** Take in an event of a column without an end, or with a density: one draw for each particle. */
function takeInInterval(engine, particles, { d, low, high }, random) {
  const before = spreadOut(particles, random);
  const conditional = engine.conditionals(before)(d);
  const first = stratified(before.n, random), second = stratified(before.n, random);
  const numbers = [], drawn = [], logs = [];
  for (let p = 0; p < before.n; p++) {
    const mass = conditional.massOf(p, low, high);
    if (!(mass > 0)) continue;
    numbers.push(p);
    drawn.push(conditional.drawOf(p, low, high, first[p], second[p]));
    logs.push(before.logWeights[p] + Math.log(mass));
  }
  return having(before, numbers, drawn, logs, d, true);
}

/** Return as many particles as draws need: the same ones, or these drawn again. */
function spreadOut(particles, random) {
  return particles.n >= N_PARTICLES ? particles : particles.resampled(N_PARTICLES, random);
}

function having(before, numbers, drawn, logs, d, isSampled) {
  if (!numbers.length) return null;
  const after = before.take(numbers, Float64Array.from(logs));
  after.see(d, drawn.length === 1 ? drawn[0] : drawn);
  after.isSampled = before.isSampled || isSampled;
  return after;
}
