// What all pages share. Texts of callers become text nodes only: nothing here writes HTML.
const csrf = document.querySelector('meta[name="csrf"]').content;
const roles = ["viewer", "agent", "supervisor", "admin"];

export const may = (role) => roles.indexOf(document.body.dataset.role) >= roles.indexOf(role);

export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") node.className = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value);
  }
  node.append(...children.map((child) => (child instanceof Node ? child : String(child))));
  return node;
}

export function notice(text) {
  document.getElementById("notice").textContent = text;
}

export async function post(path, body = {}) {
  try {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-CSRF-Token": csrf },
      body: JSON.stringify(body),
    });
    if (answer.redirected) location.href = answer.url;
    const said = await answer.json().catch(() => ({}));
    notice(answer.ok ? "" : said.error || `refused (${answer.status})`);
    return answer.ok;
  } catch {
    notice("The console cannot be reached.");
    return false;
  }
}

export async function get(path) {
  const answer = await fetch(path);
  if (answer.status === 401) location.href = "/login";
  return answer.json();
}

export const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

export function line(said) {
  return element(
    "li",
    { class: said.who, "data-turn": said.turn },
    element("span", { class: "muted" }, clock(said.at_ms / 1000)), " ",
    element("span", { class: "speaker" }, said.who), " ",
    element("span", { class: "text" }, said.text),
  );
}

const listeners = [];
export const listen = (take) => listeners.push(take);

const events = new EventSource("/api/events");
events.onmessage = (message) => {
  const event = JSON.parse(message.data);
  for (const take of listeners) take(event);
};
events.onopen = () => notice("");
events.onerror = () => notice("The connection is lost; trying again.");
addEventListener("pagehide", () => events.close());

const status = document.getElementById("status");
let statusKnown = false;
async function count() {
  const badge = document.getElementById("waiting-count");
  const { waiting, agents } = await get("/api/waiting");
  if (status && !statusKnown) status.value = agents[document.body.dataset.name] || "offline";
  statusKnown = true;
  const number = waiting.filter((w) => w.state === "waiting").length;
  badge.textContent = number;
  badge.hidden = number === 0;
}
let counting = 0;
listen((event) => {
  if (event.event !== "queue") return;
  clearTimeout(counting);
  counting = setTimeout(count, 200);
});
count();

document.getElementById("logout").addEventListener("click", () => post("/logout"));
if (status) status.addEventListener("change", () => post("/api/agent/status", { status: status.value }));
