// Runs on the audio thread: the microphone down to 8 kHz and out in 20 ms pieces, the bot's audio up and in.
import { decodeTable, encode } from "/static/ulaw.js";

const RATE = 8000;
const FRAME = 160;
const MAX_QUEUED = 60 * RATE;
const MAX_BEHIND = RATE / 2;

// A windowed sinc below 3.6 kHz, so that nothing of the microphone folds into the telephone band.
function lowPass(rate, taps = 63) {
  const cut = 3600 / rate;
  const kernel = Float32Array.from({ length: taps }, (_, n) => {
    const x = n - (taps - 1) / 2;
    const sinc = x === 0 ? 2 * cut : Math.sin(2 * Math.PI * cut * x) / (Math.PI * x);
    return sinc * (0.54 - 0.46 * Math.cos((2 * Math.PI * n) / (taps - 1)));
  });
  const sum = kernel.reduce((a, b) => a + b, 0);
  return kernel.map((tap) => tap / sum);
}

class Telephone extends AudioWorkletProcessor {
  constructor({ processorOptions } = {}) {
    super();
    // A live voice: what a stalled network sends all at once would delay everything after it.
    this.live = Boolean(processorOptions && processorOptions.live);
    this.kernel = lowPass(sampleRate);
    this.past = new Float32Array(this.kernel.length);
    this.at = 0;
    this.phase = 0;
    this.frame = new Uint8Array(FRAME);
    this.filled = 0;
    this.peak = 0;
    this.queue = [];
    this.queued = 0;
    this.head = 0;
    this.play = 0;
    this.last = 0;
    this.next = 0;
    this.port.onmessage = ({ data }) => {
      if (data === "clear") {
        this.queue = [];
        this.queued = this.head = 0;
      } else if (this.queued < MAX_QUEUED) {
        this.queue.push(new Uint8Array(data));
        this.queued += data.byteLength;
        while (this.live && this.queued > MAX_BEHIND && this.queue.length > 1) {
          this.queued -= this.queue.shift().length - this.head;
          this.head = 0;
        }
      }
    };
  }

  takeIn(sample) {
    this.past[this.at] = sample;
    this.at = (this.at + 1) % this.past.length;
    this.phase += RATE;
    if (this.phase < sampleRate) return;
    this.phase -= sampleRate;
    let sum = 0;
    for (let n = 0; n < this.kernel.length; n += 1) sum += this.kernel[n] * this.past[(this.at + n) % this.past.length];
    this.peak = Math.max(this.peak, Math.abs(sum));
    this.frame[this.filled] = encode(sum);
    this.filled += 1;
    if (this.filled < FRAME) return;
    const bytes = this.frame.slice().buffer;
    this.port.postMessage({ bytes, peak: this.peak }, [bytes]);
    this.filled = 0;
    this.peak = 0;
  }

  pull() {
    if (!this.queue.length) return 0;
    const sample = decodeTable[this.queue[0][this.head]];
    this.head += 1;
    this.queued -= 1;
    if (this.head === this.queue[0].length) {
      this.queue.shift();
      this.head = 0;
    }
    return sample;
  }

  giveOut() {
    this.play += RATE;
    if (this.play >= sampleRate) {
      this.play -= sampleRate;
      this.last = this.next;
      this.next = this.pull();
    }
    const part = this.play / sampleRate;
    return this.last + (this.next - this.last) * part;
  }

  process(inputs, outputs) {
    const heard = inputs[0][0];
    const out = outputs[0];
    for (let n = 0; n < out[0].length; n += 1) {
      this.takeIn(heard ? heard[n] : 0);
      const sample = this.giveOut();
      for (const channel of out) channel[n] = sample;
    }
    return true;
  }
}

registerProcessor("telephone", Telephone);
