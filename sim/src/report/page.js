// Shows some clients, or some events, alone, and one event in full. Without it the page shows all.
"use strict";
(function () {
  const root = document.documentElement;
  const all = (selector) => Array.from(document.querySelectorAll(selector));
  const svg = document.getElementById("timeline");
  const names = document.getElementById("names");
  const details = document.getElementById("details");
  const brokerX = Number(svg.dataset.broker), height = Number(svg.dataset.height), rowHeight = 22;
  const numbers = (element) => element.dataset.at.split(" ").map(Number);
  const clientOf = (element) => Number(element.dataset.client);
  const set = (element, values) => {
    for (const name in values) element.setAttribute(name, values[name]);
  };
  root.classList.add("script");

  const lanes = all("#names [data-client]");
  const laneX = new Map(lanes.map((lane) => [clientOf(lane), numbers(lane)[0]]));
  const rows = all(".row");
  const tops = rows.map((row) => numbers(row)[1] - rowHeight / 2);
  const arrows = new Map(all(".arrow").map((arrow) => [arrow.dataset.event, arrow]));
  const chosen = new Set();
  let mode = "all";

  const isShown = (client) => client < 0 || chosen.size === 0 || chosen.has(client);
  const isRowShown = (row) =>
    isShown(clientOf(row)) &&
    (mode === "all" || row.classList.contains("wrong") || (mode in row.dataset));

  // Where everything goes that was at a height, when rows above it are not shown.
  function mapping() {
    const shown = rows.map(isRowShown);
    const moved = [];
    let at = tops.length ? tops[0] : 0;
    tops.forEach((top, index) => {
      if (index > 0) at += top - tops[index - 1] - (shown[index - 1] ? 0 : rowHeight);
      moved.push(at);
    });
    return (y) => {
      let low = 0, high = tops.length;
      while (low < high) {
        const middle = (low + high) >> 1;
        if (tops[middle] <= y) low = middle + 1; else high = middle;
      }
      if (low === 0) return y;
      const index = low - 1, below = y - tops[index];
      return moved[index] + (shown[index] ? below : Math.max(0, below - rowHeight));
    };
  }

  // How far each lane moves when there are fewer of them.
  function shifts() {
    const shown = Array.from(laneX.keys()).filter(isShown);
    const step = Math.min(260, Math.max(58, 1300 / (shown.length + 1)));
    const moved = new Map();
    shown.forEach((client, index) => {
      const x = chosen.size === 0 ? laneX.get(client) : brokerX + step * (index + 1);
      moved.set(client, x - laneX.get(client));
    });
    return (client, x) => (client < 0 || x === brokerX ? x : x + (moved.get(client) || 0));
  }

  function arrange() {
    const toY = mapping(), toX = shifts();
    const show = (element, is) => { element.style.display = is ? "" : "none"; };
    let before = null;
    for (const row of rows) {
      const is = isRowShown(row), client = clientOf(row), [x, y] = numbers(row);
      show(row, is);
      if (!is) continue;
      row.setAttribute("transform", "translate(0 " + (toY(y) - y) + ")");
      row.querySelector(".who").setAttribute("transform", "translate(" + (toX(client, x) - x) + " 0)");
      const time = row.querySelector(".time");
      time.classList.toggle("same", time.textContent === before);
      before = time.textContent;
    }
    const rowOf = new Map(rows.map((row) => [row.dataset.event, row]));
    for (const [event, arrow] of arrows) {
      const [x1, y1, x2, y2] = numbers(arrow), client = clientOf(arrow), row = rowOf.get(event);
      show(arrow, row && isRowShown(row));
      set(arrow, { x1: toX(client, x1), y1: toY(y1), x2: toX(client, x2), y2: toY(y2) });
    }
    for (const line of all(".alive, .lane")) {
      const [x, from, to] = numbers(line), client = clientOf(line);
      show(line, isShown(client));
      set(line, { x1: toX(client, x), x2: toX(client, x), y1: toY(from), y2: toY(to) });
    }
    for (const band of all(".band")) {
      const [x, from, to] = numbers(band), client = clientOf(band);
      show(band, isShown(client));
      set(band, { x: toX(client, x), y: toY(from), height: Math.max(0, toY(to) - toY(from)) });
    }
    for (const label of all(".label")) {
      const [x, y] = numbers(label), client = clientOf(label);
      const [from, to] = (label.dataset.first || "0 0").split(" ").map(Number);
      const isWhole = mode === "all" && chosen.size === 0;
      const hasRoom = toY(to) - toY(from) > label.textContent.length * 6;
      show(label, isShown(client) && (isWhole || hasRoom));
      const at = [toX(client, x), toY(y)];
      set(label, { x: at[0], y: at[1], transform: "rotate(90 " + at.join(" ") + ")" });
    }
    for (const lane of lanes) {
      const client = clientOf(lane);
      show(lane, isShown(client));
      lane.setAttribute("x", toX(client, numbers(lane)[0]));
      const hasRoom = chosen.size > 0 && chosen.size < 3;
      lane.lastChild.textContent = hasRoom ? lane.dataset.long : lane.dataset.short;
    }
    for (const verdict of all(".verdict")) {
      const y = numbers(verdict)[0], row = rowOf.get(verdict.dataset.row);
      show(verdict, !row || isRowShown(row));
      verdict.setAttribute("transform", "translate(0 " + (toY(y) - y) + ")");
    }
    set(svg, { height: toY(height) });
    for (const button of all("button[data-client]")) {
      const client = clientOf(button);
      button.setAttribute("aria-pressed", client < 0 ? chosen.size === 0 : chosen.has(client));
    }
    for (const button of all("button[data-mode]")) {
      button.setAttribute("aria-pressed", button.dataset.mode === mode);
    }
  }

  function choose(client) {
    if (client < 0) chosen.clear();
    else if (!chosen.delete(client)) chosen.add(client);
    keepInView(arrange);
  }

  // What was in the middle stays there, if it is still shown.
  function keepInView(change) {
    const middle = innerHeight / 2;
    const near = (row) => Math.abs(row.getBoundingClientRect().top - middle);
    const candidates = rows.filter((row) => row.style.display !== "none");
    candidates.sort((a, b) => near(a) - near(b));
    const marked = document.querySelector(".row.on") || document.getElementById("violation");
    const tops = candidates.slice(0, 200).map((row) => [row, row.getBoundingClientRect().top]);
    const isFar = scrollY < 40;
    change();
    const kept = tops.find(([row]) => row.style.display !== "none");
    if (isFar) return;
    if (kept) scrollBy(0, kept[0].getBoundingClientRect().top - kept[1]);
    else if (marked) bring(marked);
  }

  function open(row) {
    all(".on").forEach((element) => element.classList.remove("on"));
    if (!row) return details.classList.remove("shown");
    row.classList.add("on");
    const arrow = arrows.get(row.dataset.event);
    if (arrow) arrow.classList.add("on");
    details.querySelector("b").textContent = row.querySelector("title").textContent.trim();
    details.querySelector("pre").textContent = JSON.stringify(JSON.parse(row.dataset.json), null, 1);
    details.classList.add("shown");
  }

  // Scrolls down to an element, and sideways only if words would be out of sight.
  function bring(element, words) {
    const place = words ? words.getBoundingClientRect() : { left: 0, right: 0 };
    const isSeen = place.right + scrollX < innerWidth;
    const left = isSeen ? 0 : place.left + scrollX - innerWidth / 2;
    scrollTo(left, element.getBoundingClientRect().top + scrollY - innerHeight / 2);
  }

  function next(by) {
    const shown = rows.filter((row) => row.classList.contains("wrong") && isRowShown(row));
    if (shown.length === 0) return;
    const now = shown.indexOf(document.querySelector(".row.on"));
    const index = now < 0 ? (by > 0 ? 0 : shown.length - 1) : (now + by + shown.length) % shown.length;
    open(shown[index]);
    const words = shown[index].querySelector(".words");
    bring(words, words);
  }

  for (const row of rows) {
    const arrow = arrows.get(row.dataset.event);
    row.addEventListener("click", () => open(row.classList.contains("on") ? null : row));
    if (!arrow) continue;
    row.addEventListener("mouseenter", () => arrow.classList.add("on"));
    row.addEventListener("mouseleave", () => {
      if (!row.classList.contains("on")) arrow.classList.remove("on");
    });
  }
  for (const element of all("[data-client].pick")) {
    element.addEventListener("click", () => choose(clientOf(element)));
  }
  for (const button of all("button[data-mode]")) {
    button.addEventListener("click", () => { mode = button.dataset.mode; keepInView(arrange); });
  }
  all("button[data-next]").forEach((b) => b.addEventListener("click", () => next(Number(b.dataset.next))));
  details.querySelector("button").addEventListener("click", () => open(null));
  addEventListener("keydown", (event) => {
    if (event.target.tagName === "INPUT" || event.ctrlKey || event.metaKey) return;
    if (event.key === "Escape") open(null);
    if (event.key === "n") next(1);
    if (event.key === "p") next(-1);
  });

  // `#clients=1,3&show=relevant&event=214` chooses from the beginning.
  const asked = new URLSearchParams(location.hash.slice(1));
  (asked.get("clients") || "").split(",").filter(Boolean).forEach((c) => chosen.add(Number(c)));
  mode = asked.get("show") || mode;
  arrange();
  const violation = document.getElementById("violation");
  const event = rows.find((row) => row.dataset.event === asked.get("event"));
  if (event) {
    open(event);
    bring(event, event.querySelector(".words"));
  } else if (violation && location.hash !== "#top") {
    bring(violation, all(".row.wrong .words").pop());
  }
})();
