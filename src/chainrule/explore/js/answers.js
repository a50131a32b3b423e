// Whole answers: all monitors, one question, what to ask next, drawn rows. This is what the worker does.

const QUANTILES = [0.05, 0.25, 0.5, 0.75, 0.95];
const SEED = 20260101;
// "What to ask next": so many particles, and values of each column, stand for all.
const N_ASKING = 32;
const N_VALUES = 24;
const N_TARGET_CELLS = 24;

class Answers {
  constructor(description, bytes) {
    this.engine = new Engine(description, bytes);
  }

  /** Decide how monitors show their columns, and return that and what they show of the prior. */
  start() {
    const prior = this.posteriors([], uniforms(SEED)).posteriors;
    this.displays = prior.map((each) => displayOf(each.column, each));
    return { displays: this.displays, prior: prior.map((each, d) => shownOf(each, this.displays[d])) };
  }

  /** Return the posterior of some columns (by default all) and the particles; null where nothing is left. */
  posteriors(evidence, random, columns = this.engine.columns.keys()) {
    const particles = condition(this.engine, evidence, random);
    if (particles === null) return null;
    const conditional = this.engine.conditionals(particles);
    const byColumn = new Map(evidence.map((each) => [each.d, each]));
    const posteriors = [];
    for (const d of columns) {
      const own = byColumn.get(d);
      if (own === undefined) posteriors[d] = new Posterior(conditional(d));
      else if (own.code === undefined) posteriors[d] = this.cut(evidence, own);
    }
    return { particles, posteriors };
  }

  /** Return the posterior of a column with an event: given all else that is set, cut to the event. */
  cut(evidence, own) {
    const others = condition(this.engine, evidence.filter((each) => each !== own), uniforms(SEED));
    return new Posterior(this.engine.conditionals(others)(own.d), own);
  }

  /** Return what all monitors show. */
  monitors(given) {
    const start = performance.now();
    const found = this.posteriors(this.engine.evidence(given), uniforms(SEED));
    const shown = found && this.engine.columns.map((_, d) =>
      found.posteriors[d] ? shownOf(found.posteriors[d], this.displays[d]) : null);
    return { shown, ...this.facts(found), milliseconds: performance.now() - start };
  }

  facts(found) {
    const isSampled = Boolean(found?.particles.isSampled);
    return {
      log_probability: found ? found.particles.logTotal() : -Infinity,
      method: isSampled ? "sampling" : "exact",
      n_effective: isSampled ? found.particles.effective() : null,
      is_density: Boolean(found?.particles.isDensity),
    };
  }

  /** Return one column's distribution given conditions. */
  ask({ given = {}, of, at }) {
    const d = this.engine.columnNumber(of), column = this.engine.columns[d];
    const evidence = this.engine.evidence(given);
    if (evidence.some((each) => each.d === d && each.code !== undefined)) {
      throw new Error(`column ${of} is set to a value: ask for another column, or leave it out of given`);
    }
    const found = this.posteriors(evidence, uniforms(SEED), [d]);
    if (found === null) throw new Error("what is given has no probability under the model: give less");
    return { ...this.described(found.posteriors[d], column, at), ...this.facts(found) };
  }

  described(posterior, column, at) {
    const answer = {};
    if (posterior.isFinite && !column.bins) {
      answer.probabilities = Object.fromEntries(
        Array.from(posterior.codes, (p, i) => [String(column.level(i)), p]),
      );
    }
    if (!column.is_numeric) return answer;
    const values = posterior.quantiles(QUANTILES).map((code) => posterior.valueOf(code));
    answer.quantiles = Object.fromEntries(QUANTILES.map((q, i) => [String(q), values[i]]));
    answer.mean = posterior.mean();
    if (at) {
      const codes = at.map((value) => {
        const number = column.parseNumber(value);
        return column.isFinite ? number - column.level(0) : column.codeOfNumber(number);
      });
      answer.cdf = Array.from(posterior.cdf(codes));
    }
    return answer;
  }

  /** Return for every column that is not set how much knowing it is expected to tell about the target. */
  next({ given, target }) {
    const d = this.engine.columnNumber(target), random = uniforms(SEED);
    const evidence = this.engine.evidence(given);
    const all = condition(this.engine, evidence, random);
    if (all === null || all.seen.includes(d)) return { entropy: 0, ranking: [] };
    const particles = all.n > N_ASKING ? all.resampled(N_ASKING, random) : all;
    const cells = this.targetCells(particles, d);
    const before = entropy(cells.of(new Posterior(this.engine.conditionals(particles)(d))));
    const ranking = [];
    for (const column of this.engine.columns) {
      if (column.index === d || all.seen.includes(column.index)) continue;
      ranking.push({ column: column.name, nats: this.information(particles, column.index, d, cells, random) });
    }
    ranking.sort((a, b) => b.nats - a.nats);
    return { entropy: before, ranking };
  }

  /** How the target's distribution becomes a few probabilities: its codes, or cells between its quantiles. */
  targetCells(particles, d) {
    if (this.engine.columns[d].isFinite) return { of: (posterior) => posterior.codes };
    const now = new Posterior(this.engine.conditionals(particles)(d));
    const qs = Array.from({ length: N_TARGET_CELLS - 1 }, (_, i) => (i + 1) / N_TARGET_CELLS);
    const edges = [...new Set(now.quantiles(qs))];
    return {
      of: (posterior) => {
        const reached = [0, ...posterior.cdf(edges), 1];
        return reached.slice(1).map((each, i) => Math.max(each - reached[i], 0));
      },
    };
  }

  /** Return the mutual information of a column's value and the target given what is set, in nats. */
  information(particles, j, d, cells, random) {
    const before = this.engine.conditionals(particles)(j);
    const weights = particles.weights();
    const values = this.valuesOf(before, weights, random);
    const mixture = [];
    let left = 0;
    for (const { code, weight, likelihoods } of values) {
      const after = particles.take([...weights.keys()], likelihoods);
      after.see(j, code);
      const probabilities = cells.of(new Posterior(this.engine.conditionals(after)(d)));
      probabilities.forEach((p, k) => {
        mixture[k] = (mixture[k] ?? 0) + weight * p;
      });
      left += weight * entropy(probabilities);
    }
    return Math.max(entropy(mixture) - left, 0);
  }

  /** Return values of a column with their probabilities, and the particles' log-weights given each. */
  valuesOf(mixed, weights, random) {
    if (mixed.family.kind === "finite") return this.likelyCodes(mixed, weights);
    const u = stratified(N_VALUES, random), v = stratified(N_VALUES, random);
    return Array.from(u, (share, i) => {
      const p = chooseIndex(weights, (i + 0.5) / N_VALUES);
      const code = mixed.drawOf(p, -Infinity, Infinity, share, v[i]);
      const likelihoods = Float64Array.from(weights, (w, q) => Math.log(w) + mixed.logProbOf(q, code));
      return { code, weight: 1 / N_VALUES, likelihoods };
    });
  }

  /** The most probable codes, which stand for all. */
  likelyCodes(mixed, weights) {
    const each = Array.from(weights, (_, p) => mixed.probabilitiesOf(p));
    const mass = each[0].map((_, code) => weights.reduce((sum, w, p) => sum + w * each[p][code], 0));
    const codes = [...mass.keys()].filter((code) => mass[code] > 0);
    const likely = codes.sort((a, b) => mass[b] - mass[a]).slice(0, N_VALUES);
    const total = likely.reduce((sum, code) => sum + mass[code], 0);
    return likely.map((code) => ({
      code,
      weight: mass[code] / total,
      likelihoods: Float64Array.from(weights, (w, p) => Math.log(w * each[p][code])),
    }));
  }

  /** Return rows drawn given what is set, as texts; null where nothing is left. */
  rows({ given, n, seed }) {
    const random = uniforms(SEED + seed);
    const particles = condition(this.engine, this.engine.evidence(given), random);
    if (particles === null) return null;
    // Particles may lie in order; rows do not.
    const chosen = particles.resampled(n, random);
    const rows = chosen.take(shuffled([...chosen.logWeights.keys()], random));
    const open = this.engine.columns.map((column) => column.index).filter((d) => !rows.seen.includes(d));
    const order = shuffled(open, random);
    for (const d of order) {
      const mixed = this.engine.conditionals(rows)(d);
      rows.see(d, Float64Array.from({ length: n }, (_, p) => this.drawn(mixed, p, random)));
    }
    return Array.from({ length: n }, (_, p) =>
      this.engine.columns.map((column) => this.cell(rows, p, column, random)));
  }

  drawn(mixed, p, random) {
    if (mixed.family.kind === "finite") return chooseIndex(mixed.probabilitiesOf(p), random());
    return mixed.drawOf(p, -Infinity, Infinity, random(), random());
  }

  /** Return one drawn value: a level's text, or a number. */
  cell(rows, p, column, random) {
    const code = rows.codes[p * rows.D + column.index];
    if (!column.isFinite) return column.is_whole ? Math.round(column.number(code)) : column.number(code);
    if (!column.bins) return column.is_numeric ? column.level(code) : column.levelText(code);
    const [low, high] = rows.levels.get(column.index) ?? [0, column.nLevels - 1];
    return column.level(column.bins.draw(code, low, high, random()));
  }
}
