// The telephone in the page: AudioWorklet for the sound, one WebSocket for the call, events for the words.
import { line, listen, notice } from "/static/common.js";

const button = (id) => document.getElementById(id);
const keys = [...document.querySelectorAll("[data-key]")];
const lines = document.getElementById("transcript");
let call = null;
let ours = "";   // our name of the call
let theirs = ""; // the worker's name of it

function state(text, up) {
  document.getElementById("state").textContent = text;
  button("call").disabled = up;
  button("hangup").disabled = !up;
  for (const key of keys) key.disabled = !up;
}

async function start() {
  state("asking for the microphone", true);
  lines.replaceChildren();
  theirs = "";
  let microphone;
  try {
    // No noise suppression: the recogniser learned from telephone lines, and a suppressed word is misheard.
    microphone = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true, noiseSuppression: false } });
  } catch {
    notice("The microphone is not allowed; you can still listen and use the keypad.");
  }
  const context = new AudioContext();
  await context.audioWorklet.addModule("/static/phone-worklet.js");
  const telephone = new AudioWorkletNode(context, "telephone", { outputChannelCount: [1] });
  telephone.connect(context.destination);
  if (microphone) context.createMediaStreamSource(microphone).connect(telephone);
  const socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}/phone/socket`);
  socket.binaryType = "arraybuffer";
  call = { socket, context, microphone };
  socket.onopen = () => state("connected", true);
  socket.onmessage = ({ data }) => {
    if (data instanceof ArrayBuffer) return telephone.port.postMessage(data, [data]);
    const message = JSON.parse(data);
    if (message.clear) telephone.port.postMessage("clear");
    if (message.call_id) ours = message.call_id;
    if (message.ended) state(message.ended, false);
  };
  socket.onclose = () => end("call ended");
  telephone.port.onmessage = ({ data }) => {
    document.getElementById("level").value = data.peak;
    if (socket.readyState === WebSocket.OPEN) socket.send(data.bytes);
  };
}

function end(text) {
  if (!call) return;
  const { socket, context, microphone } = call;
  call = null;
  socket.close();
  context.close();
  if (microphone) for (const track of microphone.getTracks()) track.stop();
  state(text, false);
}

function press(key) {
  if (call && call.socket.readyState === WebSocket.OPEN) call.socket.send(JSON.stringify({ key }));
}

button("call").addEventListener("click", () => start().catch((error) => { notice(String(error)); end("failed"); }));
button("hangup").addEventListener("click", () => end("hung up"));
for (const key of keys) key.addEventListener("click", () => press(key.dataset.key));
addEventListener("keydown", (event) => {
  const typing = ["INPUT", "SELECT", "TEXTAREA"].includes(event.target.tagName);
  if (call && !typing && /^[0-9*#]$/.test(event.key)) press(event.key);
});

listen((event) => {
  if (event.event === "call" && ours && event.call.sip_call_id === ours) theirs = event.call.call_id;
  if (event.event === "calls" && ours) {
    const found = event.calls.find((c) => c.sip_call_id === ours);
    if (found) { theirs = found.call_id; lines.replaceChildren(...found.lines.map(line)); }
  }
  if (!theirs || event.call_id !== theirs) return;
  if (event.event === "partial") document.getElementById("partial").textContent = event.text;
  if (event.event === "said") {
    lines.append(line(event.line));
    if (event.line.who === "caller") document.getElementById("partial").textContent = "";
  }
});
