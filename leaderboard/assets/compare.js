// Compare: two to four rows, chosen here or by compare.html?rows=a,b. Values come from data/entries/<row>.js.
(function () {
  "use strict";
  var form = document.getElementById("compare");
  if (!form) return;
  var shown = document.getElementById("compared"), examples = document.getElementById("compare-terminal"), make = loco.element, percent = loco.percent;
  var status = document.getElementById("compare-status");
  var rows = new Map(), values = new Map(), ids = new Map(), loading = new Map(), turn = 0;
  document.querySelectorAll("#compare-rows tr[data-entry]").forEach(function (row) { rows.set(row.dataset.entry, row.dataset); });

  loco.entry = function (id, content) { values.set(id, content); };
  loco.queries = function (name, list) { ids.set(name, list); };

  function load(address) {
    if (!loading.has(address)) {
      loading.set(address, new Promise(function (done, failed) {
        var script = make("script", { src: address });
        script.onload = done;
        script.onerror = function () { loading.delete(address); failed(new Error("Cannot read " + address + ".")); };
        document.head.append(script);
      }));
    }
    return loading.get(address);
  }

  // Choosing

  var selects = ["Baseline", "Against it", "A third row", "A fourth row"].map(function (label, n) {
    var select = make("select", { id: "compare-" + n });
    form.append(make("div", { "class": "field" }, [make("label", { "for": select.id }, [label]), select]));
    select.addEventListener("change", function () { offer(chosen()); start(); });
    return select;
  });
  // A long list can be narrowed by words.
  var search = make("input", { id: "compare-find", type: "search", autocomplete: "off", placeholder: "model, strategy" });
  if (rows.size > 24) form.prepend(make("div", { "class": "field find" }, [make("label", { "for": search.id }, ["Find rows"]), search]));
  search.addEventListener("input", function () { offer(chosen()); });
  form.addEventListener("submit", function (event) { event.preventDefault(); });

  function chosen() { return selects.map(function (select) { return select.value; }); }

  // Offer every row as the baseline, and beside it those that it can be compared with.
  function offer(wanted) {
    var first = rows.get(wanted[0]), words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    selects.forEach(function (select, n) {
      select.replaceChildren(make("option", { value: "" }, [n < 2 ? "choose a row" : "none"]));
      var groups = new Map();
      rows.forEach(function (row, id) {
        if (n && (!first || row.group !== first.group || id === wanted[0])) return;
        if (id !== wanted[n] && !words.every(function (word) { return row.label.toLowerCase().includes(word); })) return;
        var name = row.group + ", " + row.origin;
        if (!groups.has(name)) groups.set(name, make("optgroup", { label: name }));
        groups.get(name).append(make("option", { value: id }, [row.label]));
      });
      groups.forEach(function (group) { select.append(group); });
      select.value = wanted[n] || "";
      if (select.selectedIndex < 0) select.value = "";
      select.disabled = n > 0 && !first;
    });
  }

  function start() {
    var picked = chosen().filter(function (id, n, all) { return id && all.indexOf(id) === n; }), mine = ++turn;
    var query = loco.query();
    if (picked.length) query.set("rows", picked.join(",")); else query.delete("rows");
    // A comma is no less a comma for standing in an address as itself.
    loco.remember({ toString: function () { return query.toString().replace(/%2C/g, ","); } });
    shown.replaceChildren();
    say("");
    examples.hidden = false;
    if (!chosen()[0] || picked.length < 2) return;
    say("Reading …");
    Promise.all(picked.map(function (id) { return load("data/entries/" + id + ".js"); })).then(function () {
      if (mine !== turn) return;
      if (picked.every(function (id) { return rows.get(id).origin === "measured"; })) byQuery(picked, mine); else byCell(picked);
    }).catch(function (error) { if (mine === turn) say(error.message); });
  }

  function say(words) { status.textContent = words; status.className = "working"; }

  // For whoever cannot see that the tables have come.
  function done(count) { say(count === 1 ? "One comparison below." : count + " comparisons below."); status.className = "hidden-text"; }

  // Values

  function tasksOf(id) { return new Map(values.get(id).tasks); }

  function unpacked(task) {
    var digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", found = [];
    for (var at = 0; at < task.places.length; at += task.width) {
      var place = 0;
      for (var d = 0; d < task.width; d++) place = place * 64 + digits.indexOf(task.places[at + d]);
      found.push(task.values[place]);
    }
    return found;
  }

  function total(list) { return list.reduce(function (sum, value) { return sum + value; }, 0); }

  // What differs between two rows of a task, in words; empty where they can be compared.
  function difference(one, other) {
    var parts = ["queries", "documents", "relevance judgements"].filter(function (_, n) { return one.data[n] !== other.data[n]; });
    if (!parts.length && one.ids !== other.ids) parts = ["ids of queries"];
    if (parts.length) return "different " + parts.join(" and ");
    return Math.min(one.depth, other.depth) < 10 ? "rankings of fewer than ten documents" : "";
  }

  function label(id) { return rows.get(id).label; }

  // Query by query

  function byQuery(picked, mine) {
    var own = picked.map(tasksOf), notes = [], tasks = [], names = Array.from(own[0].keys());
    names.forEach(function (task) {
      var first = own[0].get(task);
      var sides = own.map(function (theirs, n) {
        var there = theirs.get(task), wrong = there && difference(first, there);
        if (wrong) notes.push(task + " is left out for " + label(picked[n]) + ": measured with " + wrong + ".");
        return there && !wrong ? unpacked(there) : null;
      });
      if (sides[0] && sides.slice(1).some(Boolean)) tasks.push({ task: task, sides: sides });
    });
    picked.forEach(function (id, n) {
      if ("untrained" in rows.get(id)) notes.push(label(id) + " is untrained, its weights drawn at random: its figures say nothing of a model.");
      if (!n) return;
      var only = names.filter(function (task) { return !own[n].has(task); });
      var more = Array.from(own[n].keys()).filter(function (task) { return !own[0].has(task); });
      if (only.length) notes.push("Only " + label(picked[0]) + " has " + only.join(", ") + ".");
      if (more.length) notes.push("Only " + label(id) + " has " + more.join(", ") + ".");
    });
    var steps = loco.statistics.compute(tasks);
    say("Resampling …");
    (function go() {
      if (mine !== turn) return;
      var until = performance.now() + 20, step;
      do { step = steps.next(); } while (!step.done && performance.now() < until);
      if (step.done) draw(picked, step.value, notes, own); else setTimeout(go);
    })();
  }

  function draw(picked, pairs, notes, own) {
    shown.replaceChildren();
    var tests = 0, widest = 0.01;
    pairs.forEach(function (pair) {
      pair.tasks.map(function (row) { return row.tested; }).concat(pair.average || []).forEach(function (one) {
        tests++;
        widest = Math.max(widest, Math.abs(one.low), Math.abs(one.high));
      });
    });
    pairs.forEach(function (pair, n) {
      var other = picked[n + 1];
      if (!pair.tasks.length) {
        notes.push(label(other) + " has no task in common with " + label(picked[0]) + ".");
        return;
      }
      var few = pair.tasks.filter(function (row) { return row.few; }).map(function (row) { return row.task; });
      if (few.length) {
        notes.push(label(other) + " and " + label(picked[0]) + " differ on fewer than ten queries of " + few.join(", ") +
          ": too few to rely on the interval; the test holds all the same.");
      }
      var body = pair.tasks.map(function (row) { return line(row.task, row, row.tested, widest); });
      if (pair.average) body.push(line("average", sums(pair.tasks), pair.average, widest));
      var part = section(picked[0], other, [make("p", { "class": "verdict" }, [verdict(picked[0], other, pair)]), table(
        "nDCG@10 in percent; differences and their 95 % intervals in points, positive where the second row is better",
        ["Task", "First", "Second", "Difference", "", "95 % interval", "p", "corrected", "Wins", "Ties", "Losses", "Second is"], body
      )]);
      shown.append(part);
      if (pair.largest.length) name(part, pair.largest, own[0]);
    });
    notes.push(tests + (tests === 1 ? " test" : " tests, all corrected together (Holm)") + "; 10,000 resamples, 49,999 draws of signs. " +
      "Queries are the sample: what is found holds for other queries of these tasks, not for other tasks. The draws are this page's own, so " +
      "the command below may differ in the third digit.");
    done(pairs.length);
    notes.forEach(function (note) { shown.append(make("p", { "class": "note" }, [note])); });
    terminal(picked);
  }

  function sums(tasks) {
    var sum = function (key) { return total(tasks.map(function (row) { return row[key]; })); };
    return { wins: sum("wins"), ties: sum("ties"), losses: sum("losses"), whole: true };
  }

  function line(task, counts, one, widest) {
    var kind = { better: "is-better", worse: "is-worse" }[one.verdict] || "is-same";
    var exact = points(one.difference, 4) + ", " + points(one.low, 4) + " to " + points(one.high, 4);
    return make("tr", { "class": counts.whole ? "whole" : null }, [
      make("th", { scope: "row", "class": "stick" }, [make("bdi", {}, [task])]),
      cell(percent(one.first), (100 * one.first).toFixed(4)), cell(percent(one.other), (100 * one.other).toFixed(4)),
      cell(points(one.difference, 1), exact), make("td", { title: exact }, [arm(one, widest, kind)]),
      cell(points(one.low, 1) + " to " + points(one.high, 1), exact), cell(chance(one.p), one.p), cell(chance(one.corrected), one.corrected),
      cell(counts.wins), cell(counts.ties), cell(counts.losses), make("td", { "class": kind }, [one.verdict])
    ]);
  }

  // An interval as a bar around its difference, all to one scale, with nought in the middle.
  function arm(one, widest, kind) {
    function part(name, properties) {
      var made = document.createElementNS("http://www.w3.org/2000/svg", name);
      Object.keys(properties).forEach(function (key) { made.setAttribute(key, properties[key]); });
      return made;
    }
    function x(value) { return (88 + 82 * value / widest).toFixed(1); }
    var svg = part("svg", { viewBox: "0 0 176 18", "class": "arm " + kind, "aria-hidden": "true" });
    svg.append(
      part("line", { x1: 88, y1: 0, x2: 88, y2: 18, "class": "zero" }),
      part("line", { x1: x(one.low), y1: 9, x2: x(one.high), y2: 9, "class": kind }),
      part("circle", { cx: x(one.difference), cy: 9, r: 3.5 })
    );
    return svg;
  }

  function verdict(first, other, pair) {
    var a = "“" + label(first) + "”", b = "“" + label(other) + "”", count = pair.tasks.length;
    var where = pair.average ? "on average over " + count + " tasks" : "on " + pair.tasks[0].task;
    if (!pair.largest.length) return b + " and " + a + " give every query the same nDCG@10 " + where + ".";
    var one = pair.average || pair.tasks[0].tested;
    var told = " (" + points(one.difference, 1) + " points of nDCG@10, 95 % interval " + points(one.low, 1) + " to " +
      points(one.high, 1) + ", corrected p " + chance(one.corrected) + ")";
    var says = one.verdict === "not distinguishable"
      ? b + " and " + a + " are not distinguishable " + where + told + ": no proof that they are equal."
      : b + " is " + one.verdict + " than " + a + " " + where + told + ".";
    if (!pair.average) return says;
    return says + " By task it is " + ["better", "worse", "not distinguishable"].map(function (kind) {
      return kind + " on " + pair.tasks.filter(function (row) { return row.tested.verdict === kind; }).length;
    }).join(", ") + " of " + count + " tasks.";
  }

  // The queries that differ most: their ids are read only now.
  function name(part, largest, tasks) {
    var wanted = new Set(largest.map(function (one) { return tasks.get(one.task).ids; }));
    Promise.all(Array.from(wanted, function (hash) { return load("data/queries/" + hash + ".js"); })).then(function () {
      part.append(table(
        largest.length === 1 ? "The query that differs" : "The " + largest.length + " queries that differ most, nDCG@10 in percent",
        ["Query", "Task", "First", "Second", "Difference"],
        largest.map(function (one) {
          return make("tr", {}, [
            make("th", { scope: "row", "class": "stick" }, [make("bdi", {}, [ids.get(tasks.get(one.task).ids)[one.query]])]),
            make("td", {}, [one.task]), cell(percent(one.first)), cell(percent(one.other)), cell(points(one.other - one.first, 1))
          ]);
        })
      ));
      part.lastChild.classList.add("largest");
    }).catch(function (error) { part.append(make("p", { "class": "note warn" }, [error.message])); });
  }

  // By cells alone

  function mean(task) {
    if (task.mean !== undefined) return task.mean;
    var all = unpacked(task);
    return total(all) / all.length / 1e6;
  }

  function byCell(picked) {
    shown.replaceChildren(make("p", { "class": "note warn" }, [
      "Not every row here was measured: cells are compared as they are printed, without intervals or tests. A difference may be chance" +
      ", and rows reported by others may be of other queries."
    ]));
    var own = picked.map(tasksOf);
    own.slice(1).forEach(function (theirs, n) {
      var common = Array.from(own[0].keys()).filter(function (task) { return theirs.has(task); });
      var figures = common.map(function (task) { return [mean(own[0].get(task)), mean(theirs.get(task))]; });
      var body = common.map(function (task, t) { return plain(task, figures[t]); });
      if (common.length > 1) {
        body.push(plain("average over " + common.length, [0, 1].map(function (side) {
          return total(figures.map(function (pair) { return pair[side]; })) / common.length;
        }), true));
      }
      shown.append(section(picked[0], picked[n + 1], [common.length
        ? table("nDCG@10 in percent, differences in points", ["Task", "First", "Second", "Difference"], body)
        : make("p", {}, ["They have no task in common."])]));
    });
    done(own.length - 1);
  }

  function plain(task, two, whole) {
    return make("tr", { "class": whole ? "whole" : null }, [
      make("th", { scope: "row", "class": "stick" }, [make("bdi", {}, [task])]),
      cell(percent(two[0])), cell(percent(two[1])), cell(points(two[1] - two[0], 1))
    ]);
  }

  // Pieces

  function section(first, other, children) {
    return make("section", { "class": "pair" }, [
      make("h2", {}, [make("bdi", {}, [label(other)]), " against ", make("bdi", {}, [label(first)])])
    ].concat(children));
  }

  function table(caption, heads, body) {
    var numbers = ["First", "Second", "Difference", "95 % interval", "p", "corrected", "Wins", "Ties", "Losses"];
    return make("div", { "class": "scroll", tabindex: "0", role: "region", "aria-label": caption }, [
      make("table", { "class": "figures" }, [
        make("caption", {}, [caption]),
        make("thead", {}, [make("tr", {}, heads.map(function (head, n) {
          return make("th", { scope: "col", "class": n === 0 ? "stick" : numbers.includes(head) ? "num" : null }, [head]);
        }))]),
        make("tbody", {}, body)
      ])
    ]);
  }

  function cell(words, title) { return make("td", { "class": "num", title: title === undefined ? null : title }, [String(words)]); }

  function points(value, digits) {
    return (value < 0 ? "−" : "+") + (digits === 1 ? percent(Math.abs(value)) : Math.abs(100 * value).toFixed(digits));
  }

  function chance(p) { return p < 0.0001 ? "< 0.0001" : p.toFixed(4); }

  function terminal(picked) {
    examples.hidden = true;
    var group = rows.get(picked[0]).group.split(",")[0];
    var words = "loco compare " + picked.map(function (id) { return rows.get(id).paths; }).join(" ") + " --variant " + group;
    shown.append(make("p", { "class": "muted small" }, ["The same in a terminal:"]), loco.copyable(make("pre", { "class": "command" }, [make("code", {}, [words])])));
  }

  var asked = (loco.query().get("rows") || "").split(",").filter(Boolean).slice(0, selects.length);
  offer(asked);
  asked.forEach(function (id) {
    if (chosen().includes(id)) return;
    form.after(make("p", { "class": "note warn" }, [rows.has(id) && rows.has(asked[0])
      ? label(id) + " is of " + rows.get(id).group + " and " + label(asked[0]) + " of " + rows.get(asked[0]).group +
        ": different queries, never compared."
      : "There is no row “" + id.slice(0, 80) + "” here."]));
  });
  start();
})();
