"use strict";
(function () {
  const data = JSON.parse(document.getElementById("unbraid-data").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  let printing = false;
  const drawings = [];

  const colours = () => dark.matches && !printing
    ? { ink: "#e6e9eb", soft: "#a0abb4", grid: "#2b3237", line: "#6c7880", zero: [29, 35, 39], plus: [92, 178, 255], minus: [255, 138, 76], fill: "#4fa3c1", series: ["#79c3dd", "#f0a35e", "#a5d17b", "#c8a2e0"] }
    : { ink: "#1d2327", soft: "#5b6670", grid: "#e9ebed", line: "#8a949c", zero: [255, 255, 255], plus: [5, 78, 153], minus: [190, 66, 0], fill: "#2a7f9e", series: ["#14607a", "#b35806", "#4d7c1f", "#7a4a9c"] };

  const element = (tag, text, className) => {
    const e = document.createElement(tag);
    if (text !== undefined) e.textContent = text;
    if (className) e.className = className;
    return e;
  };
  const short = (v) => {
    if (v === null || v === undefined) return "–";
    if (v === 0) return "0";
    const size = Math.abs(v);
    const text = size >= 1e5 || size < 1e-3 ? v.toExponential(2).replace(/\.?0+e/, "e").replace("e+", "e") : String(Number(v.toPrecision(4)));
    return text.replace(/-/g, "−");
  };
  const places = (values) => {
    const least = Math.min(...values.filter((v) => v).map(Math.abs), 1);
    return least >= 1e-6 ? (v) => (v === null ? "–" : v.toFixed(Math.min(8, 3 - Math.floor(Math.log10(least)))).replace("-", "−")) : short;
  };

  // The strip of colours beside a picture, from −100 or 0 to 100.
  const ramp = (canvas, from, colour) => {
    canvas.width = 101 - from; canvas.height = 1;
    const pen = canvas.getContext("2d"), row = pen.createImageData(101 - from, 1);
    for (let v = from; v <= 100; v++) row.data.set([...colour(v), 255], 4 * (v - from));
    pen.putImageData(row, 0, 0);
  };
  // What a picture says at a place in its own pixels, beside the pointer.
  const hover = (canvas, tip, text) => {
    canvas.addEventListener("mousemove", (event) => {
      const r = canvas.getBoundingClientRect(), k = canvas.width / r.width;
      const x = event.clientX - r.left, y = event.clientY - r.top;
      tip.textContent = text(x * k, y * k);
      tip.style.display = tip.textContent ? "block" : "none";
      tip.style.left = Math.max(0, Math.min(x + 12, r.width - tip.offsetWidth)) + "px";
      tip.style.top = y + 14 + "px";
    });
    canvas.addEventListener("mouseleave", () => { tip.style.display = "none"; });
  };

  // A tick label with as many digits as the step between ticks needs.
  function tick(v, step) {
    if (!step || !v) return short(v);
    const digits = Math.min(15, Math.max(1, Math.ceil(Math.log10(Math.abs(v) / step)) + 1));
    return Number(v.toPrecision(digits)) === Number(short(v)) ? short(v) : String(Number(v.toPrecision(digits)));
  }

  function axes(c, x, y, formatY, whole = true) {
    const common = { stroke: c.soft, grid: { stroke: c.grid, width: 1 }, ticks: { stroke: c.grid, width: 1 }, font: "12px system-ui, sans-serif", labelFont: "12px system-ui, sans-serif" };
    return [
      { ...common, label: x, labelSize: 22, size: 36, ...(whole ? { incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000] } : {}) },
      { ...common, label: y, labelSize: 22, size: 62, values: (_, at) => { const step = at.length > 1 ? Math.abs(at[1] - at[0]) : 0; return at.map((v) => (v === null ? "" : formatY ? formatY(v) : tick(v, step))); } },
    ];
  }

  function chart(box, height, build) {
    const draw = () => {
      box.textContent = "";
      const [options, columns] = build(colours());
      options.width = Math.max(240, Math.floor(box.clientWidth));
      options.height = height;
      new uPlot(options, columns, box);
    };
    drawings.push(draw);
    draw();
  }

  data.objective.forEach((trace, at) => {
    const box = document.getElementById("objective-" + at);
    const known = trace.values.filter((v) => v !== null);
    if (!box || known.length === 0) return;
    const low = Math.min(...known), high = Math.max(...known);
    const log = low > 0 && high / low > 100;
    const y = log ? trace.values.map((v) => (v === null ? null : Math.log10(v))) : trace.values;
    const back = (v) => short(log ? Math.pow(10, v) : v);
    if (log) box.nextElementSibling.append(" The vertical axis is logarithmic.");
    chart(box, 260, (c) => [{
      scales: { x: { time: false, range: [0.5, Math.max(1.5, y.length + 0.5)] } },
      axes: axes(c, "step", log ? "value (log scale)" : "value", back),
      series: [{ label: "step" }, { label: "value", stroke: c.series[0], width: 2, points: { show: y.length <= 60, size: 6, fill: c.series[0] }, value: (_, v) => (v === null ? "–" : back(v)) }],
      hooks: (trace.marks || []).length ? { draw: [(u) => steps(u, trace.marks, c)] } : {},
    }, [y.map((_, i) => i + 1), y]]);
  });

  // Upright lines where something changed during the fit, with what it was; texts stand below each other.
  function steps(u, marks, c) {
    const pen = u.ctx, ratio = window.devicePixelRatio || 1, right = u.bbox.left + u.bbox.width;
    pen.save();
    pen.strokeStyle = c.soft; pen.fillStyle = c.soft; pen.lineWidth = ratio; pen.setLineDash([3 * ratio, 3 * ratio]);
    pen.font = 12 * ratio + "px system-ui, sans-serif"; pen.textBaseline = "top";
    const across = (at) => Math.round(u.valToPos(at, "x", true));
    marks.forEach(([at]) => { pen.beginPath(); pen.moveTo(across(at), u.bbox.top); pen.lineTo(across(at), u.bbox.top + u.bbox.height); pen.stroke(); });
    marks.forEach(([at, text], i) => {
      const x = across(at), y = u.bbox.top + (4 + 15 * i) * ratio;
      const left = x + 5 * ratio + pen.measureText(text).width > right;
      pen.textAlign = left ? "right" : "left";
      // On the ground of the page, so that lines do not cross it.
      pen.save(); pen.setLineDash([]); pen.strokeStyle = "rgb(" + c.zero.join(",") + ")"; pen.lineWidth = 4 * ratio;
      pen.strokeText(text, x + (left ? -5 : 5) * ratio, y); pen.restore();
      pen.fillText(text, x + (left ? -5 : 5) * ratio, y);
    });
    pen.restore();
  }

  function degrees(box, network) {
    const most = network.degrees.length ? network.degrees[network.degrees.length - 1].degree : 0;
    const width = Math.max(1, Math.ceil((most + 1) / 40));
    const bins = new Array(Math.floor(most / width) + 1).fill(0);
    network.degrees.forEach((d) => { bins[Math.floor(d.degree / width)] += d.count; });
    const centre = bins.map((_, i) => i * width + (width - 1) / 2);
    if (width > 1) box.nextElementSibling.append(" Each bar spans " + width + " degrees.");
    chart(box, 260, (c) => [{
      scales: { x: { time: false, range: [-0.7 * width, most + 0.7 * width] }, y: { range: (_, lo, hi) => [0, Math.max(1, hi * 1.08)] } },
      axes: axes(c, "edges per vertex (degree)", "vertices"),
      legend: { live: true },
      series: [{ label: "degree", value: (_, v) => (v === null ? "–" : width > 1 ? (v - (width - 1) / 2) + "–" + (v + (width - 1) / 2) : String(v)) },
        { label: "vertices", stroke: c.fill, fill: c.fill, value: (_, v) => (v === null ? "–" : String(v)), paths: uPlot.paths.bars({ size: [0.85, 60] }), points: { show: false } }],
    }, [centre, bins.map((n) => n || null)]]);
  }

  const mix = (zero, end, part) => zero.map((z, i) => Math.round(z + (end[i] - z) * part));
  const shade = (c, v) => mix(c.zero, v > 0 ? c.plus : c.minus, v === 0 ? 0 : 0.15 + 0.85 * Math.sqrt(Math.abs(v) / 100));

  function heat(box, map) {
    const canvas = box.querySelector("canvas"), tip = box.querySelector(".tip");
    const at = (i, j) => (i >= j ? map.cells[(i * (i + 1)) / 2 + j] : map.cells[(j * (j + 1)) / 2 + i]);
    const pad = 54, inner = 840, side = pad + inner + 6;
    canvas.width = side; canvas.height = side;
    const draw = () => {
      const c = colours(), pen = canvas.getContext("2d");
      const image = document.createElement("canvas");
      image.width = image.height = map.side;
      const pixels = image.getContext("2d"), block = pixels.createImageData(map.side, map.side);
      for (let i = 0; i < map.side; i++) for (let j = 0; j < map.side; j++) {
        block.data.set([...shade(c, at(i, j)), 255], 4 * (i * map.side + j));
      }
      pixels.putImageData(block, 0, 0);
      pen.clearRect(0, 0, side, side);
      pen.imageSmoothingEnabled = false;
      pen.drawImage(image, pad, pad, inner, inner);
      pen.strokeStyle = c.line; pen.lineWidth = 1;
      pen.strokeRect(pad - 0.5, pad - 0.5, inner + 1, inner + 1);
      pen.fillStyle = c.soft; pen.font = "20px system-ui, sans-serif"; pen.textAlign = "center"; pen.textBaseline = "middle";
      const unit = inner / map.side;
      for (const group of map.groups) {
        const from = pad + group.span[0] * unit, to = pad + group.span[1] * unit;
        if (group.span[1] < map.side && to - from > 3) {
          pen.globalAlpha = 0.55;
          pen.beginPath(); pen.moveTo(to, pad); pen.lineTo(to, pad + inner); pen.moveTo(pad, to); pen.lineTo(pad + inner, to); pen.stroke();
          pen.globalAlpha = 1;
        }
        if (to - from >= 24) {
          let text = group.label;
          const room = to - from - 4;
          while (text.length > 1 && pen.measureText(text).width > room) text = text.slice(0, -2) + "…";
          if (text !== "…") {
            pen.fillText(text, (from + to) / 2, pad - 20);
            pen.save(); pen.translate(pad - 20, (from + to) / 2); pen.rotate(-Math.PI / 2); pen.fillText(text, 0, 0); pen.restore();
          }
        }
      }
      ramp(box.parentNode.querySelector(".scale canvas"), -100, (v) => shade(c, v));
    };
    drawings.push(draw);
    draw();
    const groupAt = (i) => (map.groups.find((g) => i + 0.5 >= g.span[0] && i + 0.5 < g.span[1]) || { label: "?" }).label;
    hover(canvas, tip, (x, y) => {
      const j = Math.floor((x - pad) / inner * map.side), i = Math.floor((y - pad) / inner * map.side);
      if (i < 0 || j < 0 || i >= map.side || j >= map.side) return "";
      const v = at(i, j);
      return groupAt(i) + " × " + groupAt(j) + ": " + (v === 0 ? "no edge" : "Ψ " + (Math.abs(v) === 100 ? (v > 0 ? "≥ " : "≤ ") : "≈ ") + short((v / 100) * map.limit));
    });
  }

  function edges(box, network) {
    const columns = [
      ["rank", (e) => e.rank, true], ["one end", (e) => e.source, false], ["other end", (e) => e.target, false],
      ["|Ψ|", (e) => e.weight, true], ["sign of Ψ", (e) => e.sign, true], ["partial correlation", (e) => e.partial, true],
    ];
    const rows = network.strongest.map((e, i) => ({ ...e, rank: i + 1 }));
    const format = { 0: String, 3: places(rows.map((e) => e.weight)), 4: (v) => (v > 0 ? "+" : "−"), 5: places(rows.map((e) => e.partial)) };
    const table = element("table"), head = element("thead"), body = element("tbody"), line = element("tr");
    let by = 0, down = false;
    const input = box.querySelector("input"), count = box.querySelector(".count");
    const order = new Intl.Collator(undefined, { numeric: true });
    const fill = () => {
      const wanted = input.value.trim().toLowerCase();
      const get = columns[by][1];
      const kept = rows.filter((e) => !wanted || e.source.toLowerCase().includes(wanted) || e.target.toLowerCase().includes(wanted));
      kept.sort((a, b) => {
        const x = get(a), y = get(b);
        if (x === null || y === null) return x === y ? a.rank - b.rank : x === null ? 1 : -1;
        const d = typeof x === "string" ? order.compare(x, y) : x - y;
        return (down ? -d : d) || a.rank - b.rank;
      });
      body.textContent = "";
      for (const e of kept) {
        const tr = element("tr");
        columns.forEach(([, value, numeric], i) => {
          const td = element("td", undefined, numeric ? "n" : "");
          if (numeric) td.textContent = format[i](value(e));
          else td.append(element("bdi", value(e)));
          tr.append(td);
        });
        body.append(tr);
      }
      count.textContent = kept.length + " of " + network.edges.toLocaleString("en") + " edges" + (rows.length < network.edges ? " (the " + rows.length + " strongest are listed)" : "");
      [...line.children].forEach((th, i) => { if (i === by) th.setAttribute("aria-sort", down ? "descending" : "ascending"); else th.removeAttribute("aria-sort"); });
    };
    columns.forEach(([name, , numeric], i) => {
      const th = element("th", undefined, numeric ? "n" : ""), button = element("button", name);
      th.scope = "col"; button.type = "button";
      button.addEventListener("click", () => { down = by === i ? !down : columns[i][2] && i !== 0; by = i; fill(); });
      th.append(button); line.append(th);
    });
    head.append(line); table.append(head, body);
    box.querySelector(".tall").append(table);
    input.addEventListener("input", fill);
    fill();
  }

  data.networks.forEach((network, at) => {
    const part = (name) => document.getElementById(name + "-" + at);
    if (part("degrees")) degrees(part("degrees"), network);
    if (part("heat")) heat(part("heat"), network.heat);
    if (part("edges")) edges(part("edges"), network);
  });

  // Curves over one axis; curves that belong together share a colour, bounds are thin.
  function lines(box, figure) {
    const x = figure.x, room = ((x[x.length - 1] - x[0]) || 1) * 0.03;
    const known = figure.series.flatMap((s) => s.values).filter((v) => v !== null);
    if (known.length === 0) return;
    const low = Math.min(0, ...known), high = Math.max(...known);
    chart(box, 280, (c) => [{
      scales: { x: { time: false, range: [x[0] - room, x[x.length - 1] + room] }, y: { range: [low < 0 ? low * 1.08 : 0, high > 0 ? high * 1.08 : 1] } },
      axes: axes(c, figure.x_label, figure.y_label, undefined, x.every(Number.isInteger)),
      series: [{ label: figure.x_label, value: (_, v) => short(v) }].concat(figure.series.map((s) => ({
        label: s.name, stroke: c.series[s.colour % c.series.length], width: s.thin ? 1 : 2, dash: s.thin ? [4, 4] : undefined,
        points: { show: !s.thin && x.length <= 60, size: 6, fill: c.series[s.colour % c.series.length] }, value: (_, v) => short(v),
      }))),
      hooks: figure.mark == null ? {} : { draw: [(u) => {
        const at = Math.round(u.valToPos(figure.mark, "x", true)), pen = u.ctx;
        pen.save(); pen.strokeStyle = c.soft; pen.lineWidth = 2; pen.setLineDash([2, 3]);
        pen.beginPath(); pen.moveTo(at, u.bbox.top); pen.lineTo(at, u.bbox.top + u.bbox.height); pen.stroke(); pen.restore();
      }] },
    }, [x].concat(figure.series.map((s) => s.values))]);
  }

  (data.charts || []).forEach((figure, f) => {
    const box = document.getElementById("lines-fit-" + f);
    if (box) lines(box, figure);
  });
  (data.slices ? data.slices.course : []).forEach((figure, f) => {
    const box = document.getElementById("lines-slices-" + f);
    if (box) lines(box, figure);
  });
  (data.evaluation ? data.evaluation.axes : []).forEach((axis, a) => (axis.charts || []).forEach((figure, f) => {
    const box = document.getElementById("lines-" + a + "-" + f);
    if (box) lines(box, figure);
  }));
  // Counts and bounds over a share of refits, logarithmic; what is 0 or unknown is left out.
  function shares(box, at, lines, bars) {
    const log = (values) => values.map((v) => (v ? Math.log10(v) : null));
    const known = lines.flatMap(([, values]) => log(values)).filter((v) => v !== null);
    if (!known.length) return;
    const low = bars ? -0.3 : Math.min(...known) - 0.15, high = Math.max(...known) + 0.15;
    const value = (_, v) => (v === null || v === undefined ? "–" : short(Math.pow(10, v)));
    chart(box, 260, (c) => [{
      scales: { x: { time: false, range: [at[0] - 1, at[at.length - 1] + 1] }, y: { range: [low, high] } },
      axes: axes(c, "share of refits, %", bars ? "pairs" : "edges", (v) => (Number.isInteger(v) ? short(Math.pow(10, v)) : "")),
      series: [{ label: "share, %", value: (_, v) => (v === null ? "–" : short(v)) }, ...lines.map(([label], i) => bars
        ? { label, stroke: c.fill, fill: c.fill, value, paths: uPlot.paths.bars({ size: [0.85, 60] }), points: { show: false } }
        : { label, stroke: c.series[i], width: i ? 1.5 : 2.5, value, points: { show: false } })],
    }, [at, ...lines.map(([, values]) => log(values))]]);
  }

  data.stability.forEach((s, at) => {
    const curve = document.getElementById("stability-" + at), bars = document.getElementById("frequencies-" + at);
    const of = (name) => s.curve.map((p) => p[name]);
    if (curve && s.curve.length) shares(curve, s.curve.map((p) => 100 * p.threshold), [["edges", of("edges")], ["no shape", of("general")], ["unimodal", of("unimodal")], ["r-concave", of("concave")]], false);
    if (bars && s.histogram.length) shares(bars, s.histogram.map((_, i) => (100 * (i + 1)) / s.refits), [["pairs", s.histogram]], true);
  });

  // Scores of observations on factors: one column per factor, lines between dominating factors.
  function scores(box, map) {
    const canvas = box.querySelector("canvas"), pad = 92, inner = 800, side = pad + inner + 6, key = 64;
    canvas.width = side; canvas.height = side + key;
    const draw = () => {
      const c = colours(), pen = canvas.getContext("2d"), wide = inner / map.columns, high = inner / map.rows;
      pen.clearRect(0, 0, side, side + key);
      for (let i = 0; i < map.rows; i++) for (let j = 0; j < map.columns; j++) {
        pen.fillStyle = "rgb(" + mix(c.zero, c.plus, map.cells[i * map.columns + j] / 100).join(",") + ")";
        const x = Math.floor(pad + j * wide), y = Math.floor(pad + i * high);
        pen.fillRect(x, y, Math.floor(pad + (j + 1) * wide) - x, Math.floor(pad + (i + 1) * high) - y);
      }
      pen.strokeStyle = c.line; pen.lineWidth = 1;
      pen.strokeRect(pad - 0.5, pad - 0.5, inner + 1, inner + 1);
      pen.fillStyle = c.soft; pen.font = "20px system-ui, sans-serif"; pen.textAlign = "center"; pen.textBaseline = "middle";
      map.spans.forEach((span, f) => {
        if (wide >= 24 || f % Math.ceil(24 / wide) === 0) pen.fillText(String(f + 1), pad + (f + 0.5) * wide, pad - 20);
        if (!span) return;
        const from = pad + span[0] * high, to = pad + span[1] * high;
        if (span[1] < map.rows) { pen.beginPath(); pen.moveTo(pad, to); pen.lineTo(pad + inner, to); pen.stroke(); }
        if (to - from >= 24) pen.fillText(String(f + 1), pad - 24, (from + to) / 2);
      });
      pen.fillText("factor", pad + inner / 2, 22);
      pen.save(); pen.translate(24, pad + inner / 2); pen.rotate(-Math.PI / 2);
      pen.fillText("observations, by their largest factor", 0, 0); pen.restore();
      // The colours, from 0 to the factor's largest score.
      const from = pad + inner / 4, long = inner / 2, top = side + 10;
      for (let i = 0; i < 100; i++) {
        pen.fillStyle = "rgb(" + mix(c.zero, c.plus, i / 99).join(",") + ")";
        pen.fillRect(Math.floor(from + (i * long) / 100), top, Math.ceil(long / 100) + 1, 18);
      }
      pen.strokeRect(from - 0.5, top - 0.5, long + 2, 19);
      pen.fillStyle = c.soft; pen.fillText("0", from, top + 36); pen.fillText("factor’s largest score", from + long, top + 36);
    };
    drawings.push(draw);
    draw();
  }
  if (data.factors && data.factors.scores) scores(document.getElementById("scores"), data.factors.scores);

  // W: a row for each factor, blocks of studies apart, features of some set in columns.
  function mask(box, map) {
    const canvas = box.querySelector("canvas"), tip = box.querySelector(".tip");
    const high = Math.max(10, Math.min(26, Math.floor(720 / map.rows))), gap = 8, right = 8, top = 6;
    const measure = canvas.getContext("2d");
    measure.font = "20px system-ui, sans-serif";
    const pad = Math.min(360, 62 + Math.ceil(Math.max(...map.blocks.map(([name]) => measure.measureText(name).width)))), inner = 1590 - pad;
    const starts = [];
    map.blocks.forEach(([, rows], b) => { for (let r = 0; r < rows; r++) starts.push(top + starts.length * high + b * gap); });
    const tall = starts[starts.length - 1] + high + top, wide = inner / map.columns, side = pad + inner + right;
    canvas.width = side; canvas.height = tall;
    const draw = () => {
      const c = colours(), pen = canvas.getContext("2d");
      pen.clearRect(0, 0, side, tall);
      pen.font = "20px system-ui, sans-serif"; pen.textBaseline = "middle"; pen.lineWidth = 1;
      let row = 0;
      for (const [name, rows] of map.blocks) {
        const from = starts[row], to = starts[row + rows - 1] + high;
        for (let r = row; r < row + rows; r++) for (let j = 0; j < map.columns; j++) {
          const v = map.cells[r * map.columns + j];
          if (v === 0) continue;
          const x = Math.floor(pad + j * wide);
          pen.fillStyle = "rgb(" + shade(c, v).join(",") + ")";
          pen.fillRect(x, starts[r], Math.max(1, Math.floor(pad + (j + 1) * wide) - x), high);
        }
        pen.strokeStyle = c.line;
        pen.strokeRect(pad - 0.5, from - 0.5, inner + 1, to - from + 1);
        pen.fillStyle = c.soft; pen.textAlign = "right";
        const every = Math.ceil(20 / high);
        for (let r = row; r < row + rows; r++) if ((r - row) % every === 0) pen.fillText(String(r + 1), pad - 8, starts[r] + high / 2);
        // Names of studies differ at their ends as often as at their starts.
        let text = name;
        for (let keep = name.length - 1; keep > 2 && pen.measureText(text).width > pad - 56; keep--) text = name.slice(0, Math.ceil(keep / 2)) + "…" + name.slice(-Math.floor(keep / 2));
        pen.textAlign = "left"; pen.fillStyle = c.ink; pen.fillText(text, 2, (from + to) / 2);
        row += rows;
      }
      ramp(box.parentNode.querySelector(".scale canvas"), -100, (v) => shade(c, v));
    };
    drawings.push(draw);
    draw();
    hover(canvas, tip, (x, y) => {
      const j = Math.floor((x - pad) / wide), f = starts.findIndex((from) => y >= from && y < from + high);
      if (f < 0 || j < 0 || j >= map.columns) return "";
      const v = map.cells[f * map.columns + j];
      return "factor " + (f + 1) + ": " + (v === 0 ? "w 0" : "w " + (Math.abs(v) === 100 ? (v > 0 ? "≥ " : "≤ ") : "≈ ") + short((v / 100) * map.limit));
    });
  }

  // A colour for each study that none of its neighbours has.
  const hue = (i, of) => "hsl(" + Math.round((360 * i) / Math.max(of, 1) + 200) % 360 + " " + (dark.matches && !printing ? "70% 65%" : "75% 40%") + ")";
  function cloud(box, points, studies) {
    const canvas = box.querySelector("canvas"), pad = 84, inner = 760, side = pad + inner + 10;
    canvas.width = side; canvas.height = side;
    const bounds = (v) => { const low = Math.min(...v), high = Math.max(...v), room = 0.05 * (high - low) || 1; return [low - room, high + room]; };
    const xs = bounds(points.x), ys = bounds(points.y);
    const ticks = ([low, high]) => {
      const raw = (high - low) / 5, power = Math.pow(10, Math.floor(Math.log10(raw))), step = [1, 2, 5, 10].find((m) => m * power >= raw) * power, out = [];
      for (let v = Math.ceil(low / step) * step; v <= high; v += step) out.push([v, tick(Math.abs(v) < step / 1e6 ? 0 : v, step).replace("-", "−")]);
      return out;
    };
    const draw = () => {
      const c = colours(), pen = canvas.getContext("2d");
      const left = (v) => pad + ((v - xs[0]) / (xs[1] - xs[0])) * inner, up = (v) => 10 + inner - ((v - ys[0]) / (ys[1] - ys[0])) * inner;
      pen.clearRect(0, 0, side, side);
      pen.font = "20px system-ui, sans-serif"; pen.fillStyle = c.soft; pen.strokeStyle = c.grid; pen.lineWidth = 1;
      pen.textAlign = "center"; pen.textBaseline = "top";
      ticks(xs).forEach(([v, text]) => { pen.beginPath(); pen.moveTo(left(v), 10); pen.lineTo(left(v), 10 + inner); pen.stroke(); pen.fillText(text, left(v), 16 + inner); });
      pen.textAlign = "right"; pen.textBaseline = "middle";
      ticks(ys).forEach(([v, text]) => { pen.beginPath(); pen.moveTo(pad, up(v)); pen.lineTo(pad + inner, up(v)); pen.stroke(); pen.fillText(text, pad - 8, up(v)); });
      pen.strokeStyle = c.line; pen.strokeRect(pad - 0.5, 9.5, inner + 1, inner + 1);
      pen.textAlign = "center"; pen.fillText("code of factor " + points.factors[0], pad + inner / 2, side - 16);
      pen.save(); pen.translate(14, 10 + inner / 2); pen.rotate(-Math.PI / 2); pen.fillText("code of factor " + points.factors[1], 0, 0); pen.restore();
      pen.globalAlpha = 0.65;
      // Not study by study, so that no study hides the others.
      const order = points.x.map((_, i) => i).sort((a, b) => ((a * 7919) % 10007) - ((b * 7919) % 10007));
      for (const i of order) {
        pen.fillStyle = hue(points.study[i], studies.length);
        pen.beginPath(); pen.arc(left(points.x[i]), up(points.y[i]), 4.5, 0, 2 * Math.PI); pen.fill();
      }
      pen.globalAlpha = 1;
      box.parentNode.querySelectorAll(".key i").forEach((sample, m) => { sample.style.background = hue(m, studies.length); });
    };
    drawings.push(draw);
    draw();
  }
  if (data.studies) {
    const part = (name) => document.getElementById(name);
    if (part("mask")) mask(part("mask"), data.studies.map);
    if (part("cloud")) cloud(part("cloud"), data.studies.scatter, data.studies.studies);
  }

  // Cells where they lie, one slice beside the other, coloured by their part of one metagene.
  function tissue(figure, map, slices, parts) {
    const canvas = figure.querySelector("canvas"), scale = figure.querySelector(".scale canvas");
    const beside = Math.min(8, slices.length), side = 300, gap = 14, head = 34;
    const most = Math.max(1, ...slices.map((_, t) => map.batch.filter((b) => b === t).length));
    const radius = Math.max(1.5, Math.min(11, 0.55 * side / Math.sqrt(most)));
    // A row is as tall as its tallest slice.
    const tops = [], lows = [];
    let tall = 0;
    for (let t = 0; t < slices.length; t += beside) {
      const ys = map.y.filter((_, i) => map.batch[i] >= t && map.batch[i] < t + beside);
      const high = Math.max(...ys, 0), low = Math.min(...ys, 1000);
      tops.push(tall + head); lows.push(high);
      tall += head + (Math.max(0, high - low) / 1000) * (side - 2 * radius) + 2 * radius + gap;
    }
    canvas.width = beside * (side + gap) - gap; canvas.height = Math.max(1, tall - gap);
    const draw = () => {
      const c = colours(), pen = canvas.getContext("2d"), faint = mix(c.zero, c.plus, 0.09);
      pen.clearRect(0, 0, canvas.width, canvas.height);
      const left = (i) => (map.batch[i] % beside) * (side + gap) + radius + (map.x[i] / 1000) * (side - 2 * radius);
      const top = (i) => { const row = Math.floor(map.batch[i] / beside); return tops[row] + radius + ((lows[row] - map.y[i]) / 1000) * (side - 2 * radius); };
      pen.fillStyle = c.soft; pen.font = "24px system-ui, sans-serif"; pen.textBaseline = "top";
      slices.forEach(({ name }, t) => {
        let text = name;
        while (text.length > 2 && pen.measureText(text).width > side) text = text.slice(0, -2) + "…";
        pen.fillText(text, (t % beside) * (side + gap), tops[Math.floor(t / beside)] - head + 2);
      });
      // High values last, so that they are not hidden.
      const order = parts.map((_, i) => i).sort((a, b) => parts[a] - parts[b]);
      for (const i of order) {
        pen.fillStyle = "rgb(" + mix(faint, c.plus, parts[i] / 100).join(",") + ")";
        pen.beginPath(); pen.arc(left(i), top(i), radius, 0, 2 * Math.PI); pen.fill();
      }
      ramp(scale, 0, (v) => mix(faint, c.plus, v / 100));
    };
    drawings.push(draw);
    draw();
  }

  // Cells of a picture without axes, in the colours of their group.
  function cells(box, picture, group, groups) {
    const canvas = box.querySelector("canvas"), side = 840, pad = 14, inner = side - 2 * pad;
    const low = Math.min(...picture.y), high = Math.max(...picture.y);
    // As tall as the points need.
    const tall = Math.max(0.45, (high - low) / 1000) * inner, mid = (low + high) / 2;
    canvas.width = side; canvas.height = tall + 2 * pad;
    const radius = Math.max(2.5, Math.min(6, 180 / Math.sqrt(picture.x.length)));
    const draw = () => {
      const c = colours(), pen = canvas.getContext("2d");
      pen.clearRect(0, 0, canvas.width, canvas.height);
      pen.strokeStyle = c.grid; pen.lineWidth = 2; pen.strokeRect(1, 1, canvas.width - 2, canvas.height - 2);
      pen.globalAlpha = 0.75;
      // Not group by group, so that no group hides the others.
      const order = picture.x.map((_, i) => i).sort((a, b) => ((a * 7919) % 10007) - ((b * 7919) % 10007));
      for (const i of order) {
        pen.fillStyle = hue(group[i], groups);
        pen.beginPath(); pen.arc(pad + (picture.x[i] / 1000) * inner, canvas.height / 2 - ((picture.y[i] - mid) / 1000) * inner, radius, 0, 2 * Math.PI); pen.fill();
      }
      pen.globalAlpha = 1;
      box.parentNode.querySelectorAll(".key i").forEach((sample, m) => { sample.style.background = hue(m, groups); });
    };
    drawings.push(draw);
    draw();
  }

  // Λ: a square for each pair of metagenes.
  function affinity(box, map, k) {
    const canvas = box.querySelector("canvas"), tip = box.querySelector(".tip"), pad = 44, inner = 760, side = pad + inner + 4, unit = inner / k;
    canvas.width = side; canvas.height = side;
    const draw = () => {
      const c = colours(), pen = canvas.getContext("2d");
      pen.clearRect(0, 0, side, side);
      for (let i = 0; i < k; i++) for (let j = 0; j < k; j++) {
        pen.fillStyle = "rgb(" + shade(c, map.cells[i * k + j]).join(",") + ")";
        const x = Math.floor(pad + j * unit), y = Math.floor(pad + i * unit);
        pen.fillRect(x, y, Math.floor(pad + (j + 1) * unit) - x, Math.floor(pad + (i + 1) * unit) - y);
      }
      pen.strokeStyle = c.line; pen.lineWidth = 1; pen.strokeRect(pad - 0.5, pad - 0.5, inner + 1, inner + 1);
      pen.fillStyle = c.soft; pen.font = "22px system-ui, sans-serif"; pen.textAlign = "center"; pen.textBaseline = "middle";
      const every = Math.ceil(30 / unit);
      for (let f = 0; f < k; f += every) { pen.fillText(String(f + 1), pad + (f + 0.5) * unit, pad - 20); pen.fillText(String(f + 1), pad - 22, pad + (f + 0.5) * unit); }
      ramp(box.parentNode.querySelector(".scale canvas"), -100, (v) => shade(c, v));
    };
    drawings.push(draw);
    draw();
    hover(canvas, tip, (x, y) => {
      const j = Math.floor((x - pad) / unit), i = Math.floor((y - pad) / unit);
      if (i < 0 || j < 0 || i >= k || j >= k) return "";
      return (i + 1) + " and " + (j + 1) + ": Λ ≈ " + short((map.cells[i * k + j] / 100) * map.limit);
    });
  }
  if (data.slices) {
    const { map, batches, metagenes, pictured, pictures, labels, affinities } = data.slices;
    metagenes.forEach((_, f) => {
      const canvas = document.getElementById("tissue-" + f);
      if (canvas) tissue(canvas.parentNode, map, batches, map.parts[f]);
    });
    pictures.forEach((picture, at) => {
      const by = document.getElementById("cells-batch-" + at), known = document.getElementById("cells-label-" + at);
      if (by) cells(by, picture, pictured.map((i) => map.batch[i]), batches.length);
      if (known) cells(known, picture, pictured.map((i) => labels.codes[i]), labels.titles.length);
    });
    affinities.forEach((a, at) => {
      const box = document.getElementById("affinity-" + at);
      if (box) affinity(box, a, metagenes.length);
    });
  }

  // One small chart without a legend.
  function small(box, x, curves, label, upright) {
    const known = curves.flatMap((s) => s.values).filter((v) => v !== null);
    if (!x.length || !known.length) return;
    const low = Math.min(0, ...known), high = Math.max(...known), room = ((x[x.length - 1] - x[0]) || 1) * 0.03;
    chart(box, 136, (c) => {
      const [across, up] = axes(c, label, "", undefined, false);
      return [{
        scales: { x: { time: false, range: [x[0] - room, x[x.length - 1] + room] }, y: { range: [low, high > low ? high + 0.08 * (high - low) : low + 1] } },
        axes: [{ ...across, labelSize: 16, size: 28, space: 40 }, { ...up, label: upright, labelSize: 16, labelGap: 2, size: 44, space: 24 }],
        legend: { show: false }, cursor: { show: false },
        series: [{}, ...curves.map((s) => ({ stroke: c.series[s.colour], width: s.thin ? 1.5 : 2, dash: s.thin ? [4, 4] : undefined, points: { show: false } }))],
      }, [x, ...curves.map((s) => s.values)]];
    });
  }
  (data.maps || []).forEach((figure, at) => {
    const bars = document.getElementById("stretch-" + at);
    if (bars && figure.stretches.length) {
      const centre = figure.stretches.map((b) => (b.from + b.to) / 2), width = figure.stretches[0].to - figure.stretches[0].from;
      chart(bars, 220, (c) => [{
        scales: { x: { time: false, range: [centre[0] - width, centre[centre.length - 1] + width] }, y: { range: (_, lo, hi) => [0, Math.max(1, hi * 1.08)] } },
        axes: axes(c, "stretch, log₂", "maps", undefined, false),
        series: [{ label: "stretch", value: (_, v) => short(v) }, { label: "maps", stroke: c.fill, fill: c.fill, value: (_, v) => (v === null ? "–" : String(v)), paths: uPlot.paths.bars({ size: [0.9, 60] }), points: { show: false } }],
      }, [centre, figure.stretches.map((b) => b.count || null)]]);
    }
    figure.curves.forEach((curve, i) => {
      const part = (name) => document.getElementById(name + "-" + at + "-" + i);
      if (part("map")) small(part("map"), curve.x, [{ values: curve.y, colour: 0 }], "signal z, in standard units", "value T(z)");
      const truth = curve.truth ? [{ values: curve.truth, colour: 1, thin: true }] : [];
      if (part("quantiles")) small(part("quantiles"), curve.levels, [{ values: curve.quantiles, colour: 0 }, ...truth], "cumulative weight", "quantile");
    });
  });

  const redraw = () => drawings.forEach((draw) => draw());
  let wait = 0, width = window.innerWidth;
  window.addEventListener("resize", () => {
    if (window.innerWidth === width) return;
    width = window.innerWidth;
    clearTimeout(wait); wait = setTimeout(redraw, 120);
  });
  dark.addEventListener("change", redraw);
  window.addEventListener("beforeprint", () => { printing = true; redraw(); });
  window.addEventListener("afterprint", () => { printing = false; redraw(); });
})();
