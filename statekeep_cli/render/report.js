"use strict";
(() => {
  const $ = (id) => document.getElementById(id);
  const say = (text) => { $("said").textContent = text; };

  // Theme: what the system says, or the reader.
  const themes = ["system", "light", "dark"];
  const theme = $("theme");
  theme.addEventListener("click", () => {
    const now = document.documentElement.dataset.theme || "system";
    const next = themes[(themes.indexOf(now) + 1) % themes.length];
    if (next === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = next;
    theme.textContent = "Theme: " + next;
  });

  // Copy: the clipboard, or a selection where a browser has none for files.
  const byHand = (node) => {
    const range = document.createRange();
    range.selectNodeContents(node);
    const selection = getSelection();
    selection.removeAllRanges();
    selection.addRange(range);
    return document.execCommand("copy");
  };
  const copied = async (node) => {
    try {
      await navigator.clipboard.writeText(node.textContent);
      return true;
    } catch {
      return byHand(node);
    }
  };
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-copy]");
    if (!button) return;
    const done = await copied($(button.dataset.copy));
    const words = done ? "Copied" : "Selected; press Ctrl+C";
    button.textContent = words;
    say(words);
    setTimeout(() => { button.textContent = "Copy " + button.dataset.what; }, 2000);
  });

  // Zoom: the picture's own size times a factor, or as wide as its frame.
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-zoom]");
    if (!button) return;
    const frame = $(button.dataset.zoom);
    const svg = frame.querySelector("svg");
    const natural = Number(svg.getAttribute("width"));
    const style = getComputedStyle(frame);
    const room = frame.clientWidth - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
    const now = svg.getBoundingClientRect().width;
    const by = Number(button.dataset.by);
    const width = by ? Math.min(Math.max(now * by, natural / 8), natural * 4) : room;
    svg.style.width = width + "px";
    svg.style.height = "auto";
    say("Zoom " + Math.round(100 * width / natural) + " %");
  });

  // The table of groups: filter and sort.
  const table = $("table");
  if (table) {
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
    const filter = () => {
      const wanted = $("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
      const outcome = $("outcome").value;
      let shown = 0;
      for (const row of rows) {
        const fits = (!outcome || row.dataset.outcome === outcome)
          && wanted.every((word) => texts.get(row).includes(word));
        row.hidden = !fits;
        shown += fits;
      }
      $("found").textContent = shown.toLocaleString("en") + " of " + rows.length.toLocaleString("en") + " groups";
    };
    $("filter").addEventListener("input", filter);
    $("outcome").addEventListener("change", filter);
    $("filter").form.addEventListener("submit", (event) => event.preventDefault());
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
      const numbers = "value" in rows[0].cells[column].dataset;
      const first = numbers ? "descending" : "ascending";
      const other = numbers ? "ascending" : "descending";
      const order = head.getAttribute("aria-sort") === first ? other : first;
      for (const each of heads) each.setAttribute("aria-sort", each === head ? order : "none");
      const value = (row) => numbers ? Number(row.cells[column].dataset.value) : row.cells[column].textContent;
      const sign = order === "ascending" ? 1 : -1;
      const compare = (a, b) => numbers ? a - b : a.localeCompare(b, "en", { numeric: true });
      const sorted = [...rows].sort((a, b) => sign * compare(value(a), value(b)));
      body.append(...sorted);
    }));
  }

  // Paper shows everything.
  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const each of opened) each.open = true;
  });
  addEventListener("afterprint", () => { for (const each of opened) each.open = false; });
})();
