// Small live line charts: SVG, a crosshair for pointer and keyboard, and a sentence for who cannot see them.

const SVG = "http://www.w3.org/2000/svg";
const EDGE = { left: 52, right: 8, top: 8, bottom: 20 };
const SPANS = [30, 60, 120, 180]; // seconds

function html(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function svg(tag, attributes, text) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

// The smallest of 1, 2, 2.5, 5 times a power of ten that is not less.
function roundUp(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 2.5, 5, 10].map((step) => step * power).find((step) => step >= value * 0.999);
}

class Chart {
  // series: [{key, name}]; format: number to text; top: a fixed upper end of the scale.
  constructor(parent, { title, series, format, top, empty }) {
    Object.assign(this, { title, series, format, top, rows: [], picked: null });
    this.legend = html("ul", { className: "legend" });
    this.plot = svg("svg", { class: "plot", role: "img", tabindex: "0" });
    this.tip = html("div", { className: "tip", hidden: true });
    this.empty = html("p", { className: "empty", textContent: empty });
    this.figure = html("figure", {}, html("figcaption", {}, html("h2", { textContent: title }), this.legend));
    this.figure.append(this.plot, this.empty, this.tip);
    parent.append(this.figure);
    this.plot.addEventListener("pointermove", (event) => this.pick(this.nearest(event)));
    this.plot.addEventListener("pointerleave", () => this.pick(null));
    this.plot.addEventListener("blur", () => this.pick(null));
    this.plot.addEventListener("keydown", (event) => this.step(event));
    new ResizeObserver(() => this.draw()).observe(this.plot);
  }

  show(rows, series = this.series) {
    this.rows = rows;
    this.series = series;
    this.draw();
  }

  nearest(event) {
    const x = event.clientX - this.plot.getBoundingClientRect().left;
    const distance = (row) => Math.abs(this.x(row.at) - x);
    return this.rows.reduce((best, row) => (best === null || distance(row) < distance(best) ? row : best), null);
  }

  step(event) {
    const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!move || !this.rows.length) return;
    event.preventDefault();
    const last = this.rows.length - 1;
    const at = this.picked ? this.rows.indexOf(this.picked) : last + (move < 0 ? 1 : 0);
    this.pick(this.rows[Math.min(last, Math.max(0, at + move))]);
  }

  pick(row) {
    this.picked = row;
    this.draw();
  }

  x(at) {
    const now = this.rows.at(-1).at;
    const span = this.span;
    return this.width - EDGE.right - ((now - at) / 1000 / span) * (this.width - EDGE.left - EDGE.right);
  }

  // Grows with what there is to show, so that a young page is not an empty one.
  get span() {
    const shown = this.rows.length ? (this.rows.at(-1).at - this.rows[0].at) / 1000 : 0;
    return SPANS.find((span) => span >= shown) || SPANS.at(-1);
  }

  y(value) {
    return this.height - EDGE.bottom - (value / this.scale) * (this.height - EDGE.top - EDGE.bottom);
  }

  draw() {
    this.width = this.plot.clientWidth;
    this.height = this.plot.clientHeight;
    const values = this.rows.flatMap((row) => this.series.map(({ key }) => row[key] ?? 0));
    this.scale = this.top || roundUp(Math.max(0, ...values));
    if (this.picked && !this.rows.includes(this.picked)) this.picked = null;
    this.plot.replaceChildren(...this.axes());
    const shown = this.rows.length > 0 && this.width > 0;
    if (shown) this.series.forEach((one, index) => this.plot.append(...this.curve(one, index)));
    if (shown && this.picked) this.plot.append(...this.cross());
    this.tip.hidden = !(shown && this.picked);
    this.empty.hidden = this.rows.some((row) => this.series.some(({ key }) => typeof row[key] === "number"));
    this.describe();
  }

  axes() {
    const parts = [0, 0.5, 1].flatMap((part) => {
      const y = this.y(part * this.scale);
      const line = { x1: EDGE.left, x2: this.width - EDGE.right, y1: y, y2: y, class: part ? "grid" : "base" };
      const label = svg("text", { x: EDGE.left - 8, y: y + 4, "text-anchor": "end" }, part ? this.format(part * this.scale) : "0");
      return [svg("line", line), label];
    });
    const y = this.height - 4;
    parts.push(svg("text", { x: EDGE.left, y }, this.span < 120 ? `${this.span} s ago` : `${this.span / 60} min ago`));
    parts.push(svg("text", { x: this.width - EDGE.right, y, "text-anchor": "end" }, "now"));
    return parts;
  }

  curve({ key }, index) {
    const runs = [[]];
    for (const row of this.rows) {
      if (typeof row[key] === "number") runs.at(-1).push([this.x(row.at), this.y(Math.min(row[key], this.scale))]);
      else if (runs.at(-1).length) runs.push([]);
    }
    return runs.filter((run) => run.length).flatMap((run) => {
      const line = "M" + run.map(([x, y]) => `${x.toFixed(1)},${y.toFixed(1)}`).join("L");
      const area = `${line}L${run.at(-1)[0].toFixed(1)},${this.y(0)}L${run[0][0].toFixed(1)},${this.y(0)}Z`;
      const [x, y] = run.at(-1);
      const curve = svg("path", { d: line, class: `line c${index} d${index}` });
      if (run.length === 1) return [svg("circle", { cx: x, cy: y, r: 2.5, class: `c${index}` })];
      return index ? [curve] : [svg("path", { d: area, class: "area c0" }), curve];
    });
  }

  cross() {
    const x = this.x(this.picked.at);
    const marks = [svg("line", { x1: x, x2: x, y1: EDGE.top, y2: this.height - EDGE.bottom, class: "cross" })];
    const lines = [`${Math.round((this.rows.at(-1).at - this.picked.at) / 1000)} s ago`];
    this.series.forEach(({ key, name }, index) => {
      const value = this.picked[key];
      if (typeof value !== "number") return;
      marks.push(svg("circle", { cx: x, cy: this.y(Math.min(value, this.scale)), r: 4, class: `c${index}` }));
      lines.push(`${name}  ${this.format(value)}`);
    });
    this.tip.textContent = lines.join("\n");
    this.tip.hidden = false;
    const [box, frame] = [this.plot.getBoundingClientRect(), this.figure.getBoundingClientRect()];
    const half = this.tip.offsetWidth / 2;
    const left = Math.min(this.width - half, Math.max(half, x));
    this.tip.style.left = `${box.left - frame.left + left}px`;
    this.tip.style.top = `${box.top - frame.top - 4}px`;
    return marks;
  }

  describe() {
    const last = this.rows.at(-1) || {};
    const facts = this.series.map(({ key, name }) => `${name} ${this.format(last[key])}`);
    this.plot.setAttribute("aria-label", `${this.title}, latest: ${facts.join(", ") || "nothing yet"}. Arrow keys look back.`);
    this.legend.replaceChildren(
      ...this.series.map(({ key, name }, index) =>
        html("li", {}, html("i", { className: `c${index} d${index}` }), `${name} `, html("b", { textContent: this.format(last[key]) })),
      ),
    );
  }
}
