// Numbers: half precision, special functions, random numbers. Shared scope: page.py joins the files of js/.

const LOG_SQRT_2PI = 0.5 * Math.log(2 * Math.PI);

/** Return the bytes of base64 text. */
function bytesOf(text) {
  const binary = atob(text);
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** Return half-precision numbers (as 16-bit integers) as single ones. */
function fromHalf(halves) {
  const numbers = new Float32Array(halves.length);
  for (let i = 0; i < halves.length; i++) {
    const bits = halves[i];
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    if (exponent === 0) numbers[i] = sign * fraction * 2 ** -24;
    else if (exponent === 31) numbers[i] = fraction ? NaN : sign * Infinity;
    else numbers[i] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }
  return numbers;
}

const sigmoid = (z) => (z >= 0 ? 1 / (1 + Math.exp(-z)) : 1 - 1 / (1 + Math.exp(z)));
const softplus = (z) => (z > 30 ? z : Math.log1p(Math.exp(z)));
const logSigmoid = (z) => -softplus(-z);

/** Return log(exp(a) + exp(b)). */
function logAddExp(a, b) {
  const high = Math.max(a, b);
  return high === -Infinity ? high : high + Math.log1p(Math.exp(Math.min(a, b) - high));
}

/** Return erfc(z) with a relative error below 1.2e-7 everywhere (Numerical Recipes, erfcc). */
function erfc(z) {
  const x = Math.abs(z);
  const t = 1 / (1 + 0.5 * x);
  const series = -x * x - 1.26551223 + t * (1.00002368 + t * (0.37409196 + t * (0.09678418 + t * (-0.18628806
    + t * (0.27886807 + t * (-1.13520398 + t * (1.48851587 + t * (-0.82215223 + t * 0.17087277))))))));
  const value = t * Math.exp(series);
  return z >= 0 ? value : 2 - value;
}

const normalCdf = (z) => 0.5 * erfc(-z * Math.SQRT1_2);

/** Return the normal quantile: Acklam's approximation and one step of Halley's method. */
function normalQuantile(p) {
  if (!(p > 0)) return -38;
  if (!(p < 1)) return 38;
  const z = p < 0.5 ? -lowerTailQuantile(p) : lowerTailQuantile(1 - p);
  const error = (normalCdf(z) - p) * Math.exp(0.5 * z * z + LOG_SQRT_2PI);
  return Number.isFinite(error) ? z - error / (1 + 0.5 * z * error) : z;
}

/** Return minus the quantile of p <= 1/2. */
function lowerTailQuantile(p) {
  if (p < 0.02425) {
    const q = Math.sqrt(-2 * Math.log(p));
    return -(((((-7.784894002430293e-3 * q - 0.3223964580411365) * q - 2.400758277161838) * q
      - 2.549732539343734) * q + 4.374664141464968) * q + 2.938163982698783)
      / ((((7.784695709041462e-3 * q + 0.3224671290700398) * q + 2.445134137142996) * q
      + 3.754408661907416) * q + 1);
  }
  const q = p - 0.5, r = q * q;
  return -(((((-39.69683028665376 * r + 220.9460984245205) * r - 275.9285104469687) * r
    + 138.357751867269) * r - 30.66479806614716) * r + 2.506628277459239) * q
    / (((((-54.47609879822406 * r + 161.5858368580409) * r - 155.6989798598866) * r
    + 66.80131188771972) * r - 13.28068155288572) * r + 1);
}

const LANCZOS = [
  0.99999999999980993, 676.5203681218851, -1259.1392167224028, 771.32342877765313, -176.61502916214059,
  12.507343278686905, -0.13857109526572012, 9.9843695780195716e-6, 1.5056327351493116e-7,
];

/** Return log Gamma(x) for x > 0. */
function logGamma(x) {
  if (x < 0.5) return Math.log(Math.PI / Math.sin(Math.PI * x)) - logGamma(1 - x);
  const y = x - 1, t = y + 7.5;
  let sum = LANCZOS[0];
  for (let i = 1; i < 9; i++) sum += LANCZOS[i] / (y + i);
  return LOG_SQRT_2PI + (y + 0.5) * Math.log(t) - t + Math.log(sum);
}

/** Return the regularised incomplete beta function, by Lentz's continued fraction. */
function betaCdf(a, b, x) {
  if (!(x > 0)) return 0;
  if (!(x < 1)) return 1;
  const front = Math.exp(
    logGamma(a + b) - logGamma(a) - logGamma(b) + a * Math.log(x) + b * Math.log1p(-x),
  );
  return x < (a + 1) / (a + b + 2)
    ? (front * betaFraction(a, b, x)) / a
    : 1 - (front * betaFraction(b, a, 1 - x)) / b;
}

function betaFraction(a, b, x) {
  const tiny = 1e-300;
  const guarded = (value) => (Math.abs(value) < tiny ? tiny : value);
  let c = 1, d = 1 / guarded(1 - ((a + b) * x) / (a + 1)), h = d;
  for (let m = 1; m < 1000; m++) {
    const even = (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / guarded(1 + even * d);
    c = guarded(1 + even / c);
    h *= d * c;
    const odd = (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / guarded(1 + odd * d);
    c = guarded(1 + odd / c);
    h *= d * c;
    if (Math.abs(d * c - 1) < 1e-12) break;
  }
  return h;
}

/** Return a source of uniform numbers (mulberry32): the same seed gives the same answers. */
function uniforms(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return (((t ^ (t >>> 14)) >>> 0) + 0.5) / 4294967296;
  };
}

/** Return n uniform numbers, one in each n-th of (0, 1), in random order. */
function stratified(n, random) {
  const numbers = new Float64Array(n);
  for (let i = 0; i < n; i++) numbers[i] = (i + random()) / n;
  return shuffled(numbers, random);
}

/** Return the items in random order; they are moved in place. */
function shuffled(items, random) {
  for (let i = items.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [items[i], items[j]] = [items[j], items[i]];
  }
  return items;
}

/** Return the index that a uniform number draws from weights, which need not sum to one. */
function chooseIndex(weights, uniform) {
  let total = 0;
  for (const weight of weights) total += weight;
  let left = uniform * total, last = 0;
  for (let i = 0; i < weights.length; i++) {
    if (!(weights[i] > 0)) continue;
    last = i;
    if (left < weights[i]) return i;
    left -= weights[i];
  }
  return last;
}

/** Return -sum p log p in nats. */
function entropy(probabilities) {
  let sum = 0;
  for (const p of probabilities) if (p > 0) sum -= p * Math.log(p);
  return sum;
}
