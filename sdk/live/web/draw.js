"use strict";
/* Drawing: lines of the signal by uPlot, strips of time, the small picture of a question. Text goes in by textContent. */

const $ = (id) => document.getElementById(id);

function make(tag, text = "", more = {}) {
  const it = document.createElement(tag);
  if (text !== "") it.textContent = text;
  for (const [name, value] of Object.entries(more)) {
    if (name === "class") it.className = value; else if (name.startsWith("on")) it[name] = value; else it.setAttribute(name, value);
  }
  return it;
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/* Lines of one modality: ten seconds that move on. Where samples are missing the line has a hole. */
class Lines {
  constructor(place, group) {
    this.group = group;
    this.seconds = 10;
    this.data = [[], ...group.channels.map(() => [])];
    const box = make("div", "", { class: "chart" });
    box.append(make("h3", `${group.name}, ${group.unit.replace("^2", "²")}`));
    this.box = box;
    place.append(box);
    const axis = { stroke: () => colour("--quiet"), grid: { stroke: () => colour("--line"), width: 1 }, ticks: { show: false }, size: 34 };
    const ago = (u, ticks) => ticks.map((t) => `${Math.round(t - u.scales.x.max)}`);
    const strokes = ["--a", "--b", "--c"];
    this.plot = new uPlot({
      width: box.clientWidth, height: 150, cursor: { show: false }, legend: { show: false },
      scales: { x: { time: false } }, axes: [{ ...axis, values: ago, size: 24 }, axis],
      series: [{}, ...group.channels.map((name, i) => ({ label: name, stroke: () => colour(strokes[i % 3]), width: 1.5, points: { show: false } }))],
    }, this.data, box);
    new ResizeObserver(() => this.plot.setSize({ width: box.clientWidth, height: 150 })).observe(box);
  }

  add(tick) {
    const [first, last] = tick.t, n = tick.x.length, times = this.data[0];
    if (times.length && first - times[times.length - 1] > 0.5) {
      times.push(first - 0.001);
      this.data.slice(1).forEach((line) => line.push(null));
    }
    tick.x.forEach((row, i) => {
      times.push(n > 1 ? first + (last - first) * i / (n - 1) : last);
      row.forEach((value, c) => this.data[c + 1].push(value));
    });
    const old = times.findIndex((t) => t > last - this.seconds - 1);
    if (old > 200) this.data.forEach((line) => line.splice(0, old));
  }

  draw() {
    const last = this.data[0][this.data[0].length - 1];
    if (last === undefined) return;
    this.plot.setData(this.data, false);
    this.plot.setScale("x", { min: last - this.seconds, max: last });
  }
}

/* A strip of time: pieces {start, end, label, title} between two edges; `choose` makes them buttons. */
function strip(place, pieces, start, end, labels, choose) {
  const kept = document.activeElement && place.contains(document.activeElement) ? document.activeElement.dataset.start : null;
  place.replaceChildren(...pieces.map((piece) => {
    const from = Math.max(piece.start, start), to = Math.min(piece.end, end), k = labels.indexOf(piece.label);
    const it = make(choose ? "button" : "span", piece.label, { title: piece.title, "aria-label": piece.title });
    if (choose) { it.type = "button"; it.onclick = () => choose(piece); } else it.setAttribute("role", "img");
    it.className = `k${(k < 0 ? labels.length : k) % 6}${piece.doubt ? " doubt" : ""}${piece.chosen ? " chosen" : ""}`;
    it.dataset.start = piece.start;
    it.style.left = `${100 * (from - start) / (end - start)}%`;
    it.style.width = `${Math.max(0.4, 100 * (to - from) / (end - start))}%`;
    return it;
  }));
  if (kept !== null) for (const it of place.children) if (it.dataset.start === kept) it.focus();
}

/* The norm of a modality around a question, with the window that is meant. */
function picture(question) {
  const space = "http://www.w3.org/2000/svg", svg = document.createElementNS(space, "svg");
  const [begin, end] = question.picture.span_s, line = Object.values(question.picture.norms)[0] || [];
  svg.setAttribute("viewBox", "0 0 100 40");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", "How strong the movement was around that moment");
  const rect = document.createElementNS(space, "rect"), x = (t) => 100 * (t - begin) / (end - begin);
  for (const [name, value] of Object.entries({ x: x(question.start_s), width: x(question.end_s) - x(question.start_s), y: 0, height: 40 })) rect.setAttribute(name, value);
  const known = line.filter((v) => v !== null), low = Math.min(...known), high = Math.max(...known), path = document.createElementNS(space, "path");
  let d = "", pen = "M";
  line.forEach((v, i) => {
    if (v === null) { pen = "M"; return; }
    d += `${pen}${(100 * (i + 0.5) / line.length).toFixed(1)} ${(38 - 36 * (v - low) / (high - low || 1)).toFixed(1)}`;
    pen = "L";
  });
  path.setAttribute("d", d || "M0 0");
  svg.append(rect, path);
  return svg;
}
