"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const SVG = "http://www.w3.org/2000/svg";
  const colours = { caller: "#1f6fb2", bot: "#2f8f5b", lost: "#c62828", quiet: "#9aa6b2", concealed: "#12908e", late: "#e08a00", onset: "#7a5bb5", stopped: "#1b2530", soft: "#5d6b7a", line: "#d7dee6" };
  const stageColours = ["#7a5bb5", "#9db8d2", "#e0a03c", "#5fa777", "#c97b84", "#6b8fb3", "#b8a05a", "#8d99a6"];

  // Everything shown goes through text nodes and attributes: peers' words are never markup.
  function make(name, attributes, ...children) {
    const node = document.createElement(name);
    fill(node, attributes, children);
    return node;
  }
  function draw(name, attributes, ...children) {
    const node = document.createElementNS(SVG, name);
    fill(node, attributes, children);
    return node;
  }
  function fill(node, attributes, children) {
    for (const [key, value] of Object.entries(attributes || {})) {
      if (key === "onclick") {
        node.addEventListener("click", value);
        node.setAttribute("tabindex", "0");
        node.setAttribute("role", "button");
        node.addEventListener("keydown", (event) => {
          if (event.key === "Enter" || event.key === " ") { event.preventDefault(); value(event); }
        });
      } else if (value !== null && value !== undefined) node.setAttribute(key, value);
    }
    for (const child of children) node.append(child);
  }
  const show = (value, digits = 1, unit = "") =>
    value === null || value === undefined ? "–" : Number(value).toFixed(digits) + unit;
  const percent = (value) => (value === null || value === undefined ? "–" : (100 * value).toFixed(1) + " %");
  const mean = (values) => (values.length ? values.reduce((a, b) => a + b, 0) / values.length : null);
  function quantile(values, share) {
    if (!values.length) return null;
    const sorted = [...values].sort((a, b) => a - b);
    const at = (sorted.length - 1) * share, low = Math.floor(at);
    return sorted[low] + (at - low) * ((sorted[low + 1] ?? sorted[low]) - sorted[low]);
  }

  // --- summary -----------------------------------------------------------------------------
  document.getElementById("about").textContent = data.about;
  const banner = document.getElementById("banner");
  if (data.verdict.length > 0) { banner.hidden = false; banner.textContent = data.verdict.join(" · "); }
  function figureTable(title, lines, meanings = {}) {
    const figures = make("table", {}, make("tr", {}, make("th", {}, title), make("th", { class: "n" }, data.baseline ? "baseline" : "value"), ...(data.baseline ? [make("th", { class: "n" }, "this run")] : []), ...(Object.keys(meanings).length ? [make("th", {}, "")] : [])));
    for (const [name, before, after] of lines) {
      const text = (value) => (value === null ? "–" : String(value));
      figures.append(make("tr", {}, make("td", {}, name), ...(data.baseline ? [make("td", { class: "n" }, text(before))] : []), make("td", { class: "n" }, text(after)), ...(Object.keys(meanings).length ? [make("td", { class: "soft" }, meanings[name] || "")] : [])));
    }
    return figures;
  }
  document.getElementById("summary").append(figureTable("figure", data.figures, data.meanings));
  if (data.stages.length) document.getElementById("summary").append(figureTable("stage (the bot's own account), median ms", data.stages));

  // --- heat maps ---------------------------------------------------------------------------
  const metrics = [
    { name: "word error", of: (rows) => mean(rows.map((r) => r.word_error).filter((v) => v !== null)), text: percent, low: 0, high: 0.3, good: "low" },
    { name: "task success", of: (rows) => mean(rows.map((r) => r.task_success).filter((v) => v !== null).map(Number)), text: percent, low: 0.5, high: 1, good: "high" },
    { name: "response onset p95", of: (rows) => quantile(rows.flatMap((r) => r.onset_ms), 0.95), text: (v) => show(v, 0, " ms"), low: 200, high: 1200, good: "low" },
    { name: "heard quality (MOS)", of: (rows) => mean(rows.map((r) => r.mos).filter((v) => v !== null)), text: (v) => show(v, 2), low: 2.5, high: 4.4, good: "high" },
  ];
  function shade(metric, value) {
    if (value === null) return "#eef1f4";
    let share = Math.min(1, Math.max(0, (value - metric.low) / (metric.high - metric.low)));
    if (metric.good === "high") share = 1 - share;
    // From green over sand to red, light enough for dark text.
    const stops = [[198, 232, 210], [250, 240, 205], [244, 190, 180]];
    const at = share * 2, first = Math.min(1, Math.floor(at)), rest = at - first;
    const mix = stops[first].map((channel, i) => Math.round(channel + rest * (stops[first + 1][i] - channel)));
    return `rgb(${mix.join(",")})`;
  }
  const rowKey = (row) => `${row.cell.loss_percent}|${row.cell.mean_burst_packets}`;
  const rowKeys = [...new Map(data.rows.map((r) => [rowKey(r), r.cell])).entries()]
    .sort((a, b) => a[1].loss_percent - b[1].loss_percent || a[1].mean_burst_packets - b[1].mean_burst_packets);
  const jitters = [...new Set(data.rows.map((r) => r.cell.jitter_ms))].sort((a, b) => a - b);
  let chosen = null;
  for (const metric of metrics) {
    const width = 150 + jitters.length * 84, height = 46 + rowKeys.length * 30;
    const svg = draw("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "group", "aria-label": metric.name });
    jitters.forEach((jitter, x) => svg.append(draw("text", { x: 150 + x * 84 + 40, y: 36, "text-anchor": "middle", class: "axis" }, `jitter ${jitter} ms`)));
    svg.append(draw("text", { x: 0, y: 14, "font-weight": "600" }, metric.name));
    svg.append(draw("text", { x: 0, y: 36, class: "axis" }, `${metric.text(metric.good === "low" ? metric.low : metric.high)} to ${metric.text(metric.good === "low" ? metric.high : metric.low)}`, draw("title", {}, "green to red")));
    rowKeys.forEach(([key, cell], y) => {
      const label = cell.loss_percent ? `loss ${cell.loss_percent} %, burst ${cell.mean_burst_packets}` : "no loss";
      svg.append(draw("text", { x: 142, y: 46 + y * 30 + 19, "text-anchor": "end", class: "axis" }, label));
      jitters.forEach((jitter, x) => {
        const rows = data.rows.filter((r) => rowKey(r) === key && r.cell.jitter_ms === jitter);
        if (!rows.length) return;
        const value = metric.of(rows);
        svg.append(draw("g", { class: "cell", "data-cell": `${key}|${jitter}`, "aria-label": `${metric.name}, ${label}, jitter ${jitter} ms: ${metric.text(value)}`, onclick: () => choose(key, jitter, label) },
          draw("rect", { x: 150 + x * 84, y: 46 + y * 30, width: 80, height: 26, rx: 4, fill: shade(metric, value) }),
          draw("text", { x: 150 + x * 84 + 40, y: 46 + y * 30 + 18, "text-anchor": "middle" }, metric.text(value))));
      });
    });
    document.getElementById("maps").append(make("div", { class: "map" }, svg));
  }

  // --- changes -----------------------------------------------------------------------------
  if (data.changes.length) {
    document.getElementById("changes-section").hidden = false;
    for (const change of data.changes) {
      const block = make("div", {}, make("h3", {}, `${change.name}: ${change.label}`));
      for (const text of change.differences) block.append(make("div", { class: "bad" }, text));
      const diff = make("div", { class: "diff" });
      for (const line of change.transcript_diff) {
        diff.append(make(line.startsWith("+") ? "ins" : line.startsWith("-") ? "del" : "span", {}, line), "\n");
      }
      block.append(diff);
      document.getElementById("changes").append(block);
    }
  }

  // --- list of calls -----------------------------------------------------------------------
  function choose(key, jitter, label) {
    chosen = { key, jitter, label };
    list();
    mark();
    document.getElementById("h-calls").scrollIntoView({ behavior: "auto" });
  }
  function mark() {
    const wanted = chosen && `${chosen.key}|${chosen.jitter}`;
    document.querySelectorAll("g.cell").forEach((cell) => cell.classList.toggle("chosen", cell.dataset.cell === wanted));
  }
  function troubles(row) {
    const out = [], count = (test, one, many) => { const n = row.turns.filter(test).length; if (n) out.push(n > 1 ? `${n} ${many}` : one); };
    if (row.failures.length) out.push("failed");
    if (row.task_success === false && !row.failures.length) out.push("other course");
    count((turn) => turn.cut_off, "cut-off", "cut-offs");
    count((turn) => turn.yielded === false, "missed barge-in", "missed barge-ins");
    if (row.unanswered) out.push(`${row.unanswered} unanswered`);
    const cancelled = row.interruptions.filter((item) => item.pause_ms === null).length, paused = row.interruptions.length - cancelled;
    if (cancelled) out.push(`${cancelled} false cancel`);
    if (paused) out.push(`${paused} false pause`);
    return out;
  }
  const columns = [
    ["call", (row) => row.name], ["network", (row) => row.cell.loss_percent * 1e6 + row.cell.mean_burst_packets * 1e3 + row.cell.jitter_ms], ["seed", (row) => row.seed],
    ["verdict", (row) => -troubles(row).length], ["word error", (row) => -(row.word_error ?? -1)], ["onset p50", (row) => -(quantile(row.onset_ms, 0.5) ?? -1)],
    ["onset p95", (row) => -(quantile(row.onset_ms, 0.95) ?? -1)], ["MOS", (row) => row.mos ?? 9], ["gaps", (row) => -row.wire_gaps],
  ];
  let sorted = null, opened = null;
  function list() {
    const filter = document.getElementById("filter");
    filter.textContent = chosen ? `${chosen.label}, jitter ${chosen.jitter} ms ` : "all calls ";
    if (chosen) filter.append(make("button", { type: "button", onclick: () => { chosen = null; list(); mark(); } }, "show all"));
    const rows = data.rows.map((row, index) => [row, index]).filter(([row]) => !chosen || (rowKey(row) === chosen.key && row.cell.jitter_ms === chosen.jitter));
    if (sorted) rows.sort(([a], [b]) => { const x = sorted[1](a), y = sorted[1](b); return x < y ? -1 : x > y ? 1 : 0; });
    const table = make("table", {}, make("tr", {}, ...columns.map((column, i) => make("th", { class: (i > 3 || i === 2 ? "n " : "") + "sort", "aria-sort": column === sorted ? "ascending" : null, title: "worst first; again: as they were placed", onclick: () => { sorted = sorted === column ? null : column; list(); } }, column[0] + (column === sorted ? " ▾" : "")))));
    for (const [row, index] of rows) {
      const wrong = troubles(row);
      const verdict = wrong.length ? make("span", { class: "bad" }, wrong.join(", ")) : make("span", { class: "good" }, row.void ? "passed (void for timing)" : "passed");
      table.append(make("tr", { class: "pick" + (index === opened ? " on" : ""), "data-row": index, onclick: () => open(index) },
        make("td", {}, row.name), make("td", {}, `loss ${row.cell.loss_percent} %, burst ${row.cell.mean_burst_packets}, jitter ${row.cell.jitter_ms} ms`),
        make("td", { class: "n" }, String(row.seed)), make("td", {}, verdict), make("td", { class: "n" }, percent(row.word_error)),
        make("td", { class: "n" }, show(quantile(row.onset_ms, 0.5), 0, " ms")), make("td", { class: "n" }, show(quantile(row.onset_ms, 0.95), 0, " ms")),
        make("td", { class: "n" }, show(row.mos, 2)), make("td", { class: "n" }, String(row.wire_gaps))));
    }
    const holder = document.getElementById("calls");
    holder.replaceChildren(make("div", { class: "scroll" }, table));
  }

  // --- one call ----------------------------------------------------------------------------
  function open(index) {
    const row = data.rows[index];
    opened = index;
    document.getElementById("call-section").hidden = false;
    document.querySelectorAll("tr.pick").forEach((line) => line.classList.toggle("on", line.dataset.row === String(index)));
    document.getElementById("h-call").textContent = `Call ${row.name}`;
    const holder = document.getElementById("call");
    holder.replaceChildren(
      make("p", {}, `Loss ${row.cell.loss_percent} %, burst ${row.cell.mean_burst_packets} packets, jitter ${row.cell.jitter_ms} ms; profile ${row.profile}, seed ${row.seed}. Greeting ${show(row.greeting_ms, 0, " ms")}, ended by ${row.ended_by || "nobody"}.`),
      make("p", {}, `What the caller heard: loss ${show(row.heard_loss_percent, 2, " %")}, jitter ${show(row.heard_jitter_ms, 1, " ms")}, MOS ${show(row.mos, 2)}. What the bot heard: ${row.bot_dropped === null ? "its recording was not read" : `it dropped ${percent(row.bot_dropped)} of the speech that arrived; ${row.concealed_out_ms.length} lost packets of speech were concealed, ${row.holes_out_ms.length} became silence`}. Intents right ${percent(row.intents_right)}, slots right ${percent(row.slots_right)}.`));
    for (const failure of row.failures) holder.append(make("p", { class: "bad" }, failure));
    for (const item of row.interruptions) holder.append(make("p", { class: "bad" }, item.pause_ms === null ? `Nobody meant to interrupt, but the prompt was cut at ${show(item.at_ms / 1000, 1, " s")}.` : `Nobody meant to interrupt, but the prompt was paused at ${show(item.at_ms / 1000, 1, " s")} for ${show(item.pause_ms, 0, " ms")}; ${item.resumed_right ? "it went on where it had stopped" : "it did not go on where it had stopped"}.`));
    const drawing = timeline(row);
    holder.append(drawing.svg);
    const legend = [["caller", "caller"], ["bot", "bot"], ["onset", "response onset"], ["concealed", "lost, concealed"], ["lost", "lost (to the bot: became silence)"], ["quiet", "lost between words, or not known"], ["late", "too late (caller: > 60 ms)"], ["stopped", "false pause or cancel"]];
    holder.append(make("p", { class: "legend" }, ...legend.map(([name, text]) => make("span", {}, make("i", { style: `background:${colours[name]}` }), text))));
    if (row.sound_wav_base64) {
      const player = make("audio", { controls: "", preload: "metadata", src: `data:audio/wav;base64,${row.sound_wav_base64}` });
      player.addEventListener("timeupdate", () => drawing.move(player.currentTime * 1000));
      drawing.onpick((ms) => { player.currentTime = ms / 1000; drawing.move(ms); });
      holder.append(make("p", { class: "hint" }, "Choose a place in the picture to listen from there: caller left, bot right."), player);
    }
    if (row.turns.length) {
      const table = make("table", {}, make("tr", {}, ...["turn", "from", "to", "response onset", "barge-in stop", ""].map((title, i) => make("th", { class: i && i < 5 ? "n" : null }, title))));
      for (const turn of row.turns) {
        const notes = [turn.meant === false ? "not meant for the bot" : "", turn.cut_off ? "cut off" : "", turn.yielded === false ? "missed barge-in" : "", turn.meant !== false && turn.response_onset_ms === null ? "unanswered" : ""].filter(Boolean);
        table.append(make("tr", {}, make("td", {}, turn.label || "speech"), ...[turn.speech_start_ms, turn.speech_end_ms, turn.response_onset_ms, turn.barge_in_stop_ms].map((value) => make("td", { class: "n" }, show(value, 0, " ms"))), make("td", { class: notes.length && turn.meant !== false ? "bad" : null }, notes.join(", "))));
      }
      holder.append(make("h3", {}, "Turns"), table);
    }
    const measured = row.transcript.filter((line) => line.who === "caller" && Object.keys(line.stages_ms || {}).length);
    if (measured.length) holder.append(make("h3", {}, "Turns by stage (the bot's own account)"), stageBars(measured), stageTable(measured));
    holder.append(make("h3", {}, row.reference.length ? "Transcript against the reference" : "Transcript"), transcript(row));
    document.getElementById("h-call").scrollIntoView({ behavior: "auto" });
  }

  function timeline(row) {
    const width = 1100, left = 70, span = Math.max(1, row.duration_ms), at = (ms) => left + (ms / span) * (width - left - 10);
    const svg = draw("svg", { class: "wide", viewBox: `0 0 ${width} 250`, role: "img", "aria-label": "waveforms, packets and turns" });
    const head = draw("line", { class: "playhead", x1: left, x2: left, y1: 6, y2: 228, stroke: colours.stopped, "stroke-width": 1.5, visibility: "hidden" });
    const lanes = [["caller", row.wave_caller, row.spoken_spans_ms, 45], ["bot", row.wave_bot, row.bot_spans_ms, 120]];
    for (const [name, outline, spans, middle] of lanes) {
      svg.append(draw("text", { x: 0, y: middle + 4 }, name));
      for (const [from, to] of spans) svg.append(draw("rect", { x: at(from), y: middle - 34, width: Math.max(1, at(to) - at(from)), height: 68, fill: colours[name], opacity: 0.08 }));
      if (outline.length) {
        const step = (width - left - 10) / outline.length;
        const above = outline.map((peak, i) => `${(left + i * step).toFixed(1)},${(middle - Math.max(0.4, peak * 0.32)).toFixed(1)}`);
        const below = outline.map((peak, i) => `${(left + i * step).toFixed(1)},${(middle + Math.max(0.4, peak * 0.32)).toFixed(1)}`).reverse();
        svg.append(draw("polygon", { points: [...above, ...below].join(" "), fill: colours[name] }));
      }
    }
    for (const turn of row.turns) {
      if (turn.response_onset_ms === null || turn.speech_end_ms === null) continue;
      svg.append(draw("rect", { x: at(turn.speech_end_ms), y: 78, width: Math.max(1.5, at(turn.speech_end_ms + turn.response_onset_ms) - at(turn.speech_end_ms)), height: 10, fill: colours.onset }, draw("title", {}, `response onset ${show(turn.response_onset_ms, 0, " ms")}`)));
    }
    for (const item of row.interruptions) svg.append(draw("rect", { x: at(item.at_ms), y: 88, width: Math.max(3, at(item.at_ms + (item.pause_ms || 0)) - at(item.at_ms)), height: 64, fill: "none", stroke: colours.stopped, "stroke-width": 2, "stroke-dasharray": item.pause_ms === null ? null : "4 2" }, draw("title", {}, item.pause_ms === null ? "cut although nobody meant to interrupt" : `paused for ${show(item.pause_ms, 0, " ms")} although nobody meant to interrupt`)));
    // What became of the packets: of a lost one the bot's recording tells more than the network.
    const known = new Set([...row.concealed_out_ms, ...row.holes_out_ms]);
    const packets = [
      ["to bot", 172, [[row.lost_out_ms.filter((ms) => !known.has(ms)), "quiet", "lost between words, or not known what the bot heard"], [row.concealed_out_ms, "concealed", "lost, concealed by the bot"], [row.holes_out_ms, "lost", "lost, silence for the bot"], [row.dropped_out_ms, "late", "arrived, but the bot did not use it (too late)"]]],
      ["to caller", 200, [[row.lost_in_ms, "lost", "lost"], [row.late_in_ms, "late", "more than 60 ms late"]]],
    ];
    for (const [name, y, kinds] of packets) {
      svg.append(draw("text", { x: 0, y: y + 12 }, name), draw("line", { x1: left, x2: width - 10, y1: y + 8, y2: y + 8, stroke: colours.line }));
      for (const [times, kind, meaning] of kinds) for (const time of times) svg.append(draw("rect", { class: `packet ${kind}`, x: at(time), y, width: 1.8, height: 16, fill: colours[kind] }, draw("title", {}, `${show(time / 1000, 2, " s")}: ${meaning}`)));
    }
    const seconds = span / 1000, step = seconds > 60 ? 10 : seconds > 20 ? 5 : 1;
    for (let second = 0; second <= seconds; second += step) svg.append(draw("text", { x: at(second * 1000), y: 244, "text-anchor": "middle", class: "axis" }, `${second} s`));
    svg.append(head);
    return {
      svg,
      move(ms) { head.setAttribute("x1", at(ms)); head.setAttribute("x2", at(ms)); head.setAttribute("visibility", "visible"); },
      onpick(act) {
        svg.classList.add("seek");
        svg.addEventListener("click", (event) => {
          const box = svg.getBoundingClientRect(), x = ((event.clientX - box.left) / box.width) * width;
          act(Math.min(span, Math.max(0, ((x - left) / (width - left - 10)) * span)));
        });
      },
    };
  }

  function stageTable(lines) {
    const names = [...new Set(lines.flatMap((line) => Object.keys(line.stages_ms)))];
    const table = make("table", { id: "turn-stages" }, make("tr", {}, ...["caller said", "intent", ...names, "onset"].map((title, i) => make("th", { class: i > 1 ? "n" : null }, title))));
    for (const line of lines) {
      table.append(make("tr", {}, make("td", {}, line.text), make("td", {}, line.intent || ""),
        ...names.map((name) => make("td", { class: "n" + ((line.overspent || []).includes(name) ? " bad" : "") }, show(line.stages_ms[name], 0, " ms"))),
        make("td", { class: "n" }, show(line.response_onset_ms, 0, " ms"))));
    }
    return make("div", { class: "scroll" }, table);
  }

  function stageBars(lines) {
    const names = [...new Set(lines.flatMap((line) => Object.keys(line.stages_ms)))], total = (line) => Object.values(line.stages_ms).reduce((a, b) => a + b, 0);
    const highest = Math.max(...lines.map(total), 1), scale = (ms) => (ms / highest) * 640;
    const svg = draw("svg", { width: 960, height: lines.length * 26 + 24, viewBox: `0 0 960 ${lines.length * 26 + 24}`, role: "img", "aria-label": "stages of each turn", id: "turn-timeline" });
    lines.forEach((line, i) => {
      const said = line.text.length > 24 ? `${line.text.slice(0, 23)}…` : line.text;
      svg.append(draw("text", { x: 170, y: i * 26 + 16, "text-anchor": "end", class: "axis" }, said));
      let x = 178;
      for (const name of names) {
        const ms = line.stages_ms[name] || 0;
        if (ms > 0) svg.append(draw("rect", { x, y: i * 26 + 3, width: Math.max(0.8, scale(ms)), height: 18, fill: stageColours[names.indexOf(name) % stageColours.length] }, draw("title", {}, `${name}: ${show(ms, 0, " ms")}`)));
        x += scale(ms);
      }
      svg.append(draw("text", { x: x + 6, y: i * 26 + 16 }, show(total(line), 0, " ms")));
    });
    let x = 178;
    names.forEach((name, i) => {
      svg.append(draw("rect", { x, y: lines.length * 26 + 6, width: 10, height: 10, fill: stageColours[i % stageColours.length] }), draw("text", { x: x + 14, y: lines.length * 26 + 15, class: "axis" }, name));
      x += 14 + name.length * 7 + 14;
    });
    return make("div", { class: "scroll" }, svg);
  }

  function transcript(row) {
    const lines = (list) => list.map((line) => `${line.who}: ${line.text}`);
    const now = lines(row.transcript), before = lines(row.reference);
    const holder = make("div", { class: "diff" });
    if (!before.length) {
      for (const line of now) holder.append(make("span", {}, line), "\n");
      if (!now.length) holder.append("The bot's record of this call was not read.");
      return holder;
    }
    // Longest common subsequence: transcripts are short.
    const table = Array.from({ length: before.length + 1 }, () => new Array(now.length + 1).fill(0));
    for (let i = before.length - 1; i >= 0; i--) for (let j = now.length - 1; j >= 0; j--) table[i][j] = before[i] === now[j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
    let i = 0, j = 0;
    while (i < before.length || j < now.length) {
      if (i < before.length && j < now.length && before[i] === now[j]) { holder.append(make("span", {}, `  ${now[j]}`), "\n"); i++; j++; }
      else if (j >= now.length || (i < before.length && table[i + 1][j] >= table[i][j + 1])) { holder.append(make("del", {}, `- ${before[i]}`), "\n"); i++; }
      else { holder.append(make("ins", {}, `+ ${now[j]}`), "\n"); j++; }
    }
    return holder;
  }

  list();
})();
