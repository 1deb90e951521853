// Live calls: one card each, changed in place as events arrive.
import { openAudio } from "/static/call-audio.js";
import { clock, element, line, listen, may, post } from "/static/common.js";

const cards = new Map();
const home = document.getElementById("calls");

function card(call) {
  let found = cards.get(call.call_id);
  if (!found) {
    const title = element("h2");
    const facts = element("p", { class: "muted" });
    const badges = element("p");
    const lines = element("ol", { class: "transcript", tabindex: "0", "aria-label": "Transcript" });
    const partial = element("p", { class: "partial" });
    const buttons = element("p", { class: "row" });
    const node = element("article", { class: "card", "data-call": call.call_id }, title, facts, badges, lines, partial, buttons);
    if (may("supervisor")) {
      buttons.append(listenButton(call.call_id));
      buttons.append(element("button", { class: "danger", onclick: () => post(`/api/calls/${call.call_id}/hang-up`) }, "Hang up"));
    }
    found = { node, title, facts, badges, lines, partial, buttons, began: Date.now() };
    cards.set(call.call_id, found);
    home.append(node);
  }
  return found;
}

function listenButton(id) {
  let audio = null;
  const stop = () => {
    audio = null;
    button.textContent = "Listen";
    button.setAttribute("aria-pressed", "false");
  };
  const button = element("button", { "aria-pressed": "false", onclick: async () => {
    if (audio) return audio.close();
    button.textContent = "Stop listening";
    button.setAttribute("aria-pressed", "true");
    audio = await openAudio(`/listen/${encodeURIComponent(id)}`, { ended: stop });
  } }, "Listen");
  return button;
}

function badges(found, call) {
  found.badges.replaceChildren();
  const quality = call.quality || {};
  if (quality.received_packets) {
    const loss = (100 * (quality.lost_packets || 0)) / Math.max(1, quality.received_packets + (quality.lost_packets || 0));
    found.badges.append(
      element("span", { class: loss > 3 ? "badge high" : "badge good" }, `loss ${loss.toFixed(1)} %`),
      element("span", { class: "badge" }, `jitter ${(quality.jitter_ms || 0).toFixed(0)} ms`),
    );
  }
  if (call.handoff && call.handoff.stage) found.badges.append(element("span", { class: "badge" }, `handoff: ${call.handoff.stage}`));
  if (call.ended) found.badges.append(element("span", { class: "badge" }, `ended: ${call.reason}`));
}

function show(call) {
  const found = card(call);
  found.call = call;
  found.began = Date.now() - call.seconds * 1000;
  found.title.textContent = call.caller_name || call.caller || "unknown";
  found.lines.replaceChildren(...call.lines.map(line));
  found.partial.textContent = call.partial;
  found.node.classList.toggle("ended", call.ended);
  badges(found, call);
  tick();
}

function tick() {
  for (const { call, facts, began } of cards.values()) {
    const seconds = call.ended ? call.seconds : (Date.now() - began) / 1000;
    facts.textContent = `to ${call.called || "?"} · ${clock(seconds)}`;
  }
  document.getElementById("none").hidden = cards.size > 0;
}
setInterval(tick, 1000);

listen((event) => {
  if (event.event === "calls") {
    const here = new Set(event.calls.map((call) => call.call_id));
    for (const [id, found] of cards) if (!here.has(id)) { found.node.remove(); cards.delete(id); }
    event.calls.forEach(show);
    tick();
    return;
  }
  if (event.event === "call") return show(event.call);
  const found = cards.get(event.call_id);
  if (!found) return;
  if (event.event === "partial") found.partial.textContent = event.text;
  if (event.event === "said") {
    const known = found.lines.querySelector(`[data-turn="${Number(event.line.turn)}"]`);
    if (known) known.replaceWith(line(event.line));
    else found.lines.append(line(event.line));
    if (event.line.who === "caller") found.partial.textContent = "";
    found.lines.scrollTop = found.lines.scrollHeight;
  }
  if (event.event === "quality") { found.call.quality = event.quality; badges(found, found.call); }
  if (event.event === "handoff") { found.call.handoff = event; badges(found, found.call); }
  if (event.event === "ended") {
    found.call.ended = true;
    found.call.reason = event.reason;
    found.call.seconds = (Date.now() - found.began) / 1000;
    found.partial.textContent = "";
    found.node.classList.add("ended");
    found.buttons.replaceChildren();
    badges(found, found.call);
    setTimeout(() => { found.node.remove(); cards.delete(event.call_id); tick(); }, 60000);
  }
});
