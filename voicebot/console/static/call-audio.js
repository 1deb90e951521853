// Both lanes of a live call out of the loudspeaker; the microphone in, when talking.
import { notice } from "/static/common.js";

const GONE_MS = 4000; // after five seconds without a sound the bot takes the caller back
const AGAIN_MS = 500;

// Asked for before a caller is accepted: a browser may ask its user, who takes time, or says no.
export async function openMicrophone() {
  try {
    return await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true, noiseSuppression: true } });
  } catch {
    notice("The microphone is not allowed: the caller could not hear you.");
    return null;
  }
}

export function closeMicrophone(microphone) {
  if (microphone) for (const track of microphone.getTracks()) track.stop();
}

export async function openAudio(path, { microphone = null, ended }) {
  const context = new AudioContext();
  await context.audioWorklet.addModule("/static/phone-worklet.js");
  const options = { outputChannelCount: [1], processorOptions: { live: true } };
  const lanes = [0, 1].map(() => new AudioWorkletNode(context, "telephone", options));
  for (const lane of lanes) lane.connect(context.destination);
  if (microphone) context.createMediaStreamSource(microphone).connect(lanes[0]);
  let socket;
  let over = false;
  let heardAt = performance.now();
  function finish(code) {
    if (over) return;
    over = true;
    if (code === 4403) notice("That is not possible for you, or the call is over.");
    context.close();
    closeMicrophone(microphone);
    ended();
  }
  function connect() {
    socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}${path}`);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => notice("");
    socket.onmessage = ({ data }) => {
      heardAt = performance.now();
      const bytes = new Uint8Array(data);
      // A colleague in the browser would hear their own voice in the bot's lane.
      if (microphone && bytes[0] === 1) return;
      const audio = bytes.slice(1).buffer;
      lanes[bytes[0] ? 1 : 0].port.postMessage(audio, [audio]);
    };
    socket.onclose = ({ code }) => {
      const lost = code === 1006 && performance.now() - heardAt < GONE_MS;
      if (over || !lost) return finish(code);
      notice("The connection is lost; trying again.");
      setTimeout(connect, AGAIN_MS);
    };
  }
  lanes[0].port.onmessage = ({ data }) => {
    if (microphone && socket.readyState === WebSocket.OPEN) socket.send(data.bytes);
  };
  connect();
  return {
    close: () => {
      socket.close(1000);
      finish(1000);
    },
  };
}
