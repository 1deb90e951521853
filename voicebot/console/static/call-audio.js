// Both lanes of a live call out of the loudspeaker; the microphone in, when talking.
import { notice } from "/static/common.js";

export async function openAudio(path, { talk, ended }) {
  const context = new AudioContext();
  await context.audioWorklet.addModule("/static/phone-worklet.js");
  const lanes = [0, 1].map(() => new AudioWorkletNode(context, "telephone", { outputChannelCount: [1] }));
  for (const lane of lanes) lane.connect(context.destination);
  let microphone;
  if (talk) {
    try {
      microphone = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true, noiseSuppression: true } });
      context.createMediaStreamSource(microphone).connect(lanes[0]);
    } catch {
      notice("The microphone is not allowed: the caller cannot hear you.");
    }
  }
  const socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}${path}`);
  socket.binaryType = "arraybuffer";
  socket.onmessage = ({ data }) => {
    const bytes = new Uint8Array(data);
    // A colleague in the browser would hear their own voice in the bot's lane.
    if (talk && bytes[0] === 1) return;
    const audio = bytes.slice(1).buffer;
    lanes[bytes[0] ? 1 : 0].port.postMessage(audio, [audio]);
  };
  lanes[0].port.onmessage = ({ data }) => {
    if (talk && socket.readyState === WebSocket.OPEN) socket.send(data.bytes);
  };
  socket.onclose = ({ code }) => {
    if (code === 4403) notice("That is not possible for you, or the call is over.");
    context.close();
    if (microphone) for (const track of microphone.getTracks()) track.stop();
    ended();
  };
  return { close: () => socket.close() };
}
