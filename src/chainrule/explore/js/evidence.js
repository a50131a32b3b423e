// What is set: a condition for each column, and who wants to hear of changes.

class Evidence {
  constructor() {
    this.conditions = new Map();
    this.listeners = [];
  }

  get(name) {
    return this.conditions.get(name);
  }

  /** Return the conditions as the API takes them, in the order in which they were set. */
  given() {
    return Object.fromEntries(this.conditions);
  }

  /** Set a column's condition, or take it away (undefined). */
  set(name, condition) {
    if (condition === undefined) this.conditions.delete(name);
    else this.conditions.set(name, condition);
    this._tell();
  }

  replace(given) {
    this.conditions = new Map(Object.entries(given));
    this._tell();
  }

  _tell() {
    for (const listener of this.listeners) listener();
  }

  /** Return whether one value is among what a column is set to. */
  has(name, value) {
    const condition = this.conditions.get(name);
    if (condition !== null && typeof condition === "object") {
      if (condition.levels) return condition.levels.includes(value);
      return false;
    }
    return condition === value;
  }

  /** Choose a value or take it away again; with `several` beside those that are chosen. */
  toggle(name, value, several) {
    const condition = this.conditions.get(name);
    const chosen = condition?.levels ?? (condition === undefined || condition?.range ? [] : [condition]);
    const isChosen = chosen.includes(value);
    const rest = chosen.filter((each) => each !== value);
    const next = several ? (isChosen ? rest : [...rest, value]) : isChosen ? [] : [value];
    this.set(name, next.length > 1 ? { levels: next } : next[0]);
  }
}

/** Show what is set as chips, each of which can be taken away; the keyboard then goes to the next one. */
function showChips(list, evidence, columns, whenNone) {
  list.replaceChildren(...[...evidence.conditions].map(([name, condition], i) => {
    const text = conditionText(condition, columns.get(name));
    const takeAway = () => {
      evidence.set(name, undefined);
      const left = list.querySelectorAll("button");
      (left[Math.min(i, left.length - 1)] ?? whenNone).focus();
    };
    const remove = element(
      "button", { type: "button", "aria-label": `Take away ${name} ${text}`, click: takeAway }, "×",
    );
    return element("li", { class: "chip" }, element("b", {}, name), ` ${text} `, remove);
  }));
}
