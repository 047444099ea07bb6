// The overview: sorting, filtering, ranking together and choosing columns, all of it in the address.
(function () {
  "use strict";
  var form = document.getElementById("filters");
  if (!form) return;

  var FILTERS = ["origin", "family", "strategy", "window", "training"];
  var DASH = "\u2013";
  var BATCH = 20, PAUSE = 30;
  var sections = Array.from(document.querySelectorAll("section.variant")).map(readSection);
  if (!sections.length) return;
  var names = sections.map(function (section) { return section.variant; });
  var state = readAddress();

  // What the tables hold, read once.

  function readSection(element) {
    var table = element.querySelector("table");
    var heads = Array.from(table.tHead.rows[0].cells);
    var groups = Array.from(table.tBodies).map(function (body) {
      return { body: body, head: body.rows[0], rows: Array.from(body.rows).slice(1),
        benchmark: body.dataset.benchmark, title: body.rows[0].textContent };
    });
    var section = {
      element: element, table: table, variant: element.dataset.variant, groups: groups, heads: heads,
      keys: heads.map(function (head) { return head.dataset.key; }), rows: [], laidOut: "", hidden: new Array(heads.length).fill(false).join(),
      box: table.parentNode, rest: [], timer: 0
    };
    window.addEventListener("beforeprint", function () { show(section, section.rest.length); });
    groups.forEach(function (group) {
      group.rows = group.rows.map(function (line, place) {
        var data = line.dataset;
        var values = data.values.split(" ").map(function (text) { return text === "-" ? null : Number(text); });
        var rank = line.cells[0];
        var row = {
          line: line, data: data, place: place, complete: !line.classList.contains("faint"), shown: true,
          average: values[0], low: values[1], high: values[2], benchmark: group.benchmark,
          rank: rank, own: [rank.firstChild.data, rank.children.length ? rank.lastChild.textContent : ""], now: null,
          keys: [parseInt(rank.firstChild.data, 10) || null, data.search, number(data.weights), number(data.tokens),
            line.cells[4].textContent, values[0]].concat(values.slice(3))
        };
        section.rows.push(row);
        return row;
      });
    });
    heads.forEach(function (head, column) {
      var button = loco.element("button", { "type": "button", "class": "sort" }, [head.textContent]);
      head.replaceChildren(button);
      button.addEventListener("click", function () { sortBy(section, column); });
    });
    return section;
  }

  function number(text) { return text ? Number(text) : null; }

  // The state, and the address it stands in.

  function readAddress() {
    var query = loco.query();
    var read = { variant: query.get("variant"), q: query.get("q") || "", together: query.get("together") === "1",
      zero: query.get("zero-shot") === "1", sort: query.get("sort") || "rank", order: query.get("order"),
      hide: (query.get("hide") || "").split(",").filter(Boolean) };
    FILTERS.forEach(function (name) {
      var value = query.get(name) || "";
      read[name] = Array.from(form.elements[name].options).some(function (one) { return one.value === value; }) ? value : "";
    });
    if (names.indexOf(read.variant) < 0) read.variant = names[0];
    var target = location.hash && document.getElementById(location.hash.slice(1));
    var around = target && target.closest("section.variant");
    if (around && !query.get("variant")) read.variant = around.dataset.variant;
    return read;
  }

  function writeAddress() {
    var query = new URLSearchParams();
    if (state.variant !== names[0]) query.set("variant", state.variant);
    FILTERS.concat("q").forEach(function (name) { if (state[name]) query.set(name, state[name]); });
    if (state.zero) query.set("zero-shot", "1");
    if (state.together) query.set("together", "1");
    if (state.sort !== "rank") query.set("sort", state.sort);
    if (state.order) query.set("order", state.order);
    if (state.hide.length) query.set("hide", state.hide.join(","));
    loco.remember(query);
  }

  function current() {
    return sections.filter(function (section) { return section.variant === state.variant; })[0];
  }

  // Figures go down first, ranks and words up.
  function upFirst(section, column) { return column < 2 || section.heads[column].dataset.kind === "text"; }

  function sortBy(section, column) {
    var key = section.keys[column];
    var usual = upFirst(section, column) ? "up" : "down";
    var now = state.sort === key ? state.order || usual : null;
    var next = now === null ? usual : now === "up" ? "down" : "up";
    state.sort = key;
    state.order = next === usual ? null : next;
    apply();
  }

  // From the state to the page.

  function fits(row) {
    if (state.zero && row.data.training !== "zero-shot") return false;
    for (var place = 0; place < FILTERS.length; place++) {
      var wanted = state[FILTERS[place]];
      if (wanted && row.data[FILTERS[place]] !== wanted) return false;
    }
    return words.every(function (word) { return row.data.search.indexOf(word) >= 0; });
  }

  var words = [];

  function apply() {
    var section = current();
    words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    var shown = 0;
    section.rows.forEach(function (row) { row.shown = fits(row); if (row.shown) shown++; });
    if (state.together) rankTogether(section); else restoreRanks(section);
    arrange(section);
    say(section, shown);
    mark(section);
    writeAddress();
  }

  function rankTogether(section) {
    var lists = Object.create(null);  // a benchmark may be called "constructor"
    section.rows.forEach(function (row) {
      if (row.shown && row.complete) (lists[row.benchmark] = lists[row.benchmark] || []).push(row);
      else setRank(row, DASH, "");
    });
    Object.keys(lists).forEach(function (name) {
      var list = lists[name].sort(function (one, other) { return other.average - one.average; });
      var known = list.filter(function (row) { return row.low !== null; });
      var lows = known.map(function (row) { return row.low; }).sort(ascending);
      var highs = known.map(function (row) { return row.high; }).sort(ascending);
      list.forEach(function (row, place) {
        var before = list[place - 1], after = list[place + 1];
        row.joint = before && same(before, row) ? before.joint : place + 1;
        var tied = (before && same(before, row)) || (after && same(after, row));
        var best = known.length - upTo(lows, row.high, true) + 1, worst = known.length - upTo(highs, row.low, false);
        var band = row.low === null ? "" : best === worst ? String(best) : best + DASH + worst;
        setRank(row, row.joint + (tied ? "=" : ""), band);
      });
    });
  }

  function ascending(one, other) { return one - other; }
  function same(one, other) { return Math.abs(one.average - other.average) < 5e-8; }

  // How many of the sorted values are below a value, or equal to it where `equal` says so.
  function upTo(sorted, value, equal) {
    var low = 0, high = sorted.length;
    while (low < high) {
      var middle = (low + high) >> 1;
      if (sorted[middle] < value || (equal && sorted[middle] === value)) low = middle + 1; else high = middle;
    }
    return low;
  }

  function restoreRanks(section) {
    section.rows.forEach(function (row) { if (row.now) { setRank(row, row.own[0], row.own[1]); row.now = null; } });
  }

  function setRank(row, rank, band) {
    var now = rank + " " + band;
    if (row.now === now) return;
    row.now = now;
    row.rank.replaceChildren(rank);
    if (band) row.rank.append(loco.element("span", { "class": "band" }, [band]));
  }

  // Rows into their order, in the lists they belong to. Nothing moves where nothing changes.
  function arrange(section) {
    var column = Math.max(0, section.keys.indexOf(state.sort));
    var up = state.order ? state.order === "up" : upFirst(section, column);
    var wanted = [column, up, state.together].concat(section.rows.map(function (row) { return row.shown ? 1 : 0; })).join("");
    if (wanted === section.laidOut) return;
    section.laidOut = wanted;
    var first = Object.create(null);
    var lists = section.groups.map(function (group) {
      var rows = group.rows.filter(function (row) { return row.shown; });
      var list = { group: group, rows: rows, title: group.title };
      if (!state.together) return list;
      var joined = first[group.benchmark];
      if (joined) { joined.rows = joined.rows.concat(rows); list.rows = []; } else first[group.benchmark] = list;
      list.title = "All rows shown, ranked together, " + group.benchmark;
      return list;
    });
    var direction = up ? 1 : -1;
    section.rest = [];
    lists.forEach(function (list) {
      list.rows.sort(function (one, other) { return compare(one, other, column, direction); });
      if (!list.rows.length) return;
      list.group.head.querySelector("span").textContent = list.title;
      section.rest.push([list.group.body, list.group.head]);
      list.rows.forEach(function (row) { section.rest.push([list.group.body, row.line]); });
    });
    section.groups.forEach(function (group) { group.body.replaceChildren(); });
    section.box.scrollTop = 0;
    show(section, BATCH);
  }

  // So many more rows into the table, and the others soon after: laying out hundreds takes longer than a sort may.
  function show(section, count) {
    clearTimeout(section.timer);
    section.rest.splice(0, count).forEach(function (pair) { pair[0].append(pair[1]); });
    if (section.rest.length) section.timer = setTimeout(function () { show(section, BATCH); }, PAUSE);
  }

  // What is not known stands last, whichever way.
  function compare(one, other, column, direction) {
    var a = column === 0 && state.together ? (one.complete && one.shown ? one.joint : null) : one.keys[column];
    var b = column === 0 && state.together ? (other.complete && other.shown ? other.joint : null) : other.keys[column];
    if (a === b) return one.place - other.place;
    if (a === null || a === undefined) return 1;
    if (b === null || b === undefined) return -1;
    return direction * (typeof a === "string" ? (a < b ? -1 : 1) : a - b);
  }

  function say(section, shown) {
    var all = section.rows.length;
    document.getElementById("count").textContent = shown === all ? all + (all === 1 ? " row" : " rows") :
      shown ? shown + " of " + all + " rows" : "No row fits. Choose less, or press Reset.";
  }

  function mark(section) {
    section.heads.forEach(function (head, column) {
      var sorted = section.keys[column] === state.sort;
      if (!sorted) { head.removeAttribute("aria-sort"); return; }
      var up = state.order ? state.order === "up" : upFirst(section, column);
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
    });
    var hide = section.keys.map(function (key, column) { return column > 1 && state.hide.indexOf(key) >= 0; });
    if (hide.join() === section.hidden) return;
    section.hidden = hide.join();
    var hidden = hide.filter(Boolean).length;
    var lines = section.rows.map(function (row) { return row.line.cells; });
    lines.push(section.heads, section.table.querySelectorAll("col"));
    lines.forEach(function (cells) { hide.forEach(function (hides, column) { cells[column].hidden = hides; }); });
    section.groups.forEach(function (group) { group.head.cells[0].colSpan = hide.length - hidden; });
    section.table.style.minWidth = hidden ? Math.max(24, 76 - 4 * hidden) + "rem" : "";
  }

  // The controls.

  function fill() {
    sections.forEach(function (section) { section.element.hidden = section.variant !== state.variant; section.element.classList.remove("later"); });
    FILTERS.concat("q").forEach(function (name) { form.elements[name].value = state[name]; });
    form.elements["zero-shot"].checked = state.zero;
    form.elements.together.checked = state.together;
    form.querySelectorAll("[data-variant]").forEach(function (chip) {
      chip.setAttribute("aria-pressed", String(chip.dataset.variant === state.variant));
    });
    var section = current();
    document.getElementById("columns").replaceChildren.apply(document.getElementById("columns"),
      section.keys.slice(2).map(function (key, place) {
        var box = loco.element("input", { type: "checkbox", name: "column", value: key }, []);
        box.checked = state.hide.indexOf(key) < 0;
        return loco.element("label", { "class": "check" }, [box, section.heads[place + 2].textContent]);
      }));
  }

  form.addEventListener("submit", function (event) { event.preventDefault(); });
  form.addEventListener("input", function (event) {
    var name = event.target.name;
    if (name === "column") {
      state.hide = Array.from(form.querySelectorAll("[name=column]")).filter(function (box) { return !box.checked; })
        .map(function (box) { return box.value; });
    } else if (name === "zero-shot") state.zero = event.target.checked;
    else if (name === "together") state.together = event.target.checked;
    else if (name) state[name] = event.target.value;
    apply();
  });
  form.addEventListener("click", function (event) {
    var chip = event.target.closest("[data-variant]");
    if (chip) { state.variant = chip.dataset.variant; fill(); apply(); }
  });
  document.getElementById("reset").addEventListener("click", function () {
    state = { variant: state.variant, q: "", together: false, zero: false, sort: "rank", order: null, hide: [] };
    FILTERS.forEach(function (name) { state[name] = ""; });
    fill();
    apply();
  });
  document.addEventListener("click", function (event) {
    var open = form.querySelector(".chooser[open]");
    if (open && !open.contains(event.target)) open.open = false;
  });
  document.addEventListener("keydown", function (event) {
    var open = event.key === "Escape" && form.querySelector(".chooser[open]");
    if (open) { open.open = false; open.querySelector("summary").focus(); }
  });
  // On a phone the filters wait behind a button, unless one is set.
  var phone = matchMedia("(max-width: 40rem)");
  function fold() { form.querySelector(".narrow").open = !phone.matches || FILTERS.some(function (name) { return state[name]; }); }
  phone.addEventListener("change", fold);
  fold();
  window.addEventListener("popstate", function () { state = readAddress(); fill(); apply(); });

  fill();
  apply();
  if (location.hash) {
    show(current(), current().rest.length);
    var target = document.getElementById(location.hash.slice(1));
    if (target) target.scrollIntoView({ block: "center" });
  }
})();
