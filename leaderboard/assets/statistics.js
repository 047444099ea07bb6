// Differences between rows, query by query: the statistics of loco/compare/statistics.py and loco/compare/pairs.py.
// Only the random numbers are others. Values are whole millionths, so that sums are exact and ties are ties.
(function () {
  "use strict";
  var RESAMPLES = 10000, FLIPS = 49999, LEVEL = 0.05, NOISE = 1e-6, TAIL = 0.025, FEW = 10, LARGEST = 10;

  // The state of random numbers (sfc32, Chris Doty-Humphrey 2010) that depend on a text alone.
  function seeded(text) {
    var hash = 2166136261;
    for (var i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 16777619);
    var state = Int32Array.of(hash, 0x9e3779b9, 0x85ebca6b, 1);
    fill(state, new Uint32Array(16), 1);
    return state;
  }

  // Fill an array with random words of 32 bits, times share: whole numbers below 2 ** 32 * share, all equally likely.
  function fill(state, words, share) {
    var a = state[0], b = state[1], c = state[2], counter = state[3];
    for (var i = 0; i < words.length; i++) {
      var made = (((a + b) | 0) + counter) | 0;
      counter = (counter + 1) | 0;
      a = b ^ (b >>> 9);
      b = (c + (c << 3)) | 0;
      c = (((c << 21) | (c >>> 11)) + made) | 0;
      words[i] = (made >>> 0) * share;
    }
    state[0] = a; state[1] = b; state[2] = c; state[3] = counter;
  }

  // Sums over as many queries as there are, drawn with replacement, the same draw for every column.
  function resample(columns, state, words, sums, from, to) {
    for (var r = from; r < to; r++) {
      fill(state, words, words.length / 4294967296);
      for (var k = 0; k < columns.length; k++) sums[k][r] = gathered(columns[k], words);
    }
  }

  function gathered(column, drawn) {
    var sum = 0;
    for (var q = 0; q < drawn.length; q++) sum += column[drawn[q]];
    return sum;
  }

  // Add eight queries with the sign of each drawn anew. They have 256 patterns, whose sums are looked up.
  function flip(column, start, bytes, sums) {
    var many = Math.min(8, column.length - start), patterns = new Float64Array(256);
    for (var pattern = 0; pattern < 256; pattern++) {
      for (var q = 0; q < many; q++) patterns[pattern] += pattern >> q & 1 ? -column[start + q] : column[start + q];
    }
    for (var f = 0; f < FLIPS; f++) sums[f] += patterns[bytes[f]];
  }

  function* resampled(columns, state) {
    var words = new Uint32Array(columns[0].length), step = Math.ceil(400000 / words.length);
    var sums = columns.map(function () { return new Float64Array(RESAMPLES); });
    for (var r = 0; r < RESAMPLES; r += step) {
      resample(columns, state, words, sums, r, Math.min(r + step, RESAMPLES));
      yield;
    }
    return sums;
  }

  function* flipped(columns, state) {
    var words = new Uint32Array(Math.ceil(FLIPS / 4)), bytes = new Uint8Array(words.buffer);
    var sums = columns.map(function () { return new Float64Array(FLIPS); });
    for (var start = 0; start < columns[0].length; start += 8) {
      fill(state, words, 1);
      for (var k = 0; k < columns.length; k++) flip(columns[k], start, bytes, sums[k]);
      if (start % 64 === 0) yield;
    }
    return sums;
  }

  function quantile(sorted, share) {
    var place = share * (sorted.length - 1), under = Math.floor(place), over = Math.min(under + 1, sorted.length - 1);
    return sorted[under] + (sorted[over] - sorted[under]) * (place - under);
  }

  // The percentile interval, or its mirror image about the difference where that reaches further.
  function outer(sums, count, observed) {
    var sorted = sums.slice().sort();
    var low = quantile(sorted, TAIL) / count, high = quantile(sorted, 1 - TAIL) / count;
    return [Math.min(low, 2 * observed - high), Math.max(high, 2 * observed - low)];
  }

  // Two-sided randomization test, with the observed arrangement as one of all.
  function probability(sums, count, observed) {
    var extreme = 0, least = Math.abs(observed) - NOISE;
    for (var f = 0; f < sums.length; f++) if (Math.abs(sums[f]) / count >= least) extreme++;
    return (extreme + 1) / (sums.length + 1);
  }

  // P-values corrected for their number (Holm 1979).
  function holm(values) {
    var order = values.map(function (_, n) { return n; }).sort(function (a, b) { return values[a] - values[b] || a - b; });
    var corrected = [], least = 0;
    order.forEach(function (n, place) {
      least = Math.max(least, Math.min(1, (values.length - place) * values[n]));
      corrected[n] = least;
    });
    return corrected;
  }

  function sum(values) { var total = 0; for (var i = 0; i < values.length; i++) total += values[i]; return total; }

  // Means in millionths; what is drawn are sums over so many queries, or of the means of so many tasks.
  function tested(first, other, difference, resamples, flips, count) {
    var ends = outer(resamples, count, difference);
    return {
      first: first / 1e6, other: other / 1e6, difference: difference / 1e6, low: ends[0] / 1e6, high: ends[1] / 1e6,
      p: probability(flips, count, difference)
    };
  }

  function add(total, sums, queries) { for (var i = 0; i < sums.length; i++) total[i] += sums[i] / queries; }

  // tasks: [{ task, sides: [values of the first row, of the second, ...] }], values in millionths, null for a row that
  // lacks the task. A generator, so that a page can do something else in between; it returns, for every row but the
  // first, { tasks: [...], average, largest: [...] }, all p-values corrected together.
  function* compute(tasks) {
    var rows = tasks.length ? tasks[0].sides.length : 0, pairs = [], k;
    for (k = 1; k < rows; k++) {
      pairs.push({
        tasks: [], average: null, largest: [], first: 0, other: 0, difference: 0, candidates: [],
        resamples: new Float64Array(RESAMPLES), flips: new Float64Array(FLIPS)
      });
    }
    for (var t = 0; t < tasks.length; t++) {
      var sides = tasks[t].sides, first = sides[0], name = tasks[t].task, there = [], columns = [];
      for (k = 1; first && k < rows; k++) {
        if (!sides[k]) continue;
        there.push(k - 1);
        columns.push(Float64Array.from(first, function (value, q) { return sides[k][q] - value; }));
      }
      if (!there.length) continue;
      var resamples = yield* resampled(columns, seeded("resample " + name));
      var flips = yield* flipped(columns, seeded("flip " + name));
      there.forEach(function (number, c) {
        var pair = pairs[number], gains = columns[c], queries = gains.length, equals = {};
        var row = { task: name, queries: queries, wins: 0, ties: 0, losses: 0 };
        gains.forEach(function (gain, q) {
          if (gain > 0) row.wins++; else if (gain < 0) row.losses++; else { row.ties++; return; }
          var gap = Math.abs(gain);
          equals[gap] = (equals[gap] || 0) + 1;
          pair.candidates.push([-gap, equals[gap], pair.candidates.length, {
            task: name, query: q, first: first[q] / 1e6, other: sides[number + 1][q] / 1e6
          }]);
        });
        var means = [sum(first), sum(sides[number + 1]), sum(gains)].map(function (total) { return total / queries; });
        add(pair.resamples, resamples[c], queries);
        add(pair.flips, flips[c], queries);
        pair.first += means[0]; pair.other += means[1]; pair.difference += means[2];
        row.few = row.wins + row.losses > 0 && row.wins + row.losses < FEW;
        row.tested = tested(means[0], means[1], means[2], resamples[c], flips[c], queries);
        pair.tasks.push(row);
      });
      yield;
    }
    pairs.forEach(function (pair) {
      var count = pair.tasks.length;
      if (count > 1) {
        pair.average = tested(
          pair.first / count, pair.other / count, pair.difference / count, pair.resamples, pair.flips, count
        );
      }
      pair.candidates.sort(function (a, b) { return a[0] - b[0] || a[1] - b[1] || a[2] - b[2]; });
      pair.largest = pair.candidates.slice(0, LARGEST).map(function (one) { return one[3]; });
      delete pair.candidates; delete pair.resamples; delete pair.flips;
    });
    var all = [];
    pairs.forEach(function (pair) {
      pair.tasks.forEach(function (row) { all.push(row.tested); });
      if (pair.average) all.push(pair.average);
    });
    holm(all.map(function (one) { return one.p; })).forEach(function (corrected, n) {
      all[n].corrected = corrected;
      all[n].verdict = corrected >= LEVEL ? "not distinguishable" : all[n].difference > 0 ? "better" : "worse";
    });
    return pairs;
  }

  loco.statistics = { compute: compute, holm: holm };
})();
