// Below the monitors: what to ask next, and drawn rows.

class NextPanel {
  constructor({ columns, client, evidence }) {
    Object.assign(this, { client, evidence, columns });
    this.select = document.getElementById("target");
    this.list = document.getElementById("ranking");
    this.note = document.getElementById("next-note");
    for (const column of columns) this.select.append(element("option", { value: column.name }, column.name));
    this.select.value = columns.at(-1).name;
    this.select.addEventListener("change", () => this.update());
  }

  update() {
    const question = { given: this.evidence.given(), target: this.select.value };
    this.client.newest("next", question, (result, error) => this._show(result, error));
  }

  _show(result, error) {
    const ranking = result?.ranking ?? [];
    this.note.textContent = error
      ? error.message
      : ranking.length
        ? "How much each column is expected to tell, in nats, and as a share of what is uncertain "
          + `(${result.entropy.toFixed(3)} nats).`
        : "Nothing is left to ask: the column is set.";
    const most = Math.max(ranking[0]?.nats ?? 0, 0.02 * (result?.entropy ?? 0), 1e-9);
    this.list.replaceChildren(...ranking.map((each) => this._item(each, result.entropy, most)));
  }

  _item({ column, nats }, total, most) {
    const bar = element("span", { class: "posterior" });
    bar.style.width = `${(100 * nats) / most}%`;
    const share = total > 0 ? percent(nats / total) : "";
    const number = this.columns.findIndex((each) => each.name === column);
    return element("li", {}, element(
      "button",
      { type: "button", class: "bar", title: `Go to ${column}`, click: () => goTo(number) },
      element("span", { class: "label" }, column),
      " ",
      element("span", { class: "track", "aria-hidden": "true" }, bar),
      element("span", { class: "share" }, `${nats.toFixed(3)} · ${share}`),
    ));
  }
}

/** Bring a monitor into view, and the keyboard to it. */
function goTo(number) {
  const monitor = document.getElementById(`monitor-${number}`);
  monitor.scrollIntoView({ block: "center" });
  monitor.focus({ preventScroll: true });
}

class RowsPanel {
  constructor({ columns, client, evidence }) {
    Object.assign(this, { columns, client, evidence, seed: 0 });
    const section = document.getElementById("rows");
    this.body = section.querySelector("tbody");
    const headings = columns.map((column) =>
      element("th", { scope: "col", class: column.is_numeric ? "number" : null }, column.name));
    section.querySelector("thead").append(element("tr", {}, ...headings));
    document.getElementById("draw").addEventListener("click", () => {
      this.seed += 1;
      this.update();
    });
  }

  update() {
    const question = { given: this.evidence.given(), n: 10, seed: this.seed };
    this.client.newest("rows", question, (rows) => this._show(rows ?? []));
  }

  _show(rows) {
    this.body.replaceChildren(...rows.map((row) => element("tr", {}, ...row.map((value, d) => {
      const column = this.columns[d];
      const classes = [column.is_numeric ? "number" : "", this.evidence.get(column.name) === undefined ? "" : "is-set"];
      return element("td", { class: classes.join(" ").trim() || null }, cellText(value, column));
    }))));
  }
}
