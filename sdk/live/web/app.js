"use strict";
/* The page: messages of /events come in, what is tapped goes out. Times are those of the device that serves. */

let hello = null, state = null, source = null, lines = new Map(), shift = 0;  // shift: the device's clock less ours
let range = 600, shown = null, chosen = null, skipped = [], dirty = false, latest = null;

const now = () => Date.now() / 1000 + shift;
const clock = (t) => new Date(t * 1000).toLocaleTimeString([], { hour12: false });
const percent = (p) => `${p === 1 ? 100 : (Math.floor(1000 * p) / 10).toFixed(1)}\u00a0%`;  // never rounded up
const many = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;
const counts = (of) => Object.entries(of).sort((a, b) => b[1] - a[1]).map(([name, n]) => `${name} ${n}`).join(", ");

async function call(method, path, body) {
  const headers = method === "GET" ? {} : { "X-Live": "1", "Content-Type": "application/json" };
  let answer;
  try {
    answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch { throw new Error("The device does not answer."); }
  const text = await answer.text();
  let found = null;
  try { found = JSON.parse(text); } catch { /* a sentence of the guard */ }
  if (!answer.ok) throw new Error(found ? found.error : text);
  return found;
}

/* ---- what comes ---- */

const take = {
  hello(m) {
    shift = m.now - Date.now() / 1000;
    const first = hello === null;
    hello = m;
    $("name").textContent = m.name;
    $("version").textContent = m.version === "base" ? "as shipped" : `version ${m.version}`;
    if (!m.changed) {
      lines.clear();
      $("charts").replaceChildren();
      for (const group of m.signal) lines.set(group.name, new Lines($("charts"), group));
      m.ring.forEach((tick) => lines.get(tick.of)?.add(tick));
      dirty = true;
    }
    $("bars").replaceChildren(...m.labels.map((label) => {
      const item = make("li"), bar = make("div", "", { class: "bar", role: "meter", "aria-label": label, "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": 0 });
      bar.append(make("i"));
      item.append(make("span", label), bar, make("b", ""));
      return item;
    }));
    if (m.latest) take.pred(m.latest);
    if (first) start(); else refresh();
  },
  tick(m) { lines.get(m.of)?.add(m); dirty = true; },
  pred(m) {
    latest = m;
    $("label").textContent = m.label;
    const odd = [m.real < 0.995 ? `${percent(m.real)} measured` : "all measured", ...m.odd];
    if (m.saturated) odd.push("at the sensor's end");
    if (m.unusual !== null && m.unusual > 1) odd.push("unlike what the model knows");
    $("sure").textContent = `${percent(Math.max(...m.p))} sure · ${odd.join(" · ")} · until ${clock(m.end)}`;
    [...$("bars").children].forEach((item, i) => {
      const p = m.p[i] ?? 0, bar = item.children[1];
      bar.setAttribute("aria-valuenow", Math.round(100 * p));
      bar.firstChild.style.width = `${100 * p}%`;
      item.children[2].textContent = p >= 0.005 ? percent(p) : "";
    });
  },
  event(m) {
    const text = m.is === "start" ? `${m.label} since ${clock(m.at)}` : `${m.label} from ${clock(m.at)} until ${clock(m.until)}`;
    const list = $("events");
    list.querySelector(".quiet")?.remove();
    list.prepend(make("li", text));
    while (list.children.length > 12) list.lastChild.remove();
  },
  cost(m) {
    shift = m.now - Date.now() / 1000;
    const power = m.watts === null ? "power not measured" : `${m.watts.toFixed(2)} W`;
    $("why").hidden = m.watts !== null || !m.why;
    $("why").lastElementChild.textContent = m.why;
    const ms = m.p50 === null ? "" : `${m.p50.toFixed(2)} ms per window (99 of 100 below ${m.p99.toFixed(2)}) · `;
    $("cost").textContent = `${ms}${m.mb.toFixed(0)} MB · ${m.cpu.toFixed(1)} % of a core · ${power}`;
  },
  data(m) {
    $("viewers").textContent = m.viewers > 1 ? `${m.viewers} are looking` : "";
    const lost = [["lost", "time(s) the sensor went away"], ["dropped", "samples came too fast"], ["malformed", "lines made no sense"]];
    const told = [m.over && `The stream is over: ${m.over}.`, m.recorder && `Nothing is kept just now: ${m.recorder}.`, ...m.warnings];
    for (const [name, text] of lost) if (m.source[name]) told.push(`${m.source[name]} ${text}.`);
    banner(told.filter(Boolean).join(" "));
  },
  behind(m) { banner(`This page is behind: ${many(m.lost, "message")} left out.`); },
  job(m) { job(m); refresh(); },
  trial() { refresh(); $("job").textContent = "Five minutes are over: the version before is in use again."; },
};

function banner(text) { $("banner").textContent = text; $("banner").hidden = !text; }

function listen() {
  source = new EventSource("/events");
  source.onmessage = (event) => { const m = JSON.parse(event.data); take[m.kind]?.(m); };
  source.onerror = () => banner("The device does not answer; trying again.");
}

document.addEventListener("visibilitychange", () => {
  if (document.hidden) { source?.close(); source = null; } else if (!source) listen();
});

setInterval(() => {
  if (dirty && !document.hidden) { dirty = false; lines.forEach((line) => line.draw()); }
}, 100);

/* ---- the day ---- */

function start() {
  refresh();
  setInterval(() => { if (!document.hidden) { timeline(); countdown(); } }, 2000);
}

async function timeline() {
  if (!state?.recorded) return;
  const end = now();
  try { shown = await call("GET", `/timeline?start=${(end - range).toFixed(3)}&end=${end.toFixed(3)}`); } catch { return; }
  const labels = hello.labels, text = (p) => `${p.label}, ${clock(p.start)} to ${clock(p.end)}`;
  const runs = shown.runs.map((p) => {
    const doubt = p.p !== null && p.p < shown.doubt;
    const title = `${text(p)}${p.p === null ? "" : `, ${percent(p.p)} sure`}${doubt ? ", doubtful" : ""}`;
    return { ...p, doubt, title, chosen: chosen && Math.abs(p.start - chosen.start) < 0.01 };
  });
  if (shown.kept) shown.start = Math.min(Math.max(shown.start, shown.kept[0] - 1), shown.end - 30);
  strip($("runs"), runs, shown.start, shown.end, labels, (run) => choose(run.start, run.end));
  strip($("spans"), shown.spans.map((p) => ({ ...p, title: text(p) })), shown.start, shown.end, labels, null);
  $("from-edge").textContent = clock(shown.start);
  $("to-edge").textContent = "now";
}

/* The instant of today, or of yesterday where that would lie ahead, at which clocks show so. */
function instant(text) {
  const [h, m, s] = text.split(":").map(Number), day = new Date(now() * 1000);
  day.setHours(h, m, s || 0, 0);
  const at = day.getTime() / 1000;
  return at > now() + 60 ? at - 86400 : at;
}

const field = (t) => { const d = new Date(t * 1000), two = (n) => String(n).padStart(2, "0"); return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`; };

function choose(begin, end) {
  chosen = { start: begin, end, from: field(begin), to: field(end) };
  $("from").value = chosen.from;
  $("to").value = chosen.to;
  check();
  timeline();
}

/* To the microsecond while the fields say what was tapped; else what was typed. */
function span() {
  const from = $("from").value, to = $("to").value, label = $("what").value.trim();
  if (!from || !to) return null;
  const kept = chosen && chosen.from === from && chosen.to === to;
  return { start: kept ? chosen.start - 0.001 : instant(from), end: kept ? chosen.end + 0.001 : instant(to), label };
}

let checks = 0;
async function check() {
  const asked = span(), mine = ++checks, out = $("check");
  $("mark").disabled = true;
  [...$("picks").children].forEach((b) => b.setAttribute("aria-pressed", String(b.textContent === $("what").value.trim())));
  if (asked && asked.end <= asked.start) { out.textContent = "The end is not after the start."; out.className = "warn"; return; }
  if (!asked || !asked.label) { out.textContent = asked ? "Now say what it was." : ""; out.className = ""; return; }
  try {
    const told = await call("POST", "/labels/check", asked);
    if (mine !== checks) return;
    const said = told.inside ? ` The model said there: ${counts(told.said)}.` : "";
    const warn = told.differs && told.inside && hello.labels.includes(asked.label);
    out.className = warn ? "warn" : "";
    out.textContent = `${many(told.inside, "window")} inside, ${told.cut} cut.${said}${warn ? " That is something else: is the time right?" : ""}`;
    $("mark").disabled = !told.inside || !state.may_change;
    $("mark").textContent = warn ? `Label it ${asked.label} nevertheless` : "Label it";
  } catch (error) { if (mine === checks) { out.textContent = error.message; out.className = "warn"; } }
}

for (const id of ["from", "to", "what"]) $(id).addEventListener("input", check);
for (const button of document.querySelectorAll("[data-range]")) button.onclick = () => {
  range = Number(button.dataset.range);
  document.querySelectorAll("[data-range]").forEach((b) => b.setAttribute("aria-pressed", String(b === button)));
  timeline();
};
for (const button of document.querySelectorAll("[data-last]")) button.onclick = () => {
  const end = latest ? latest.end : now();
  choose(end - Number(button.dataset.last), end);
};
$("form").onsubmit = async (event) => {
  event.preventDefault();
  const asked = span();
  $("mark").disabled = true;
  try {
    const told = await call("POST", "/labels", asked);
    $("check").className = "";
    $("mark").textContent = "Label it";
    $("check").textContent = `${many(told.inside, "window")} labelled ${asked.label}.`;
  } catch (error) { $("check").textContent = error.message; }
  refresh();
};
$("undo").onclick = async () => {
  try {
    const { undone } = await call("DELETE", "/labels/last");
    $("check").textContent = undone ? `Taken back: ${undone.label}, ${clock(undone.start)} to ${clock(undone.end)}.` : "There is no label.";
  } catch (error) { $("check").textContent = error.message; }
  refresh();
};

/* ---- questions ---- */

$("more").onclick = async () => {
  const button = $("more");
  button.disabled = true;
  button.textContent = "Looking for good questions…";
  try {
    const found = await call("GET", `/questions?skip=${skipped.join(",")}`);
    $("cards").replaceChildren(...found.questions.map((q) => card(q, found.labels)));
    if (!found.questions.length) $("cards").replaceChildren(make("p", "Nothing to ask just now."));
  } catch (error) { $("cards").replaceChildren(make("p", error.message, { class: "warn" })); }
  button.disabled = false;
  button.textContent = "Ask me more";
};

function card(question, labels) {
  const box = make("div", "", { class: "ask", role: "group", "aria-label": `What was it at ${clock(question.start_s)}?` });
  const row = make("div", "", { class: "row" }), names = [question.guess, ...labels.filter((name) => name !== question.guess)];
  const answer = async (label) => {
    try {
      await call("POST", "/labels", { start: question.start_s - 0.001, end: question.end_s + 0.001, label });
      box.replaceChildren(make("p", `${clock(question.start_s)}: ${label}. Thank you.`));
    } catch (error) { box.append(make("p", error.message, { class: "warn" })); }
    refresh();
  };
  for (const name of names) row.append(make("button", name, { type: "button", class: name === question.guess ? "" : "small", onclick: () => answer(name) }));
  row.append(make("button", "I do not know", { type: "button", class: "plain", onclick: () => { skipped.push(question.start_s); box.remove(); } }));
  box.append(make("p", `What was it at ${clock(question.start_s)}? It looks like ${question.guess} (${percent(question.confidence)}).`), picture(question), row);
  return box;
}

/* ---- learning ---- */

async function refresh() {
  try { state = await call("GET", "/state"); } catch (error) { banner(error.message); return; }
  for (const id of ["day", "ask", "learn"]) $(id).hidden = !state.recorded;
  const names = [...new Set([...hello.labels, ...Object.keys(state.labelled)])];
  $("names").replaceChildren(...names.map((name) => make("option", "", { value: name })));
  if ($("picks").dataset.of !== names.join()) {
    $("picks").dataset.of = names.join();
    $("picks").replaceChildren(...names.map((name) => make("button", name, { type: "button", class: "small", "aria-pressed": "false", onclick: () => { $("what").value = name; check(); } })));
  }
  const good = Object.values(state.labelled).filter((n) => n >= 5).length, running = state.job?.state === "running";
  const advice = good < 2 ? " Two activities with five windows each are the least that it should learn from." : "";
  $("labelled").textContent = Object.keys(state.labelled).length ? `You labelled: ${counts(state.labelled)} windows.${advice}` : `Nothing is labelled yet.${advice}`;
  $("personalise").disabled = good < 2 || running || state.trial !== null || !state.may_change;
  $("cancel").hidden = !running;
  for (const id of ["undo", "keep", "back", "more"]) $(id).disabled = !state.may_change;
  $("trial").hidden = !state.trial;
  versions();
  countdown();
  if (state.job) job(state.job);
  timeline();
}

function versions() {
  $("versions").replaceChildren(...state.versions.map((v) => {
    const item = make("li"), when = v.made_s ? ` · ${new Date(v.made_s * 1000).toLocaleString()}` : "";
    const of = v.windows_per_label ? ` · ${counts(v.windows_per_label)}` : v.damaged ? ` · ${v.damaged}` : "";
    item.append(make("span", `${v.version === "base" ? "as shipped" : v.version}${when}${of}`));
    if (v.version === state.current) item.append(make("span", "in use", { class: "chip" }));
    else if (!v.damaged) {
      const button = make("button", "Use it", { type: "button", class: "plain", "aria-label": `Use it: ${v.version}`, onclick: () => act("POST", "/version", { version: v.version }) });
      button.disabled = !state.may_change;
      item.append(button);
    }
    return item;
  }));
}

async function act(method, path, body = {}) {
  try { await call(method, path, body); } catch (error) { $("job").textContent = error.message; }
  refresh();
}

function countdown() {
  if (!state?.trial) return;
  const left = Math.max(0, Math.round(state.trial.until - now()));
  $("trial-text").textContent = `Version ${state.trial.version} is on trial. It goes back by itself in ${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")} unless you keep it.`;
}

function job(m) {
  const words = { running: "Learning from your labels…", accepted: "A new version was made.", refused: "Not taken.", failed: "That did not work.", ended: "" };
  const contradictions = m.report?.contradictions ?? [];
  $("job").textContent = [words[m.state], m.state === "running" ? "" : m.text].filter(Boolean).join(" ");
  $("sure-learn").hidden = !(m.state === "refused" && contradictions.length);
  $("result").replaceChildren(...contradictions.map((text) => make("p", text, { class: "warn" })));
  if (m.report && !contradictions.length) $("result").append(table(m.report));
}

function table(report) {
  const whole = make("table"), head = make("tr");
  whole.append(make("caption", "On your labels, held back while it learned", { class: "quiet" }));
  for (const text of ["", "before", "after"]) head.append(make("th", text, { scope: "col" }));
  whole.append(head);
  const rows = [["right answers", report.before.accuracy, report.after.accuracy], ["over all activities (macro-F1)", report.before.macro_f1, report.after.macro_f1]];
  if (typeof report.kept === "number") rows.push(["what it was sure of stays", null, report.kept]);
  for (const [name, before, after] of rows) {
    const row = make("tr");
    row.append(make("th", name, { scope: "row" }), ...[before, after].map((v) => make("td", typeof v === "number" ? percent(v) : "–")));
    whole.append(row);
  }
  return whole;
}

$("personalise").onclick = () => act("POST", "/jobs", { sure: false });
$("sure-learn").onclick = () => act("POST", "/jobs", { sure: true });
$("cancel").onclick = () => act("DELETE", "/jobs/last");
$("keep").onclick = () => act("POST", "/keep", {});
$("back").onclick = () => act("POST", "/version", { version: state.trial.back_to });

listen();
