"use strict";
// Sorting, filtering and folding. The page is complete without it: nothing is loaded, stored or sent.
(() => {
  const FOLDED_AFTER = 6;
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const one = (selector, root = document) => root.querySelector(selector);
  const lowered = new WeakMap();
  const text = (element) => {
    if (!lowered.has(element)) lowered.set(element, element.textContent.replace(/\s+/g, " ").toLowerCase());
    return lowered.get(element);
  };
  const says = (element, words) => words.every((word) => text(element).includes(word));
  const words = (target) => (one(`[data-text-for="${target}"]`)?.value ?? "").toLowerCase().split(/\s+/).filter(Boolean);
  const count = (target, shown, of) => {
    one(`#${target}-count`).textContent = shown === of ? "" : `${shown} of ${of}`;
    one(`#${target}-none`).hidden = shown > 0;
  };

  // Thumbnails in tables are copied from the contact sheet, when they scroll into view.
  const fill = (holder) => {
    const source = one(`#${holder.dataset.of} .shot img`);
    if (!source || holder.firstChild) return;
    const image = new Image();
    image.alt = "";
    image.src = source.src;
    holder.append(image);
  };
  const FEW = 400;
  const holders = all(".thumb");
  const sight = new IntersectionObserver((seen) => {
    for (const each of seen) {
      if (!each.isIntersecting) continue;
      sight.unobserve(each.target);
      fill(one(".thumb", each.target));
    }
  }, { rootMargin: "600px" });
  holders.forEach((holder) => (holders.length <= FEW ? fill(holder) : sight.observe(holder.parentElement)));
  addEventListener("beforeprint", () => holders.forEach(fill));

  // Findings: filtered by severity, rule and words; long groups are folded until a filter is set.
  const found = one("#found");
  const opened = new Set();
  const filterFindings = () => {
    if (!found) return;
    const wanted = words("found");
    const rule = one("#rule").value;
    const severities = new Set(all(".chip[aria-pressed=true]").map((chip) => chip.dataset.severity));
    const folds = !wanted.length && !rule && !found.classList.contains("sorted");
    const matching = new Map();
    let shown = 0;
    const rows = all("tr.finding", found);
    for (const row of rows) {
      const key = `${row.dataset.severity} ${row.dataset.rule}`;
      const fits = severities.has(row.dataset.severity) && (!rule || rule === row.dataset.rule) && says(row, wanted);
      if (fits) matching.set(key, (matching.get(key) ?? 0) + 1);
      const folded = fits && folds && !opened.has(key) && matching.get(key) > FOLDED_AFTER;
      row.hidden = !fits || folded;
      row.toggleAttribute("data-folded", folded); // paper has no button to unfold them
      shown += fits;
    }
    for (const row of all("tr.rule, tr.more", found)) {
      const key = `${row.dataset.severity} ${row.dataset.rule}`;
      const inside = matching.get(key) ?? 0;
      row.hidden = row.classList.contains("more") ? !folds || opened.has(key) || inside <= FOLDED_AFTER : !inside;
    }
    count("found", shown, rows.length);
  };
  const foldLongGroups = () => {
    for (const head of all("tr.rule", found)) {
      const rows = all("tr.finding", found).filter((row) => row.dataset.rule === head.dataset.rule && row.dataset.severity === head.dataset.severity);
      if (rows.length <= FOLDED_AFTER) continue;
      const more = document.createElement("tr");
      more.className = "more";
      Object.assign(more.dataset, head.dataset);
      more.innerHTML = "<td colspan=4><button type=button></button></td>";
      const button = one("button", more);
      button.textContent = `Show ${rows.length - FOLDED_AFTER} more`;
      button.addEventListener("click", () => { opened.add(`${head.dataset.severity} ${head.dataset.rule}`); filterFindings(); });
      rows.at(-1).after(more);
    }
  };

  const filterSheet = () => {
    const wanted = words("sheet");
    const state = one("#state").value;
    const cards = all(".card");
    let shown = 0;
    for (const card of cards) {
      card.hidden = (state && !card.dataset.states.split(/\s+/).includes(state)) || !says(one("b", card), wanted);
      shown += !card.hidden;
    }
    for (const shelf of all(".shelf")) shelf.hidden = !one(".card:not([hidden])", shelf);
    count("sheet", shown, cards.length);
  };

  const filterTexts = () => {
    const wanted = words("texts");
    const rows = all("#texts tbody tr");
    rows.forEach((row) => { row.hidden = !says(row, wanted); });
    count("texts", rows.filter((row) => !row.hidden).length, rows.length);
  };

  // A heading sorts ascending, then descending, then restores the first order.
  const order = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
  const sortable = (table) => {
    const body = table.tBodies[0];
    const first = [...body.rows];
    const headings = all("thead th", table);
    const sort = (heading, way) => {
      headings.forEach((each) => each.removeAttribute("aria-sort"));
      table.classList.toggle("sorted", Boolean(way));
      if (way) heading.setAttribute("aria-sort", way);
      const column = headings.indexOf(heading);
      const turn = way === "descending" ? -1 : 1;
      const rows = way ? [...first].sort((a, b) => turn * order.compare(key(a, column), key(b, column))) : first;
      body.append(...rows);
      if (table === found) { one("#grouped").hidden = !way; filterFindings(); }
    };
    const key = (row, column) => (row.cells[column] ? text(row.cells[column]).trim() : "");
    for (const heading of headings) {
      const next = { ascending: "descending", descending: "" };
      one("button", heading)?.addEventListener("click", () => {
        const now = heading.getAttribute("aria-sort");
        sort(heading, now ? next[now] : "ascending");
      });
    }
    if (table === found) one("#grouped").addEventListener("click", () => sort(headings[0], ""));
  };

  if (found) foldLongGroups();
  all("table.sortable").forEach(sortable);
  for (const chip of all(".chip")) {
    chip.addEventListener("click", () => {
      chip.setAttribute("aria-pressed", String(chip.getAttribute("aria-pressed") !== "true"));
      filterFindings();
    });
  }
  const filters = { found: filterFindings, sheet: filterSheet, texts: filterTexts };
  for (const [target, filter] of Object.entries(filters)) {
    one(`[data-text-for="${target}"]`)?.addEventListener("input", filter);
  }
  one("#rule")?.addEventListener("change", filterFindings);
  one("#state").addEventListener("change", filterSheet);
  filterFindings();
})();
