// Bars of single values: buttons with a name, a grey bar for before and a coloured one for now.

const N_BARS = 12;

class Bars {
  /** `values` are what is set when a bar is chosen, `labels` their texts, `order` which come first. */
  constructor({ name, values, labels, order, canHoldSeveral, evidence }) {
    Object.assign(this, { name, values, labels, evidence, canHoldSeveral });
    this.list = element("ul", { class: "bars" });
    this.bars = values.map((value, i) => this._bar(value, labels[i]));
    order.forEach((i) => this.list.append(this.bars[i].item));
    this.hidden = order.slice(N_BARS);
    this.element = element("div", {}, this.list, ...this._controls());
    this._showAll(false);
  }

  _bar(value, label) {
    const prior = element("span", { class: "prior" }), posterior = element("span", { class: "posterior" });
    const share = element("span", { class: "share" }), unseen = element("span", { class: "unseen" });
    const button = element(
      "button",
      { type: "button", class: "bar", "aria-pressed": "false", click: (event) => this._choose(value, event) },
      element("span", { class: "label", title: label }, label),
      " ",
      element("span", { class: "track", "aria-hidden": "true" }, prior, posterior),
      share,
      unseen,
    );
    return { item: element("li", {}, button), button, prior, posterior, share, unseen, value };
  }

  _controls() {
    const controls = [];
    if (this.hidden.length) {
      this.more = element("button", { type: "button", class: "quiet", "aria-expanded": "false",
        click: () => this._showAll(this.more.getAttribute("aria-expanded") === "false") });
      controls.push(this.more);
    }
    if (this.canHoldSeveral && this.values.length > 2) {
      this.several = element("button", { type: "button", class: "quiet", "aria-pressed": "false",
        title: "Choose several values: any one of them", click: () => this._toggleSeveral() }, "pick several");
      controls.push(this.several);
    }
    return controls.length ? [element("div", { class: "controls" }, ...controls)] : [];
  }

  _toggleSeveral() {
    this.several.setAttribute("aria-pressed", String(this.several.getAttribute("aria-pressed") === "false"));
  }

  _showAll(all) {
    for (const i of this.hidden) this.bars[i].item.hidden = !all;
    if (!this.more) return;
    this.more.setAttribute("aria-expanded", String(all));
    this.more.textContent = all ? "fewer" : `${this.hidden.length} more`;
  }

  _choose(value, event) {
    const several = this.several?.getAttribute("aria-pressed") === "true";
    const withKey = this.canHoldSeveral && (event.shiftKey || event.ctrlKey || event.metaKey);
    this.evidence.toggle(this.name, value, several || withKey);
  }

  showPrior(probabilities) {
    this.bars.forEach((bar, i) => {
      bar.prior.style.width = `${100 * probabilities[i]}%`;
      bar.unseen.textContent = `, before ${percent(probabilities[i])}`;
    });
  }

  /** Show probabilities; null where the column is set to a value. */
  show(probabilities) {
    this.bars.forEach((bar, i) => {
      const isSet = this.evidence.has(this.name, bar.value);
      const p = probabilities ? probabilities[i] : isSet ? 1 : 0;
      bar.posterior.style.width = `${100 * p}%`;
      bar.share.textContent = percent(p);
      bar.button.setAttribute("aria-pressed", String(isSet));
    });
  }
}
