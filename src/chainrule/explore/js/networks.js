// The two networks of any order. Both see, for all particles, the same set of columns.

const gelu = (z) => z * normalCdf(z);
const ACTIVATIONS = {
  relu: (z) => (z > 0 ? z : 0),
  sigmoid,
  tanh: Math.tanh,
  leaky_relu: (z) => (z > 0 ? z : 0.01 * z),
  elu: (z) => (z > 0 ? z : Math.expm1(z)),
  silu: (z) => z * sigmoid(z),
  gelu,
};

/** Return what a code goes through before factor and shift. */
function transformed(features, code) {
  const { transform } = features;
  if (!transform) return code;
  if (transform === "log1p") return Math.log1p(code);
  features.scores ??= normalScores(transform);
  return features.scores.of(code);
}

/** Return the number of a code's one feature that is not zero, and its value; see InputEncoding. */
function featureOf(features, code) {
  if (features.n_indicators) return [features.start + code, 1];
  const mass = features.point_masses.indexOf(code);
  if (mass >= 0) return [features.start + 1 + mass, 1];
  return [features.start, transformed(features, code) * features.factor + features.shift];
}

/** Add `factor` times the H numbers of W from `from` on. */
function addRow(out, at, W, from, H, factor) {
  for (let h = 0; h < H; h++) out[at + h] += factor * W[from + h];
}

/** Add h (from `at` on, n numbers) times a matrix, row after row of n_out numbers, to out. */
function addProduct(out, to, h, at, n, W, from, nOut) {
  for (let i = 0; i < n; i++) {
    const value = h[at + i];
    if (value !== 0) addRow(out, to, W, from + i * nOut, nOut, value);
  }
}

/** Write outputs [first, last) of h (from `at` on) through a matrix of one row of H numbers per output. */
function writeOutputs(out, to, h, at, H, W, bias, first, last) {
  for (let k = first; k < last; k++) {
    let sum = bias[k];
    const row = k * H;
    for (let i = 0; i < H; i++) sum += h[at + i] * W[row + i];
    out[to + k - first] = sum;
  }
}

/** One small network per column; see conditioners/columns.py. */
class ColumnNetworks {
  constructor({ tensors, activation, n_layers: nLayers, width, flags }, columns, starts) {
    Object.assign(this, { tensors, nDeep: nLayers - 1, H: width, flags, columns, starts });
    this.activate = ACTIVATIONS[activation];
    this.nRows = columns.at(-1).features.start + columns.at(-1).features.width
      + flags.filter((flag) => flag >= 0).length;
  }

  /** Return a function from a column to its params given what the particles have seen. */
  pass({ n, codes, D, seen, shared }) {
    const H = this.H;
    const pre = new Float64Array(n * H), h = new Float64Array(n * H), common = new Float64Array(H);
    return (d) => {
      const base = d * this.nRows * H;
      for (let i = 0; i < H; i++) common[i] = this.tensors.first_bias[d * H + i];
      for (const j of seen) if (j !== d && shared.has(j)) this._see(common, 0, base, j, codes[j]);
      for (let p = 0; p < n; p++) {
        pre.set(common, p * H);
        for (const j of seen) {
          if (j !== d && !shared.has(j)) this._see(pre, p * H, base, j, codes[p * D + j]);
        }
      }
      this._deep(d, n, pre, h);
      const first = this.starts[d], last = this.starts[d + 1], width = last - first;
      const out = new Float64Array(n * width);
      for (let p = 0; p < n; p++) {
        writeOutputs(out, p * width, h, p * H, H, this.tensors.output, this.tensors.output_bias, first, last);
      }
      return out;
    };
  }

  /** Add to a sum of network `base` what column j adds when it has this code. */
  _see(out, at, base, j, code) {
    const [row, value] = featureOf(this.columns[j].features, code);
    addRow(out, at, this.tensors.first, base + row * this.H, this.H, value);
    if (this.flags[j] >= 0) addRow(out, at, this.tensors.first, base + this.flags[j] * this.H, this.H, 1);
  }

  _deep(d, n, pre, h) {
    const H = this.H, D = this.columns.length;
    for (let i = 0; i < n * H; i++) h[i] = this.activate(pre[i]);
    for (let layer = 0; layer < this.nDeep; layer++) {
      const at = layer * D + d;
      for (let p = 0; p < n; p++) {
        addRow(pre, p * H, this.tensors.deep_bias, at * H, H, 1);
        addProduct(pre, p * H, h, p * H, H, this.tensors.deep, at * H * H, H);
      }
      for (let i = 0; i < n * H; i++) h[i] = this.activate(pre[i]);
    }
  }
}

/** One network for all columns; see conditioners/orderless.py. */
class SharedNetwork {
  constructor({ tensors, activation, widths, residual }, columns, starts) {
    Object.assign(this, { tensors, widths, residual, columns, starts });
    this.activate = ACTIVATIONS[activation];
    this.nFeatures = columns.at(-1).features.start + columns.at(-1).features.width;
  }

  /** Return a function from a column to its params given what the particles have seen. */
  pass({ n, codes, D, seen }) {
    const last = this.widths.at(-1), hidden = new Float64Array(n * last);
    for (let p = 0; p < n; p++) hidden.set(this._hidden(codes, p * D, seen), p * last);
    return (d) => {
      const first = this.starts[d], end = this.starts[d + 1], width = end - first;
      const out = new Float64Array(n * width);
      for (let p = 0; p < n; p++) {
        writeOutputs(
          out, p * width, hidden, p * last, last, this.tensors.output, this.tensors.output_bias, first, end,
        );
      }
      return out;
    };
  }

  _hidden(codes, at, seen) {
    let H = this.widths[0], pre = Float64Array.from(this.tensors.bias_0);
    for (const j of seen) {
      const [row, value] = featureOf(this.columns[j].features, codes[at + j]);
      addRow(pre, 0, this.tensors.weight_0, row * H, H, value);
      addRow(pre, 0, this.tensors.weight_0, (this.nFeatures + j) * H, H, 1);
    }
    let h = pre.map(this.activate);
    for (let layer = 1; layer < this.widths.length; layer++) {
      const next = Float64Array.from(this.tensors[`bias_${layer}`]);
      addProduct(next, 0, h, 0, H, this.tensors[`weight_${layer}`], 0, this.widths[layer]);
      H = this.widths[layer];
      if (this.residual) addRow(next, 0, pre, 0, H, 1);
      pre = next;
      h = pre.map(this.activate);
    }
    return h;
  }
}

const NETWORKS = { columns: ColumnNetworks, shared: SharedNetwork };

/** Return a member's network, its weights unpacked from bytes. */
function makeNetwork(description, bytes, columns, starts) {
  const tensors = {};
  for (const [name, { offset, length, type }] of Object.entries(description.tensors)) {
    const size = type === "float16" ? 2 : 4;
    const own = bytes.slice(offset, offset + length * size).buffer;
    tensors[name] = type === "float16" ? fromHalf(new Uint16Array(own)) : new Float32Array(own);
  }
  return new NETWORKS[description.network]({ ...description, tensors }, columns, starts);
}
