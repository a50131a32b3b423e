// One-dimensional families: what conditionals/ of the Python package has, for one distribution at a time.
//
// Params of a distribution stand in P from o on. A "finite" family has `probabilities`; "real" and "count" ones
// have `logProb`, `cdf`, `mass` of a closed interval, `mean`, and `draw` from within one.

/** Softmax of n logits into out. */
function softmaxInto(P, o, n, out) {
  let high = -Infinity, total = 0;
  for (let k = 0; k < n; k++) if (P[o + k] > high) high = P[o + k];
  for (let k = 0; k < n; k++) total += out[k] = Math.exp(P[o + k] - high);
  for (let k = 0; k < n; k++) out[k] /= total;
  return out;
}

function bernoulliFamily() {
  const out = new Float64Array(2);
  return {
    kind: "finite", width: 1, n: 2,
    probabilities(P, o) {
      out[1] = sigmoid(P[o]);
      out[0] = sigmoid(-P[o]);
      return out;
    },
  };
}

function categoricalFamily({ n_codes: n }) {
  const out = new Float64Array(n);
  return { kind: "finite", width: n, n, probabilities: (P, o) => softmaxInto(P, o, n, out) };
}

/** Weights, locations and scales of M components, read into arrays that are used again. */
function mixtureReader(M, minScale) {
  const weights = new Float64Array(M), locations = new Float64Array(M), scales = new Float64Array(M);
  const first = M > 1 ? M : 0;
  return {
    width: M > 1 ? 3 * M : 2, weights, locations, scales,
    read(P, o) {
      if (M > 1) softmaxInto(P, o, M, weights);
      else weights[0] = 1;
      for (let k = 0; k < M; k++) {
        locations[k] = P[o + first + k];
        scales[k] = softplus(P[o + first + M + k]) + minScale;
      }
    },
  };
}

function discretizedFamily({ n_components: M, n_codes: n, min_scale: minScale }) {
  const mixture = mixtureReader(M, minScale);
  const half = 1 / Math.max(n - 1, 1), out = new Float64Array(n);
  return {
    kind: "finite", width: mixture.width, n,
    probabilities(P, o) {
      mixture.read(P, o);
      out.fill(0);
      for (let k = 0; k < M; k++) {
        const location = mixture.locations[k], scale = mixture.scales[k];
        let below = 0, above = 1;
        for (let x = 0; x < n; x++) {
          const z = (half * (2 * x + 1) - 1 - location) / scale;
          const upTo = x === n - 1 ? 1 : sigmoid(z), beyond = x === n - 1 ? 0 : sigmoid(-z);
          // In the upper half the difference of the tails keeps its digits.
          out[x] += mixture.weights[k] * (below > 0.5 ? above - beyond : upTo - below);
          below = upTo;
          above = beyond;
        }
      }
      return out;
    },
  };
}

/** Extra probabilities of single levels beside a distribution over all levels. */
function inflatedFamily({ codes, density: description }) {
  const smooth = makeFamily(description), logits = codes.length + 1;
  const shares = new Float64Array(logits), out = new Float64Array(smooth.n);
  return {
    kind: "finite", width: logits + smooth.width, n: smooth.n,
    probabilities(P, o) {
      softmaxInto(P, o, logits, shares);
      const each = smooth.probabilities(P, o + logits);
      for (let k = 0; k < smooth.n; k++) out[k] = shares[0] * each[k];
      for (let j = 0; j < codes.length; j++) out[codes[j]] += shares[1 + j];
      return out;
    },
  };
}

/** Return the scores of codes and back: piecewise linear between knots and their heights. */
function normalScores({ knots, heights }) {
  const last = knots.length - 2;
  // Where x lies between ends, and the number between those of `to` that lies as far.
  function moved(x, ends, to) {
    let low = 0, high = last;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (ends[middle] <= x) low = middle;
      else high = middle - 1;
    }
    return to[low] + (x - ends[low]) * (to[low + 1] - to[low]) / (ends[low + 1] - ends[low]);
  }
  const slopes = heights.slice(1).map((height, k) => (height - heights[k]) / (knots[k + 1] - knots[k]));
  return {
    slopes,
    of: (x) => moved(x, knots, heights),
    codes: (score) => moved(score, heights, knots),
    logSlope(x) {
      let k = 0;
      while (k < last && knots[k + 1] <= x) k++;
      return Math.log(slopes[k]);
    },
  };
}

const STANDARD = {
  gaussian: {
    logDensity: (z) => -0.5 * z * z - LOG_SQRT_2PI,
    cdf: normalCdf,
    quantile: normalQuantile,
    partialMean: (z) => -Math.exp(-0.5 * z * z - LOG_SQRT_2PI),
  },
  logistic: {
    logDensity: (z) => logSigmoid(z) + logSigmoid(-z),
    cdf: sigmoid,
    quantile: (u) => Math.log(u) - Math.log1p(-u),
    partialMean: (z) => -Math.abs(z) * sigmoid(-Math.abs(z)) - Math.log1p(Math.exp(-Math.abs(z))),
  },
  laplace: {
    logDensity: (z) => -Math.abs(z) - Math.LN2,
    cdf: (z) => (z < 0 ? 0.5 * Math.exp(z) : 1 - 0.5 * Math.exp(-z)),
    quantile: (u) => (u < 0.5 ? Math.log(2 * u) : -Math.log(2 * (1 - u))),
    partialMean: (z) => -0.5 * (1 + Math.abs(z)) * Math.exp(-Math.abs(z)),
  },
};

/** A mixture of symmetric components on the real line. */
function mixtureFamily({ name, n_components: M, min_scale: minScale }) {
  const standard = STANDARD[name], mixture = mixtureReader(M, minScale);
  const { weights, locations, scales } = mixture;
  const masses = new Float64Array(M);
  // P(a <= Z <= b) from the side on which the tails are small.
  const between = (a, b) => (a > 0 ? standard.cdf(-a) - standard.cdf(-b) : standard.cdf(b) - standard.cdf(a));
  const massOf = (k, low, high) =>
    Math.max(between((low - locations[k]) / scales[k], (high - locations[k]) / scales[k]), 0);

  return {
    kind: "real", width: mixture.width,
    logProb(x, P, o) {
      mixture.read(P, o);
      let sum = -Infinity;
      for (let k = 0; k < M; k++) {
        const density = standard.logDensity((x - locations[k]) / scales[k]) - Math.log(scales[k]);
        sum = logAddExp(sum, Math.log(weights[k]) + density);
      }
      return sum;
    },
    mass(low, high, P, o) {
      mixture.read(P, o);
      let sum = 0;
      for (let k = 0; k < M; k++) sum += weights[k] * massOf(k, low, high);
      return sum;
    },
    cdf(x, P, o) {
      return this.mass(-Infinity, x, P, o);
    },
    addCdf(edges, weight, P, o, out) {
      mixture.read(P, o);
      for (let k = 0; k < M; k++) {
        const share = weight * weights[k];
        if (share < 1e-9) continue;
        for (let i = 0; i < edges.length; i++) {
          out[i] += share * standard.cdf((edges[i] - locations[k]) / scales[k]);
        }
      }
    },
    mean(P, o) {
      mixture.read(P, o);
      return weights.reduce((sum, weight, k) => sum + weight * locations[k], 0);
    },
    /** What the values up to x add to the mean. */
    partialMean(x, P, o) {
      mixture.read(P, o);
      return weights.reduce((sum, weight, k) => {
        const z = (x - locations[k]) / scales[k];
        return sum + weight * (locations[k] * standard.cdf(z) + scales[k] * standard.partialMean(z));
      }, 0);
    },
    draw(low, high, u, v, P, o) {
      mixture.read(P, o);
      for (let k = 0; k < M; k++) masses[k] = weights[k] * massOf(k, low, high);
      const k = chooseIndex(masses, u);
      const a = (low - locations[k]) / scales[k], b = (high - locations[k]) / scales[k];
      const flip = a > 0 ? -1 : 1;
      const from = standard.cdf(flip > 0 ? a : -b), to = standard.cdf(flip > 0 ? b : -a);
      const z = flip * standard.quantile(Math.min(Math.max(from + v * (to - from), 1e-300), 1 - 1e-16));
      return Math.min(Math.max(locations[k] + scales[k] * z, low), high);
    },
  };
}

/** A density of a variable's normal scores. */
function normalScoresFamily({ knots, heights, density: description }) {
  const density = makeFamily(description), scores = normalScores({ knots, heights });
  return {
    kind: "real", width: density.width,
    logProb: (x, P, o) => density.logProb(scores.of(x), P, o) + scores.logSlope(x),
    mass: (low, high, P, o) => density.mass(scores.of(low), scores.of(high), P, o),
    cdf: (x, P, o) => density.cdf(scores.of(x), P, o),
    addCdf: (edges, weight, P, o, out) =>
      density.addCdf(Float64Array.from(edges, scores.of), weight, P, o, out),
    mean(P, o) {
      let sum = 0, reached = 0, part = 0;
      for (let k = 0; k < scores.slopes.length; k++) {
        const isLast = k === scores.slopes.length - 1, end = heights[k + 1];
        const upTo = isLast ? 1 : density.cdf(end, P, o);
        const upToPart = isLast ? density.mean(P, o) : density.partialMean(end, P, o);
        const left = knots[k] - heights[k] / scores.slopes[k];
        sum += left * (upTo - reached) + (upToPart - part) / scores.slopes[k];
        reached = upTo;
        part = upToPart;
      }
      return sum;
    },
    draw: (low, high, u, v, P, o) =>
      Math.min(Math.max(scores.codes(density.draw(scores.of(low), scores.of(high), u, v, P, o)), low), high),
  };
}

/** Probabilities of single codes beside a density of all others. */
function pointMassesFamily({ codes, density: description }) {
  const density = makeFamily(description), J = codes.length, logits = J + 1;
  const shares = new Float64Array(logits);
  const read = (P, o) => softmaxInto(P, o, logits, shares);
  const within = new Float64Array(logits);
  return {
    kind: "real", width: logits + density.width, masses: codes,
    logProb(x, P, o) {
      read(P, o);
      const at = codes.indexOf(x);
      return at >= 0 ? Math.log(shares[1 + at]) : Math.log(shares[0]) + density.logProb(x, P, o + logits);
    },
    mass(low, high, P, o) {
      read(P, o);
      let sum = shares[0] * density.mass(low, high, P, o + logits);
      for (let j = 0; j < J; j++) if (codes[j] >= low && codes[j] <= high) sum += shares[1 + j];
      return sum;
    },
    cdf(x, P, o) {
      return this.mass(-Infinity, x, P, o);
    },
    addCdf(edges, weight, P, o, out) {
      read(P, o);
      for (let i = 0; i < edges.length; i++) {
        for (let j = 0; j < J; j++) if (codes[j] <= edges[i]) out[i] += weight * shares[1 + j];
      }
      density.addCdf(edges, weight * shares[0], P, o + logits, out);
    },
    addMasses(weight, P, o, out) {
      read(P, o);
      for (let j = 0; j < J; j++) out[j] += weight * shares[1 + j];
    },
    mean(P, o) {
      read(P, o);
      const elsewhere = shares[0] * density.mean(P, o + logits);
      return codes.reduce((sum, code, j) => sum + shares[1 + j] * code, elsewhere);
    },
    draw(low, high, u, v, P, o) {
      read(P, o);
      for (let j = 0; j < J; j++) within[j] = codes[j] >= low && codes[j] <= high ? shares[1 + j] : 0;
      within[J] = shares[0] * density.mass(low, high, P, o + logits);
      const total = within.reduce((sum, each) => sum + each, 0);
      const chosen = chooseIndex(within, u);
      if (chosen < J) return codes[chosen];
      const rest = (u * total - (total - within[J])) / within[J];
      return density.draw(low, high, Math.min(Math.max(rest, 0), 1), v, P, o + logits);
    },
  };
}

/** Zero-inflated mixtures of negative binomials. */
function countsFamily({ n_components: M, max_log_mean: maxLogMean, min_size: minSize, max_size: maxSize }) {
  const weights = new Float64Array(M), logMeans = new Float64Array(M), sizes = new Float64Array(M);
  const first = M > 1 ? 1 + M : 1;
  let zeros = 0;
  function read(P, o) {
    zeros = sigmoid(P[o]);
    if (M > 1) softmaxInto(P, o + 1, M, weights);
    else weights[0] = 1;
    for (let k = 0; k < M; k++) {
      logMeans[k] = Math.min(P[o + first + k], maxLogMean);
      sizes[k] = Math.min(softplus(P[o + first + M + k]) + minSize, maxSize);
    }
  }
  function upTo(x) {
    if (x < 0) return 0;
    if (x === Infinity) return 1;
    const count = Math.floor(x);
    let sum = 0;
    for (let k = 0; k < M; k++) {
      sum += weights[k] * betaCdf(sizes[k], count + 1, sigmoid(Math.log(sizes[k]) - logMeans[k]));
    }
    return zeros + (1 - zeros) * sum;
  }
  function probability(x) {
    let sum = 0;
    for (let k = 0; k < M; k++) {
      const r = sizes[k], logSize = Math.log(r);
      sum += weights[k] * Math.exp(
        logGamma(x + r) - logGamma(r) - logGamma(x + 1)
        + r * logSigmoid(logSize - logMeans[k]) + x * logSigmoid(logMeans[k] - logSize),
      );
    }
    return (1 - zeros) * sum + (x === 0 ? zeros : 0);
  }
  return {
    kind: "count", width: 1 + (M > 1 ? 3 * M : 2),
    logProb(x, P, o) {
      read(P, o);
      return Math.log(probability(x));
    },
    mass(low, high, P, o) {
      read(P, o);
      return Math.max(upTo(high) - upTo(Math.ceil(low) - 1), 0);
    },
    cdf(x, P, o) {
      read(P, o);
      return upTo(x);
    },
    addCdf(edges, weight, P, o, out) {
      read(P, o);
      let reached = 0;
      for (let i = 0; i < edges.length; i++) {
        const step = i ? edges[i] - edges[i - 1] : NaN;
        // Of neighbouring counts a probability costs less than the distribution function.
        if (step === 1 && edges[i] >= 0) reached += probability(Math.floor(edges[i]));
        else if (step !== 0) reached = upTo(edges[i]);
        out[i] += weight * reached;
      }
    },
    mean(P, o) {
      read(P, o);
      return (1 - zeros) * weights.reduce((sum, weight, k) => sum + weight * Math.exp(logMeans[k]), 0);
    },
    draw(low, high, u, v, P, o) {
      read(P, o);
      const least = Math.max(Math.ceil(low), 0), before = upTo(least - 1);
      const wanted = before + u * (upTo(high) - before);
      let a = least - 1, b = least + 1;
      while (b < high && upTo(b) < wanted) b = 2 * b + 1;
      b = Math.min(b, high);
      while (b - a > 1) {
        const middle = Math.floor((a + b) / 2);
        if (upTo(middle) < wanted) a = middle;
        else b = middle;
      }
      return b;
    },
  };
}

const FAMILIES = {
  bernoulli: bernoulliFamily,
  categorical: categoricalFamily,
  "discretized-logistics": discretizedFamily,
  gaussian: mixtureFamily,
  logistic: mixtureFamily,
  laplace: mixtureFamily,
  "inflated-levels": inflatedFamily,
  "normal-scores": normalScoresFamily,
  "point-masses": pointMassesFamily,
  "negative-binomials": countsFamily,
};

function makeFamily(description) {
  return FAMILIES[description.name](description);
}
