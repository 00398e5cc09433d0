"""The campaign: a crowd, an API with a capacity that nobody was told, and three strategies side by side, in simulated
time. Asks the driver for every run, judges Raincheck's, and draws what it looked like."""
import html
import json
import math
import os
import statistics
import tempfile

STRATEGIES = ("direct", "200", "raincheck")
NAMES = {"direct": "each visitor calls the API, with retries", "200": "200 workers, no limit", "100": "100 workers",
         "50": "50 workers, had one known", "raincheck": "Raincheck"}
COLOURS = {"direct": "#c0392b", "200": "#b07a12", "raincheck": "#2b8a57"}
ORDER = ("direct", "200", "100", "50", "raincheck")  # with pools of other sizes, for what a lucky guess is worth
JUDGED = (0.0, 0.3)  # noise: the coefficient of variation of a call's work
NOISES = (*JUDGED, 1.0)
DRAWN = 0.3
RAMP_S = 300


# ---- runs ----

def settled_goodput(run):
    """Of the time after the first minutes, in which the API's capacity had to be found."""
    samples, step_s = run["samples"], run["sample_ms"] / 1000
    first, last = int(RAMP_S / step_s), int(run["ended_ms"] / 1000 / step_s)
    if last <= first:
        return None
    return (samples[last][0] - samples[first][0]) / ((last - first) * step_s * run["best_a_second"])


def play(driver, strategy, seed, noise, visitors):
    run = driver("campaign", strategy, seed, noise, visitors)
    run.update(seed=seed, cv=noise, paid=run["calls"] / run["served"] if run["served"] else math.inf,
               share_served=run["served"] / run["visitors"], settled=settled_goodput(run))
    return run


def middle(runs, *keys):
    """The median over the seeds; None where not every run has it."""
    values = runs
    for key in keys:
        values = [v and v.get(key) for v in values]
    return None if None in values else statistics.median(values)


# ---- the answers ----

def judge(bench, runs, noise):
    seeds = f"{len(runs)} seeds"
    where = f"campaign, noise {noise:g}"

    def spread(key):
        values = [r[key] for r in runs]
        return f"{min(values):.4g} to {max(values):.4g} over {seeds}"

    settled = middle(runs, "settled")
    bench.at_least("C", f"{where}: goodput of the API's best", 0.95, middle(runs, "goodput"),
                   spread("goodput") + ("" if settled is None else f"; {settled:.3f} after {RAMP_S // 60} minutes"))
    bench.at_least("C", f"{where}: visitors served", 1.0, min(r["share_served"] for r in runs),
                   f"the least of {seeds}; {sum(r['lost'] for r in runs)} lost in all")
    bench.at_most("C", f"{where}: paid calls per result", 1.02, middle(runs, "paid"), spread("paid"))
    bench.at_least("C", f"{where}: fairness, 9 groups", 0.999, middle(runs, "fairness"), spread("fairness"))


def duration(ms):
    if ms is None:
        return "–"
    return f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.0f} s" if ms < 120e3 else f"{ms / 60e3:.1f} min"


def number(value, form):
    return "–" if value is None or math.isinf(value) else format(value, form)


def paid(value):
    return number(value, ".3f") if value is None or value < 100 else f"{value:,.0f}" if value < math.inf else "∞"


def line(strategy, runs):
    fair = middle(runs, "fairness") if middle(runs, "served") >= 100 else None
    return (f"  {NAMES[strategy]:42}{middle(runs, 'goodput'):>8.3f}{middle(runs, 'served'):>9,.0f}"
            f"{middle(runs, 'lost'):>9,.0f}{paid(middle(runs, 'paid')):>10}"
            f"{duration(middle(runs, 'still_ms', 'median')):>8}{duration(middle(runs, 'result_ms', 'median')):>10}"
            f"{duration(middle(runs, 'result_ms', 'p99')):>10}{number(fair, '.4f'):>9}"
            f"{middle(runs, 'most_in_flight'):>9.0f}{duration(middle(runs, 'ended_ms')):>11}")


def promises_line(runs):
    def part(kept, made):
        made = sum(r["promises"][made] for r in runs)
        return f"{sum(r['promises'][kept] for r in runs) / made:.1%} of {made:,}" if made else "none of 0"

    width, early, off = (statistics.median(r["promises"][key] for r in runs)
                         for key in ("width", "width_at_put", "off"))
    return (f"  promised ranges that the result came in: {part('at_put_kept', 'at_put')} made at put (median width "
            f"{early:.1f} of the wait), {part('at_look_kept', 'at_look')} at a later look (width {width:.1f}, the "
            f"middle off by {off:.2f})")


def table(bench, by_strategy, noise):
    bench.note(f"\ncampaign, noise {noise:g}: medians of {len(by_strategy['raincheck'])} seeds\n"
               f"  {'':42}{'goodput':>8}{'served':>9}{'lost':>9}{'paid per':>10}{'still':>8}{'result':>10}{'p99':>10}"
               f"{'fairness':>9}{'most at':>9}{'over after':>11}\n"
               f"  {'':42}{'':26}{'result':>10}{'':37}{'once':>9}")
    for strategy, runs in by_strategy.items():
        bench.note(line(strategy, runs))
    bench.note(promises_line(by_strategy["raincheck"]))


def ask_of_noise(bench, driver, noise, visitors):
    found = {s: [play(driver, s, seed, noise, visitors) for seed in range(1, bench.rounds + 1)] for s in ORDER}
    bench.say(f"campaign, noise {noise:g}: goodput " + ", ".join(
        f"{NAMES[s]} {middle(runs, 'goodput'):.3f}" for s, runs in found.items()))
    if noise in JUDGED:
        judge(bench, found["raincheck"], noise)
    table(bench, found, noise)
    return found


def ask(bench, driver, build, visitors):
    # No disk is measured here: the time is simulated.
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="raincheck-bench-", dir=memory) as place:
        os.environ["TMPDIR"] = place
        try:
            found = {noise: ask_of_noise(bench, driver, noise, visitors) for noise in NOISES}
        finally:
            del os.environ["TMPDIR"]
    write(found, os.path.join(build, "bench"), bench, visitors)


def write(found, folder, bench, visitors):
    ours = sorted(found[DRAWN]["raincheck"], key=lambda r: r["goodput"])
    seed = ours[len(ours) // 2]["seed"]
    drawn = {s: next(r for r in found[DRAWN][s] if r["seed"] == seed) for s in STRATEGIES}
    with open(os.path.join(folder, "campaign.svg"), "w", encoding="utf-8") as f:
        f.write(draw(drawn, visitors))
    for runs in (r for by_strategy in found.values() for r in by_strategy.values()):
        for run in runs:
            run["paid"] = None if math.isinf(run["paid"]) else run["paid"]
            if run["seed"] != seed:
                del run["samples"]
    with open(os.path.join(folder, "campaign.json"), "w", encoding="utf-8") as f:
        json.dump({"rows": [r for r in bench.rows if r["question"] == "C"],
                   "runs": {f"{noise:g}": by_strategy for noise, by_strategy in found.items()}}, f)
    bench.say(f"written: {folder}/campaign.json, {folder}/campaign.svg")


# ---- the picture ----

WIDTH, LEFT, SPAN, HIGH, GAP, TOP = 860, 70, 760, 130, 46, 118
LAST_S = 3600
AVERAGED = 12  # samples


def text(x, y, words, more=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" {more}>{html.escape(words)}</text>'


def series(run, value):
    """Points (seconds, value) up to the end of the run or of the picture."""
    step_s = run["sample_ms"] / 1000
    until = min(LAST_S, run["ended_ms"] / 1000 + 2 * step_s)
    return [(i * step_s, value(run, i)) for i in range(len(run["samples"])) if i * step_s <= until]


def goodput(run, i):
    first = max(i - AVERAGED, 0)
    if i == first:
        return 0
    seconds = (i - first) * run["sample_ms"] / 1000
    return (run["samples"][i][0] - run["samples"][first][0]) / seconds / run["best_a_second"]


def waiting(run, i):
    return run["samples"][i][1] + run["samples"][i][2]


def in_flight(run, i):
    return math.log10(max(run["samples"][i][2], 1))


def panel(drawn, top, title, value, most, marks):
    """marks: (value, its name) on the left, a line across for each."""
    def at(v):
        return top + HIGH - HIGH * min(v, most) / most

    parts = [text(LEFT, top - 10, title, 'font-weight="bold"')]
    for v, name in marks:
        parts.append(f'<line x1="{LEFT}" y1="{at(v):.1f}" x2="{LEFT + SPAN}" y2="{at(v):.1f}" stroke="#d8d8d8"/>')
        parts.append(text(LEFT - 8, at(v) + 4, name, 'text-anchor="end" fill="#555555" font-size="11"'))
    for strategy, run in drawn.items():
        points = " ".join(f"{LEFT + SPAN * t / LAST_S:.1f},{at(v):.1f}" for t, v in series(run, value))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{COLOURS[strategy]}" stroke-width="1.8"/>')
    return parts


def legend(drawn):
    for n, (strategy, run) in enumerate(drawn.items()):
        y = 50 + 18 * n
        yield f'<rect x="{LEFT}" y="{y - 9}" width="18" height="4" fill="{COLOURS[strategy]}"/>'
        yield text(LEFT + 28, y, f"{NAMES[strategy]}: {run['served']:,} served, {run['lost']:,} lost, "
                                 f"{run['calls']:,} calls paid, over after {duration(run['ended_ms'])}")


def draw(drawn, visitors):
    """The SVG's text."""
    tops = [TOP + n * (HIGH + GAP) for n in range(3)]
    bottom = tops[2] + HIGH
    rounded = 10 ** math.floor(math.log10(visitors))
    most = rounded * math.ceil(visitors / rounded)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{bottom + 50}" '
             f'viewBox="0 0 {WIDTH} {bottom + 50}" font-family="sans-serif" font-size="13">',
             f'<rect width="{WIDTH}" height="{bottom + 50}" fill="#ffffff"/>',
             text(LEFT, 26, f"{visitors:,} visitors in two minutes, an API that bears 50 calls at once",
                  'font-size="18" font-weight="bold"'), *legend(drawn),
             *panel(drawn, tops[0], "goodput, as a part of the API's best", goodput, 1.1,
                    ((0, "0"), (0.5, "0.5"), (1, "1"))),
             *panel(drawn, tops[1], "visitors who wait for their result", waiting, most,
                    ((0, "0"), (most / 2, f"{most / 2:,.0f}"), (most, f"{most:,}"))),
             *panel(drawn, tops[2], "calls under way, logarithmic", in_flight, 4.5,
                    ((0, "1"), (1, "10"), (math.log10(50), "50"), (3, "1,000"), (4, "10,000")))]
    for minutes in range(0, LAST_S // 60 + 1, 10):
        parts.append(text(LEFT + SPAN * minutes * 60 / LAST_S, bottom + 18, f"{minutes} min",
                          'text-anchor="middle" fill="#555555" font-size="11"'))
    parts.append(text(LEFT, bottom + 40, "simulated time; a call takes 3 s alone and 6 s when all slots are used, and "
                      f"fails after 30 s; durations vary by {DRAWN:g}", 'font-size="11" fill="#555555"'))
    return "\n".join(parts) + "\n</svg>\n"
