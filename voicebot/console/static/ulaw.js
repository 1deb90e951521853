// G.711 mu-law (ITU-T G.711, table 2a): floats between -1 and 1 on our side, bytes on the wire.
const CLIP = 32635;
const BIAS = 132;

export function encode(sample) {
  let value = Math.max(-CLIP, Math.min(CLIP, Math.round(sample * 32768)));
  const sign = value < 0 ? 0x80 : 0;
  value = Math.abs(value) + BIAS;
  let exponent = 7;
  for (let mask = 0x4000; exponent > 0 && !(value & mask); mask >>= 1) exponent -= 1;
  return ~(sign | (exponent << 4) | ((value >> (exponent + 3)) & 15)) & 0xff;
}

export const decodeTable = Float32Array.from({ length: 256 }, (_, code) => {
  const bits = ~code & 0xff;
  const size = (((bits & 15) << 3) + BIAS << ((bits >> 4) & 7)) - BIAS;
  return (bits & 0x80 ? -size : size) / 32768;
});
