"""A bot that speaks the offline protocol and nothing else: greets, then answers every pause of 300 ms.

python toy_offline_bot.py [--refuse] [--dies-after TICKS] [--protocol N] [--hangs-up-after TURNS]
"""

import argparse
import base64
import json
import struct
import sys

HEAD, PACKET = struct.Struct("!Ic"), struct.Struct("!IH")
TONE = bytes([0x20 if n % 8 < 4 else 0xA0 for n in range(160)])
SILENCE = b"\xff" * 160
options = argparse.ArgumentParser()
options.add_argument("--refuse", action="store_true")
options.add_argument("--dies-after", type=int, default=0)
options.add_argument("--protocol", type=int, default=1)
options.add_argument("--hangs-up-after", type=int, default=0)
chosen = options.parse_args()
read, write = sys.stdin.buffer, sys.stdout.buffer


def send(kind, content):
    write.write(HEAD.pack(len(content) + 1, kind) + content)
    write.flush()


def send_json(kind, content):
    send(kind, json.dumps(content).encode())


def end(heard, turns):
    transcript = [{"who": "caller", "text": f"turn {n}", "intent": "x"} for n in range(turns)]
    record = {"transcript": transcript, "reason": "toy is done"}
    send_json(b"E", {"record": record, "heard": base64.b64encode(heard).decode()})


send_json(b"R", {"protocol": chosen.protocol, "bot": "toy"})
ticks = 0
while head := read.read(HEAD.size):
    length, kind = HEAD.unpack(head)
    content = read.read(length - 1)
    if kind == b"S":
        left, silent, spoke, turns, heard = 30, 0, False, 0, bytearray()
        send_json(b"A", {"status": 486 if chosen.refuse else 200})
    elif kind == b"H":
        end(heard, turns)
    elif kind == b"T":
        ticks += 1
        if chosen.dies_after and ticks > chosen.dies_after:
            sys.exit(3)
        at, loud = 0, False
        while at < len(content):
            _, size = PACKET.unpack_from(content, at)
            packet = content[at + PACKET.size : at + PACKET.size + size]
            at += PACKET.size + size
            if packet[1] & 0x7F == 0:
                heard += packet[12:]
                loud |= packet[12:] != SILENCE
        silent = 0 if loud else silent + 1
        spoke |= loud
        if spoke and silent == 15:
            left, spoke, turns = 20, False, turns + 1
        left -= 1
        if chosen.hangs_up_after and turns >= chosen.hangs_up_after and left < 0:
            end(heard, turns)
        else:
            send(b"F", TONE if left >= 0 else SILENCE)
