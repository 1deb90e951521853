// Waiting callers: drawn anew when the queue changes, at most five times a second; waits count in place.
import { closeMicrophone, openAudio, openMicrophone } from "/static/call-audio.js";
import { clock, element, get, line, listen, may, notice, post } from "/static/common.js";

const home = document.getElementById("waiting");
let shown = [];
let due = 0;

function act(path, label, kind = "") {
  return element("button", { class: kind, onclick: async () => { if (await post(path.url, path.body ? path.body() : {})) refresh(); } }, label);
}

function card(w) {
  const seconds = w.state === "waiting" ? w.waited_s : w.taken_for_s;
  const wait = element("span", { class: "wait" }, clock(seconds));
  const base = `/api/handoffs/${encodeURIComponent(w.handoff_id)}`;
  const buttons = element("p", { class: "row" });
  if (may("agent")) {
    if (w.state === "waiting") {
      buttons.append(
        act({ url: `${base}/accept`, body: () => ({ sip: document.getElementById("sip").value }) }, "Accept", "primary"),
        element("button", { onclick: () => takeHere(w, base) }, "Accept in the browser"),
        act({ url: `${base}/decline` }, "Decline"),
      );
    }
    buttons.append(act({ url: `${base}/take-back` }, "Take back to the bot"));
    if (may("supervisor")) buttons.append(act({ url: `/api/calls/${encodeURIComponent(w.call_id)}/hang-up` }, "Hang up", "danger"));
  }
  const node = element(
    "article",
    { class: w.urgency === "high" ? "card high" : "card", "data-handoff": w.handoff_id },
    element("h2", {}, w.caller_name || w.caller || "unknown"),
    element(
      "p", {},
      ...(w.position ? [element("span", { class: "badge" }, `#${w.position}`)] : []),
      element("span", { class: "badge" }, w.queue),
      element("span", { class: w.urgency === "high" ? "badge high" : "badge" }, `urgency ${w.urgency}`),
      element("span", { class: w.verified === "yes" ? "badge good" : "badge" }, w.verified === "yes" ? "identified" : "not identified"),
      element("span", { class: "badge" }, w.state === "waiting" ? "waits " : `${w.state} `, wait),
      ...(w.state === "waiting" ? [] : [element("span", { class: "badge" }, `waited ${clock(w.waited_s)}`)]),
      ...(w.taken_by ? [element("span", { class: "badge" }, `with ${w.taken_by}`)] : []),
    ),
    element("p", {}, w.summary),
    ...(w.note ? [element("p", {}, element("strong", {}, "Note: "), w.note)] : []),
    element("details", {}, element("summary", {}, "Last words, and what was done"),
      element("ol", { class: "transcript" }, ...w.turns.map((t, n) => line({ turn: n, ...t }))),
      element("ul", { class: "rows" }, ...w.actions.map((a) => element("li", {}, `${clock(a.at_ms / 1000)} ${a.tool.replaceAll("_", " ")}: ${a.outcome}`)))),
    buttons,
  );
  if (may("supervisor")) {
    const id = `note-${w.handoff_id}`;
    const text = element("input", { id, maxlength: "500" });
    node.append(element("p", { class: "row" }, element("label", { for: id }, "Whisper note"), text,
      element("button", { onclick: async () => { if (await post(`${base}/note`, { text: text.value })) refresh(); } }, "Send")));
  }
  return { node, wait, seconds, at: Date.now() };
}

// A card in which nothing but the time has changed stays: what is unfolded, focused or half typed in it too.
function kept(old, w) {
  const { waited_s, taken_for_s, ...rest } = w;
  const content = JSON.stringify(rest);
  if (old && old.content === content) {
    old.seconds = w.state === "waiting" ? waited_s : taken_for_s;
    old.at = Date.now();
    return old;
  }
  const made = { ...card(w), id: w.handoff_id, content };
  if (old) made.node.querySelector("details").open = old.node.querySelector("details").open;
  return made;
}

let conversation = null;
let taking = false;

async function takeHere(w, base) {
  if (conversation || taking) return notice("You are talking already.");
  taking = true;
  try {
    await talkHere(w, base);
  } finally {
    taking = false;
  }
}

async function talkHere(w, base) {
  const microphone = await openMicrophone();
  if (!microphone) return;
  if (!(await post(`${base}/accept`, { sip: "browser" }))) {
    closeMicrophone(microphone);
    return;
  }
  const bar = document.getElementById("talking");
  const over = () => {
    conversation = null;
    bar.hidden = true;
    refresh();
  };
  conversation = await openAudio(`/talk/${encodeURIComponent(w.handoff_id)}`, { microphone, ended: over });
  document.getElementById("talking-with").textContent = w.caller_name || w.caller || "unknown";
  bar.hidden = false;
  document.getElementById("end-talk").focus();
}
document.getElementById("end-talk").addEventListener("click", () => conversation && conversation.close());

const hour = (seconds) => new Date(seconds * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });

function standing(c, placesCalls) {
  switch (c.state) {
    case "calling": return "is being called";
    case "answered": return "answered";
    case "unclear": return "may have been called: please check";
    case "given_up": return "could not be reached";
    case "done": return `done by ${c.done_by}`;
    default: return placesCalls ? `will be called after ${hour(c.due_s)}, when somebody is free` : "please call";
  }
}

function callback(c, placesCalls) {
  const base = `/api/callbacks/${c.callback_id}`;
  const open = c.done_s === null;
  const again = open && placesCalls && !["calling", "answered"].includes(c.state);
  const tries = c.history.map((t) => `${hour(t.at_s)} ${t.outcome}${t.code ? ` (${t.code})` : ""}`);
  return element(
    "li", { class: "row", "data-callback": c.callback_id },
    element("strong", {}, c.number),
    element("span", { class: "badge" }, c.queue),
    element("span", { class: c.state === "unclear" || c.state === "given_up" ? "badge high" : "badge" }, standing(c, placesCalls)),
    element("span", { class: "muted" }, [`asked ${hour(c.asked_s)}`, ...tries].join(" · ")),
    ...(may("agent") && again ? [act({ url: `${base}/again` }, c.history.length ? "Call again" : "Call now")] : []),
    ...(may("agent") && open ? [act({ url: `${base}/done` }, "Done")] : []),
  );
}

async function refresh() {
  due = 0;
  const { waiting, callbacks, agents, places_calls } = await get("/api/waiting");
  const typing = document.activeElement && home.contains(document.activeElement) && document.activeElement.tagName === "INPUT";
  if (typing && document.activeElement.value) { due = setTimeout(refresh, 1000); return; }
  waiting.sort((a, b) => (a.state !== "waiting") - (b.state !== "waiting"));
  const before = new Map(shown.map((s) => [s.id, s]));
  shown = waiting.map((w) => kept(before.get(w.handoff_id), w));
  const same = shown.length === home.children.length && shown.every((s, n) => home.children[n] === s.node);
  if (!same) home.replaceChildren(...shown.map((s) => s.node));
  document.getElementById("none").hidden = waiting.length > 0;
  document.getElementById("callbacks").replaceChildren(...callbacks.map((c) => callback(c, places_calls)));
  document.getElementById("no-callbacks").hidden = callbacks.length > 0;
  showAgents(agents);
}

function showAgents(agents) {
  document.getElementById("agents").replaceChildren(
    ...Object.entries(agents).map(([name, status]) => element("li", { class: "badge" }, `${name}: ${status}`)));
}

setInterval(() => {
  for (const s of shown) s.wait.textContent = clock(s.seconds + (Date.now() - s.at) / 1000);
}, 1000);
listen((event) => {
  if (event.event === "agents") showAgents(event.agents);
  if ((event.event === "queue" || event.event === "calls") && !due) due = setTimeout(refresh, 200);
});
refresh().catch(() => notice("The console cannot be reached."));
