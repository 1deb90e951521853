// The recording: two lanes, turns as marks, a cursor; click or arrow keys move it.
import { get, notice } from "/static/common.js";

const player = document.getElementById("player");
const canvas = document.getElementById("wave");
const audio = document.getElementById("audio");
const turns = [...document.querySelectorAll("#turns .at")];
let wave = null;

function draw() {
  const pen = canvas.getContext("2d");
  const style = getComputedStyle(document.body);
  const colour = (name) => style.getPropertyValue(name).trim();
  const { width, height } = canvas;
  pen.clearRect(0, 0, width, height);
  if (!wave) return;
  const lanes = wave.peaks.length;
  wave.peaks.forEach((peaks, lane) => {
    const middle = (height / lanes) * (lane + 0.5);
    const half = height / lanes / 2 - 4;
    pen.fillStyle = colour(lane ? "--bot" : "--caller");
    peaks.forEach((peak, n) => {
      const tall = Math.max(1, Math.sqrt(peak) * half);
      pen.fillRect((n * width) / peaks.length, middle - tall, Math.max(1, width / peaks.length - 0.5), 2 * tall);
    });
  });
  pen.fillStyle = colour("--muted");
  for (const turn of turns) {
    const keyed = turn.dataset.by === "dtmf";
    pen.fillRect((turn.dataset.ms / 1000 / wave.seconds) * width, height / 2 - 6, keyed ? 12 : 2, 12);
  }
  pen.fillStyle = colour("--high");
  pen.fillRect((audio.currentTime / wave.seconds) * width - 1, 0, 2, height);
}

function moveTo(seconds) {
  audio.currentTime = seconds;
  audio.play().catch(() => {});
}

canvas.addEventListener("click", (event) => {
  if (wave) moveTo((event.offsetX / canvas.clientWidth) * wave.seconds);
});
for (const turn of turns) turn.addEventListener("click", () => moveTo(turn.dataset.ms / 1000));
audio.addEventListener("timeupdate", draw);
audio.addEventListener("seeked", draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
get(`/api/history/${encodeURIComponent(player.dataset.call)}/waveform`)
  .then((found) => { if (found.peaks) { wave = found; draw(); } else notice(found.error || ""); });
