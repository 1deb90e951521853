"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const SVG = "http://www.w3.org/2000/svg";
  const colours = { caller: "#1f6fb2", bot: "#2f8f5b", lost: "#c62828", late: "#e08a00", onset: "#7a5bb5", soft: "#5d6b7a", line: "#d7dee6" };

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
  const figures = make("table", {}, make("tr", {}, make("th", {}, "figure"), make("th", { class: "n" }, data.baseline ? "baseline" : "value"), ...(data.baseline ? [make("th", { class: "n" }, "this run")] : [])));
  for (const [name, before, after] of data.figures) {
    const text = (value) => (value === null ? "–" : String(value));
    figures.append(make("tr", {}, make("td", {}, name), ...(data.baseline ? [make("td", { class: "n" }, text(before))] : []), make("td", { class: "n" }, text(after))));
  }
  document.getElementById("summary").append(figures);

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
    document.getElementById("h-calls").scrollIntoView({ behavior: "auto" });
  }
  function list() {
    const filter = document.getElementById("filter");
    filter.textContent = chosen ? `${chosen.label}, jitter ${chosen.jitter} ms ` : "all calls ";
    if (chosen) filter.append(make("button", { type: "button", onclick: () => { chosen = null; list(); } }, "show all"));
    const rows = data.rows.map((row, index) => [row, index]).filter(([row]) => !chosen || (rowKey(row) === chosen.key && row.cell.jitter_ms === chosen.jitter));
    const table = make("table", {}, make("tr", {}, ...["call", "network", "seed", "verdict", "word error", "onset p50", "onset p95", "MOS", "gaps"].map((title, i) => make("th", { class: i > 3 || i === 2 ? "n" : null }, title))));
    for (const [row, index] of rows) {
      const verdict = row.failures.length ? make("span", { class: "bad" }, "failed") : row.task_success === false ? make("span", { class: "bad" }, "other course") : make("span", { class: "good" }, row.void ? "passed (void for timing)" : "passed");
      table.append(make("tr", { class: "pick", "data-row": index, onclick: () => open(index) },
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
    document.getElementById("call-section").hidden = false;
    document.querySelectorAll("tr.pick").forEach((line) => line.classList.toggle("on", line.dataset.row === String(index)));
    document.getElementById("h-call").textContent = `Call ${row.name}`;
    const holder = document.getElementById("call");
    holder.replaceChildren(
      make("p", {}, `Loss ${row.cell.loss_percent} %, burst ${row.cell.mean_burst_packets} packets, jitter ${row.cell.jitter_ms} ms; profile ${row.profile}, seed ${row.seed}. Greeting ${show(row.greeting_ms, 0, " ms")}, ended by ${row.ended_by || "nobody"}. Heard: loss ${show(row.heard_loss_percent, 2, " %")}, jitter ${show(row.heard_jitter_ms, 1, " ms")}, MOS ${show(row.mos, 2)}. The bot dropped ${percent(row.bot_dropped)} of the speech that arrived, and heard ${percent(row.bot_holes)} of the lost packets as silence. Intents right ${percent(row.intents_right)}, slots right ${percent(row.slots_right)}.`));
    for (const failure of row.failures) holder.append(make("p", { class: "bad" }, failure));
    holder.append(timeline(row));
    holder.append(make("p", { class: "legend" }, ...[["caller", "caller"], ["bot", "bot"], ["lost", "lost packet"], ["late", "late packet (> 60 ms)"], ["onset", "response onset"]].map(([name, text]) => make("span", {}, make("i", { style: `background:${colours[name]}` }), text))));
    if (row.sound_wav_base64) holder.append(make("audio", { controls: "", preload: "metadata", src: `data:audio/wav;base64,${row.sound_wav_base64}` }));
    if (row.turns.length) {
      const table = make("table", {}, make("tr", {}, ...["turn", "from", "to", "response onset", "barge-in stop"].map((title, i) => make("th", { class: i ? "n" : null }, title))));
      for (const turn of row.turns) table.append(make("tr", {}, make("td", {}, turn.label || "speech"), ...[turn.speech_start_ms, turn.speech_end_ms, turn.response_onset_ms, turn.barge_in_stop_ms].map((value) => make("td", { class: "n" }, show(value, 0, " ms")))));
      holder.append(make("h3", {}, "Turns"), table);
    }
    const measured = row.transcript.filter((line) => line.who === "caller" && Object.keys(line.stages_ms || {}).length);
    if (measured.length) holder.append(make("h3", {}, "Turns by stage (the bot's own account)"), stageTable(measured));
    const stages = Object.entries(row.stages);
    if (stages.length) holder.append(make("h3", {}, "Stages (the bot's own account, p50)"), bars(stages));
    holder.append(make("h3", {}, row.reference.length ? "Transcript against the reference" : "Transcript"), transcript(row));
    document.getElementById("h-call").scrollIntoView({ behavior: "auto" });
  }

  function timeline(row) {
    const width = 1100, left = 70, span = Math.max(1, row.duration_ms), at = (ms) => left + (ms / span) * (width - left - 10);
    const svg = draw("svg", { class: "wide", viewBox: `0 0 ${width} 250`, role: "img", "aria-label": "waveforms, packets and turns" });
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
    const packets = [["lost out", row.lost_out_ms, colours.lost, 172], ["lost in", row.lost_in_ms, colours.lost, 192], ["late in", row.late_in_ms, colours.late, 212]];
    for (const [name, times, colour, y] of packets) {
      svg.append(draw("text", { x: 0, y: y + 9 }, name), draw("line", { x1: left, x2: width - 10, y1: y + 5, y2: y + 5, stroke: colours.line }));
      for (const time of times) svg.append(draw("rect", { x: at(time), y, width: 1.5, height: 10, fill: colour }));
    }
    const seconds = span / 1000, step = seconds > 60 ? 10 : seconds > 20 ? 5 : 1;
    for (let second = 0; second <= seconds; second += step) svg.append(draw("text", { x: at(second * 1000), y: 244, "text-anchor": "middle", class: "axis" }, `${second} s`));
    return svg;
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

  function bars(stages) {
    const highest = Math.max(...stages.map(([, value]) => value), 1);
    const svg = draw("svg", { width: 620, height: stages.length * 24, role: "img", "aria-label": "stages" });
    stages.forEach(([name, value], i) => svg.append(
      draw("text", { x: 150, y: i * 24 + 16, "text-anchor": "end", class: "axis" }, name),
      draw("rect", { x: 158, y: i * 24 + 4, width: Math.max(1, (value / highest) * 360), height: 16, rx: 3, fill: "#9db8d2" }),
      draw("text", { x: 166 + (value / highest) * 360, y: i * 24 + 16 }, show(value, 0, " ms"))));
    return svg;
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
