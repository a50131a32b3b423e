// Words, numbers and elements. Names and levels only ever become text nodes.

/** Return an element with attributes (functions become listeners) and children. */
function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

/** Return a probability as people write it. */
function percent(p) {
  if (!(p > 0)) return "0 %";
  if (p < 0.0005) return "< 0.1 %";
  if (p > 0.9995) return p < 1 ? "> 99.9 %" : "100 %";
  return `${(100 * p).toFixed(1)} %`;
}

/** Return a number of a column with as many digits as tell its values apart. */
function numberText(number, column, more = 0) {
  if (column.unit) return dateText(number, column.unit);
  return formatted(number, 0, digitsOf(column, more));
}

// A formatter takes longer to make than to use.
const formatters = new Map();

function formatted(number, least, most) {
  const key = `${least} ${most}`;
  if (!formatters.has(key)) {
    const digits = { minimumFractionDigits: least, maximumFractionDigits: most };
    formatters.set(key, new Intl.NumberFormat("en", digits));
  }
  return formatters.get(key).format(number);
}

function digitsOf(column, more) {
  const spread = column.is_whole ? 100 : column.step;
  return Math.min(Math.max(2 - Math.floor(Math.log10(spread)), 0) + more, 12);
}

/** Return a drawn value, numbers of a column with equally many digits. */
function cellText(value, column) {
  if (typeof value !== "number" || column.unit || !column.is_numeric) return valueText(value, column);
  const digits = column.is_whole ? 0 : digitsOf(column, 1);
  return formatted(value, digits, digits);
}

/** Return a number beside an axis, where there is little room. */
function tickText(number, column, span) {
  if (column.unit) {
    const text = dateText(number, column.unit);
    return span * UNIT_SECONDS[column.unit] < 3 * UNIT_SECONDS.days ? text.slice(11, 16) || text : text.slice(0, 10);
  }
  if (Math.abs(number) < 10000) return numberText(number, column);
  return number.toLocaleString("en", { notation: "compact" });
}

/** Return a number with a minus sign. */
function fixed(number, digits) {
  return number.toFixed(digits).replace("-", "−");
}

/** Return a column's value: dates and numbers as such, levels as they are. */
function valueText(value, column) {
  if (typeof value === "number" && (column.is_numeric || column.unit)) return numberText(value, column, 2);
  return String(value);
}

/** Return a condition in words, behind the column's name. */
function conditionText(condition, column) {
  const shown = (value) => valueText(value, column);
  if (condition === null || typeof condition !== "object") return `= ${shown(condition)}`;
  if (condition.levels) {
    const some = condition.levels.slice(0, 4).map(shown).join(" or ");
    return `= ${some}${condition.levels.length > 4 ? ` or ${condition.levels.length - 4} more` : ""}`;
  }
  const [low, high] = condition.range;
  if (low === null) return `≤ ${shown(high)}`;
  if (high === null) return `≥ ${shown(low)}`;
  return `${shown(low)} to ${shown(high)}`;
}
