// Draws a report's charts from the data in its page. Nothing is loaded: the plotting library is in the page, gzipped.
(async () => {
  "use strict";
  const element = (id) => document.getElementById(id);
  const data = JSON.parse(element("payload").textContent);
  const text = (key) => data.texts[key];
  const narrow = () => window.innerWidth < 720;
  const touch = window.matchMedia("(pointer: coarse)").matches;

  async function unzipped(base64) {
    const raw = atob(base64);
    const bytes = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
  }

  // The reverse of price_series.packed: planes of bytes to int32 differences to values.
  async function unpacked(base64) {
    const planes = new Uint8Array(await unzipped(base64));
    const count = planes.length / 4;
    const values = new Float64Array(count);
    for (let i = 0, last = 0; i < count; i++) {
      last += planes[i] | (planes[count + i] << 8) | (planes[2 * count + i] << 16) | (planes[3 * count + i] << 24);
      values[i] = last;
    }
    return values;
  }

  function color(name) {
    return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  }

  function faded(name, alpha) {
    return `rgba(${color(name).split(/\s+/).join(",")},${alpha})`;
  }

  function layout(extra) {
    const axis = { gridcolor: color("--faint"), linecolor: color("--line"), zerolinecolor: color("--line"), automargin: true, tickfont: { size: 11.5 } };
    const spike = { spikethickness: 1, spikecolor: color("--candle"), spikedash: "dot" };
    const family = getComputedStyle(document.body).fontFamily;
    const base = {
      font: { family, size: 12, color: color("--soft") },
      paper_bgcolor: color("--panel"), plot_bgcolor: color("--panel"),
      margin: { l: 8, r: 8, t: 8, b: 8 }, showlegend: false, hovermode: "x unified", dragmode: touch ? false : "zoom",
      hoverlabel: { bgcolor: color("--panel"), bordercolor: color("--line"), font: { family, color: color("--text"), size: 12 } },
      modebar: { bgcolor: "rgba(0,0,0,0)", color: color("--line"), activecolor: color("--accent") },
      legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 12 } },
    };
    const result = { ...base, ...extra };
    for (const key of Object.keys(extra)) {
      if (/^[xy]axis/.test(key)) result[key] = { ...axis, ...(key[0] === "x" ? spike : {}), ...extra[key] };
    }
    return result;
  }

  const dates = () => ({ type: "date", tickformat: "%Y-%m", hoverformat: "%Y-%m-%d", tickformatstops: [
    { dtickrange: [null, 86400000 * 28], value: "%m-%d" }, { dtickrange: ["M12", null], value: "%Y" }] });
  const titled = (name, unit) => ({ text: unit ? `${name} (${unit})` : name, font: { size: 12 }, standoff: 6 });

  function draw(id, traces, shape, options = {}) {
    const config = {
      responsive: true, displaylogo: false, displayModeBar: false, locale: data.language, doubleClick: "reset", showTips: false,
      ...options,
    };
    return Plotly.react(element(id), traces, layout(shape), config);
  }

  function equity() {
    const series = data.equity;
    if (!element("chart-equity") || !series.date.length) return;
    const shapes = series.worst.length ? [{
      type: "rect", xref: "x", yref: "paper", x0: series.worst[0], x1: series.worst[1], y0: 0, y1: 1, line: { width: 0 },
      fillcolor: faded("--loss-rgb", 0.07), layer: "below" }] : [];
    shapes.push({ type: "line", xref: "paper", x0: 0, x1: 1, yref: "y", y0: series.capital, y1: series.capital, line: { color: color("--candle"), width: 1, dash: "dot" }, layer: "below" });
    draw("chart-equity", [
      { x: series.date, y: series.balance, name: text("balance"), mode: "lines", line: { color: color("--accent"), width: 2 }, hovertemplate: "%{y:,.0f}" },
      { x: series.date, y: series.held, name: text("price_rebased"), mode: "lines", line: { color: color("--candle"), width: 1.2 }, visible: "legendonly", hovertemplate: "%{y:,.0f}" },
      { x: series.date, y: series.drawdown, name: text("drawdown"), mode: "lines", yaxis: "y2", fill: "tozeroy", fillcolor: faded("--loss-rgb", 0.18), line: { color: color("--loss"), width: 1.2 }, hovertemplate: "%{y:.2f}%", showlegend: false },
    ], {
      shapes, showlegend: true, hoversubplots: "axis",
      xaxis: { ...dates(), anchor: "y2" },
      yaxis: { domain: [0.34, 1], title: titled(text("balance"), data.currency), tickformat: ",.0f", fixedrange: true },
      yaxis2: { domain: [0, 0.28], title: titled(text("drawdown"), "%"), ticksuffix: "%", rangemode: "tozero", nticks: 4, fixedrange: true },
    });
  }

  function daily() {
    const series = data.daily;
    if (!element("chart-daily") || !series.net.length) return;
    const gain = (value) => (value >= 0 ? color("--gain") : color("--loss"));
    draw("chart-daily", [{ type: "bar", x: data.equity.date, y: series.net, name: text("net_pnl"), marker: { color: series.net.map(gain), line: { width: 0 } }, hovertemplate: "%{y:,.0f}" }], {
      bargap: 0.1, xaxis: dates(), yaxis: { title: titled(text("net_pnl"), data.currency), tickformat: ",.0f", fixedrange: true },
    });
    draw("chart-distribution", [{ type: "bar", x: series.centres, y: series.counts, width: series.width * 0.92, name: text("days_count"), marker: { color: series.centres.map(gain) }, hovertemplate: "%{y}" }], {
      xaxis: { title: titled(text("net_pnl"), data.currency), tickformat: ",.0f", nticks: 6 },
      yaxis: { title: titled(text("days_axis")), fixedrange: true },
      shapes: [{ type: "line", x0: series.mean, x1: series.mean, yref: "paper", y0: 0, y1: 1, line: { color: color("--text"), width: 1, dash: "dot" } }],
      annotations: [{ x: series.mean, yref: "paper", y: 1, yanchor: "top", xanchor: "left", xshift: 4, showarrow: false, text: text("mean"), font: { size: 11, color: color("--soft") } }],
    });
  }

  function costs() {
    if (!element("chart-costs") || !data.costs) return;
    const [gross, commission, slippage, net] = data.costs.map((row) => row[1]);
    const bases = [0, gross, gross + commission, 0];
    draw("chart-costs", [{
      type: "bar", x: data.costs.map((row) => row[0]), y: [gross, commission, slippage, net], base: bases, hovertemplate: "%{customdata:,.0f}<extra></extra>",
      customdata: [gross, commission, slippage, net],
      marker: { color: [color("--candle"), faded("--loss-rgb", 0.75), faded("--loss-rgb", 0.75), net >= 0 ? color("--gain") : color("--loss")] },
    }], { bargap: 0.45, hovermode: "closest", xaxis: { fixedrange: true }, yaxis: { title: titled(data.currency), tickformat: ",.0f", nticks: 5, fixedrange: true } });
  }

  // The price chart: candles are made from the rows in view, so that there are never more than fit.
  class PriceChart {
    static async make(series) {
      const columns = {};
      for (const name of ["time", "open", "high", "low", "close"]) columns[name] = await unpacked(series[name]);
      for (const name of ["open", "high", "low", "close"]) columns[name] = columns[name].map((value) => value * series.step);
      const trades = { count: series.trades.count };
      for (const name of ["row", "time", "kind", "price", "milliVolume"]) trades[name] = await unpacked(series.trades[name]);
      const trips = { count: series.trips.count };
      for (const name of ["openRow", "closeRow", "open", "close", "net"]) trips[name] = await unpacked(series.trips[name]);
      return new PriceChart(series, columns, trades, trips);
    }

    constructor(series, columns, trades, trips) {
      Object.assign(this, { series, columns, trades, trips });
      this.count = columns.time.length;
      this.div = element("chart-price");
      this.view = [-0.5, this.count - 0.5];
      this.dayStarts = [];
      for (let row = 0, last = NaN; row < this.count; row++) {
        const day = Math.floor(columns.time[row] / 86400);
        if (day !== last) this.dayStarts.push(row);
        last = day;
      }
      this.positions = new Float64Array(trades.count);
      for (let i = 0, position = 0; i < trades.count; i++) {
        position += (trades.kind[i] < 2 ? 1 : -1) * trades.milliVolume[i] / 1000;
        this.positions[i] = Math.round(position * 1000) / 1000;
      }
      this.wire();
    }

    wire() {
      for (const button of document.querySelectorAll("[data-days]")) button.onclick = () => this.showDays(Number(button.dataset.days));
      for (const button of document.querySelectorAll("[data-move]")) button.onclick = () => this.shift(Number(button.dataset.move));
      for (const button of document.querySelectorAll("[data-scale]")) button.onclick = () => this.scale(Number(button.dataset.scale));
    }

    show(from, to) {
      const span = Math.min(Math.max(to - from, 12), this.count);
      const start = Math.min(Math.max((from + to - span) / 2, -0.5), this.count - 0.5 - span);
      this.view = [start, start + span];
      this.draw();
    }

    showDays(days) {
      if (!days) return this.show(-0.5, this.count - 0.5);
      const to = Math.min(Math.round(this.view[1]), this.count - 1);
      const begin = this.columns.time[to] - days * 86400;
      let from = to;
      while (from > 0 && this.columns.time[from - 1] > begin) from--;
      // A day without a session before it: go on to one that has rows.
      return this.show(from - 0.5, to + 0.5);
    }

    shift(direction) {
      const span = this.view[1] - this.view[0];
      this.show(this.view[0] + direction * span * 0.6, this.view[1] + direction * span * 0.6);
    }

    scale(factor) {
      const middle = (this.view[0] + this.view[1]) / 2;
      const half = (this.view[1] - this.view[0]) / 2 * factor;
      this.show(middle - half, middle + half);
    }

    stamp(seconds) {
      const iso = new Date(seconds * 1000).toISOString();
      return this.series.daily ? iso.slice(0, 10) : iso.slice(0, iso.slice(17, 19) === "00" ? 16 : 19).replace("T", " ");
    }

    // Rows to write the time under: firsts of years, months, days, or, close up, evenly spaced.
    ticks() {
      const [from, to] = this.view;
      const most = Math.max(3, Math.floor(this.div.clientWidth / 110));
      const days = this.dayStarts.filter((row) => row >= from && row <= to);
      const of = (row, length) => new Date(this.columns.time[row] * 1000).toISOString().slice(0, length);
      const changes = (length) => days.filter((row, i) => i > 0 ? of(row, length) !== of(days[i - 1], length) : row > 0 && of(row, length) !== of(row - 1, length));
      for (const [rows, begin, end] of [[days, 5, 10], [changes(7), 0, 7], [changes(4), 0, 4]]) {
        if (rows.length > most) {
          if (rows === days) continue;
          const every = Math.ceil(rows.length / most);
          if (every <= 6) return [rows.filter((_, i) => i % every === 0), rows.filter((_, i) => i % every === 0).map((row) => of(row, 10).slice(begin, end))];
        } else if (rows.length >= 3) return [rows, rows.map((row) => of(row, 10).slice(begin, end))];
      }
      const rows = [];
      const first = Math.max(0, Math.ceil(from)), last = Math.min(this.count - 1, Math.floor(to));
      const step = Math.max(1, Math.floor((last - first) / Math.min(most, 6)));
      for (let row = first + Math.floor(step / 2); row <= last; row += step) rows.push(row);
      const intraday = last - first > 0 && this.columns.time[last] - this.columns.time[first] < 86400 * 5 && !this.series.daily;
      return [rows, rows.map((row) => intraday ? this.stamp(this.columns.time[row]).slice(5) : of(row, 10))];
    }

    candles() {
      const { open, high, low, close, time } = this.columns;
      const most = Math.min(320, Math.max(70, Math.floor(this.div.clientWidth / 4)));
      const first = Math.max(0, Math.floor(this.view[0])), last = Math.min(this.count - 1, Math.ceil(this.view[1]));
      const group = Math.max(1, Math.ceil((last - first + 1) / most));
      const out = { group, x: [], open: [], high: [], low: [], close: [], middle: [], label: [] };
      for (let row = Math.floor(first / group) * group; row <= last; row += group) {
        const end = Math.min(row + group, this.count);
        if (row + (group - 1) / 2 < this.view[0]) continue;
        let top = high[row], bottom = low[row];
        for (let i = row + 1; i < end; i++) {
          if (high[i] > top) top = high[i];
          if (low[i] < bottom) bottom = low[i];
        }
        out.x.push(row + (group - 1) / 2);
        out.open.push(open[row]); out.high.push(top); out.low.push(bottom); out.close.push(close[end - 1]);
        out.middle.push((top + bottom) / 2);
        const value = (number) => number.toLocaleString("en", { minimumFractionDigits: this.series.decimals, maximumFractionDigits: this.series.decimals });
        out.label.push(`<b>${this.stamp(time[row])}</b><br>${text("open")} ${value(open[row])}<br>${text("high")} ${value(top)}<br>${text("low")} ${value(bottom)}<br>${text("close")} ${value(close[end - 1])}`);
      }
      return out;
    }

    // Trades of one kind within one candle are one marker: at their average price, or, where there are many, beside the
    // candle, so that they do not hide the price.
    markers(candles) {
      const group = candles.group;
      const place = new Map(candles.x.map((x, i) => [x, i]));
      const gap = (Math.max(...candles.high) - Math.min(...candles.low)) * 0.018;
      const kinds = [0, 1, 2, 3].map(() => ({ x: [], y: [], label: [] }));
      const merged = new Map();
      const { row, kind, price, milliVolume, time } = this.trades;
      for (let i = 0; i < this.trades.count; i++) {
        if (row[i] < this.view[0] - group || row[i] > this.view[1] + group) continue;
        const key = Math.floor(row[i] / group) * 4 + kind[i];
        const one = merged.get(key) || { count: 0, volume: 0, value: 0, time: time[i] };
        one.count++; one.volume += milliVolume[i] / 1000; one.value += milliVolume[i] / 1000 * price[i] * this.series.step;
        merged.set(key, one);
      }
      const beside = merged.size > Math.max(40, this.div.clientWidth / 10);
      const names = ["buy_open", "buy_close", "sell_open", "sell_close"].map(text);
      for (const [key, one] of merged) {
        const of = kinds[key % 4];
        const at = one.value / one.volume;
        const x = Math.floor(key / 4) * group + (group - 1) / 2;
        const i = place.get(x);
        if (i === undefined) continue;
        of.x.push(x);
        of.y.push(!beside ? at : key % 4 < 2 ? candles.low[i] - gap : candles.high[i] + gap);
        const volume = Number(one.volume.toFixed(3)).toLocaleString("en");
        const average = at.toLocaleString("en", { maximumFractionDigits: this.series.decimals + 1 });
        of.label.push(`<b>${names[key % 4]}</b> ${volume} × ${average}<br>${this.stamp(one.time)}${one.count > 1 ? `<br>${one.count} ${text("trades_here")}` : ""}`);
      }
      return { kinds, beside };
    }

    links(group) {
      const { openRow, closeRow, open, close, net } = this.trips;
      const inView = [];
      for (let i = 0; i < this.trips.count; i++) {
        if (closeRow[i] >= this.view[0] && openRow[i] <= this.view[1]) inView.push(i);
      }
      const lines = [{ x: [], y: [] }, { x: [], y: [] }];
      for (const i of inView) {
        const line = lines[net[i] >= 0 ? 0 : 1];
        const centre = (value) => Math.floor(value / group) * group + (group - 1) / 2;
        line.x.push(centre(openRow[i]), centre(closeRow[i]), null);
        line.y.push(open[i] * this.series.step, close[i] * this.series.step, null);
      }
      return lines;
    }

    held(candles) {
      const out = [];
      let next = 0, position = 0;
      for (const x of candles.x) {
        const end = x + (candles.group - 1) / 2;
        while (next < this.trades.count && this.trades.row[next] <= end) position = this.positions[next++];
        out.push(position);
      }
      return out;
    }

    draw() {
      const candles = this.candles();
      this.group = candles.group;
      const { kinds, beside } = this.markers(candles);
      const [won, lost] = beside ? [{ x: [], y: [] }, { x: [], y: [] }] : this.links(candles.group);
      const [tickvals, ticktext] = this.ticks();
      const margin = (this.view[1] - this.view[0]) * 0.008;
      const looks = [
        // Closings first and larger: a flip shows as an opening inside its closing.
        [1, "buy_close", "triangle-up", "--gain", true], [3, "sell_close", "triangle-down", "--loss", true],
        [0, "buy_open", "triangle-up", "--gain", false], [2, "sell_open", "triangle-down", "--loss", false]];
      const size = beside ? 5 : narrow() ? 8 : 10;
      const line = this.series.daily || candles.open.every((value, i) => value === candles.close[i]);
      const traces = [
        line
          ? { x: candles.x, y: candles.close, mode: "lines", line: { color: color("--candle"), width: 1.3 }, hoverinfo: "skip", showlegend: false }
          : { type: "candlestick", x: candles.x, open: candles.open, high: candles.high, low: candles.low, close: candles.close, hoverinfo: "skip", showlegend: false,
              increasing: { line: { color: color("--candle"), width: 1 }, fillcolor: color("--panel") }, decreasing: { line: { color: color("--candle"), width: 1 }, fillcolor: color("--candle") } },
        { x: candles.x, y: candles.middle, text: candles.label, mode: "markers", marker: { size: 12, opacity: 0 }, hovertemplate: "%{text}<extra></extra>", showlegend: false },
        { ...won, mode: "lines", line: { color: color("--gain"), width: 1.4, dash: "dot" }, hoverinfo: "skip", showlegend: false },
        { ...lost, mode: "lines", line: { color: color("--loss"), width: 1.4, dash: "dot" }, hoverinfo: "skip", showlegend: false },
        ...looks.map(([kind, key, symbol, paint, hollow]) => ({
          x: kinds[kind].x, y: kinds[kind].y, text: kinds[kind].label, name: text(key), mode: "markers", hovertemplate: "%{text}<extra></extra>", showlegend: true, legendrank: kind,
          marker: { symbol, size: hollow ? size + (beside ? 3 : 5) : size, color: hollow ? color("--panel") : color(paint), line: { color: hollow ? color(paint) : color("--panel"), width: hollow ? (beside ? 1 : 1.6) : (beside ? 0 : 0.8) } } })),
        { x: candles.x, y: this.held(candles), yaxis: "y2", mode: "lines", line: { shape: "hvh", color: color("--accent"), width: 1.2 }, fill: "tozeroy", fillcolor: translucent(color("--accent"), 0.18), name: text("position"), showlegend: false, hovertemplate: "%{y:,}<extra></extra>" },
      ];
      Plotly.react(this.div, traces, layout({
        showlegend: true, hovermode: "closest", hoverdistance: 60,
        xaxis: { range: [this.view[0] - margin, this.view[1] + margin], tickvals, ticktext, anchor: "y2", rangeslider: { visible: false }, zeroline: false, showgrid: true, tickangle: 0 },
        yaxis: { domain: [0.25, 1], title: titled(text("price_axis"), data.currency), tickformat: ",", fixedrange: true, autorange: true },
        yaxis2: { domain: [0, 0.18], title: { text: `${text("position")}<br>(${text("contracts")})`, font: { size: 12 }, standoff: 6 }, fixedrange: true, autorange: true, rangemode: "tozero", nticks: 4 },
      }), { responsive: true, displaylogo: false, displayModeBar: false, doubleClick: false, locale: data.language, showTips: false });
      if (!this.listening) {
        this.listening = true;
        this.div.on("plotly_relayout", (change) => {
          const from = change["xaxis.range[0]"] ?? change["xaxis.range"]?.[0];
          const to = change["xaxis.range[1]"] ?? change["xaxis.range"]?.[1];
          if (from !== undefined && to !== undefined) this.show(Number(from), Number(to));
        });
        this.div.on("plotly_doubleclick", () => this.show(-0.5, this.count - 0.5));
      }
      this.div.dataset.view = this.view.join(",");
    }
  }

  function translucent(hex, alpha) {
    const [r, g, b] = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
    return `rgba(${r},${g},${b},${alpha})`;
  }

  function runs() {
    if (!element("chart-runs")) return;
    const dashes = ["solid", "dash", "dot", "dashdot"];
    const traces = (key) => data.runs.map((run, i) => ({
      x: run.date, y: run[key], name: run.name, mode: "lines", line: { color: color(`--run-${i % 8}`), width: 1.8, dash: dashes[Math.floor(i / 8) % 4] }, hovertemplate: "%{y:.2f}%" }));
    draw("chart-runs", traces("return"), { showlegend: data.runs.length <= 12 && !narrow(), xaxis: dates(), yaxis: { title: titled(text("returns_over_time"), "%"), ticksuffix: "%", fixedrange: true } });
    draw("chart-drawdowns", traces("drawdown"), { xaxis: dates(), yaxis: { title: titled(text("drawdown"), "%"), ticksuffix: "%", rangemode: "tozero", fixedrange: true } });
  }

  function heatMap() {
    if (!element("chart-map")) return;
    const across = Number(element("across")?.value ?? 0), down = Number(element("down")?.value ?? 1);
    const value = (point) => point[point.length - 1];
    const ordered = (column) => [...new Set(data.points.map((point) => point[column]))].sort((a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a) < String(b) ? -1 : 1));
    if (data.parameters.length === 1) {
      const points = [...data.points].sort((a, b) => (a[0] < b[0] ? -1 : 1));
      const numeric = points.every((point) => typeof point[0] === "number");
      draw("chart-map", [{ x: points.map((point) => point[0]), y: points.map(value), mode: "lines+markers", line: { color: color("--accent"), width: 1.6 }, marker: { size: 6 }, name: data.target, hovertemplate: "%{y:,.4f}" }],
        { xaxis: { title: titled(data.parameters[0]), type: numeric ? "linear" : "category" }, yaxis: { title: titled(data.target), fixedrange: true } });
      return;
    }
    const xs = ordered(across), ys = ordered(down);
    const cells = ys.map(() => xs.map(() => null));
    for (const point of data.points) {
      const row = cells[ys.indexOf(point[down])], at = xs.indexOf(point[across]);
      if (row[at] === null || value(point) > row[at]) row[at] = value(point);
    }
    const best = data.points.reduce((a, b) => (value(b) > value(a) ? b : a));
    draw("chart-map", [
      { type: "heatmap", x: xs.map(String), y: ys.map(String), z: cells, colorscale: "Cividis", xgap: 1, ygap: 1, colorbar: { title: { text: data.target, side: "right" }, thickness: 12, outlinewidth: 0 }, hovertemplate: `${data.parameters[across]} %{x}<br>${data.parameters[down]} %{y}<br><b>%{z:,.4f}</b><extra></extra>` },
      { x: [String(best[across])], y: [String(best[down])], mode: "markers", marker: { symbol: "circle-open", size: 16, color: "#fff", line: { width: 2.5, color: "#fff" } }, hoverinfo: "skip" },
    ], { hovermode: "closest", xaxis: { type: "category", title: titled(data.parameters[across]), showgrid: false, fixedrange: true }, yaxis: { type: "category", title: titled(data.parameters[down]), showgrid: false, fixedrange: true } });
  }

  let price = null;
  function all() {
    if (data.equity) { equity(); daily(); costs(); }
    if (price) price.draw();
    if (data.runs) runs();
    if (data.points) heatMap();
  }

  try {
    const source = new TextDecoder().decode(await unzipped(element("library").textContent.trim()));
    const script = document.createElement("script");
    script.textContent = source;
    document.head.append(script);
    if (!window.Plotly) throw new Error("the plotting library did not start");
    if (data.price) price = await PriceChart.make(data.price);
  } catch (error) {
    element("unsupported").hidden = false;
    document.documentElement.dataset.charts = "failed";
    return;
  }
  all();
  for (const id of ["across", "down"]) element(id)?.addEventListener("change", heatMap);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
  // Paper is white, whatever the screen is.
  for (const [event, printing] of [["beforeprint", true], ["afterprint", false]]) {
    window.addEventListener(event, () => {
      document.documentElement.classList.toggle("printing", printing);
      all();
    });
  }
  let width = window.innerWidth;
  window.addEventListener("resize", () => {
    if (Math.abs(window.innerWidth - width) > 40) { width = window.innerWidth; if (price) price.draw(); }
  });
  document.documentElement.dataset.charts = "drawn";
})();
