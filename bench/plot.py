"""The answers as a picture: a bar for each, and one line that every bar has to reach, whatever its target is."""
import html
import math

WIDTH, LEFT, ROW, TOP = 1080, 430, 34, 70
SPAN = 360  # from the left end of the scale to its right end
FURTHEST = 8  # the scale goes from an eighth of the target to eight times it
HIT, MISSED = "#2b8a57", "#c0392b"


def reach(row):
    """How far a measurement reaches: 1 is the target, more is better."""
    ratio = row["measured"] / row["target"]
    if row["sense"] == "at most":
        ratio = 1 / ratio if ratio > 0 else FURTHEST
    return ratio


def place(value):
    """Where on the scale, which is logarithmic and cut at both ends."""
    value = min(max(value, 1 / FURTHEST), FURTHEST)
    return LEFT + SPAN * (math.log(value, FURTHEST) + 1) / 2


def text(x, y, words, more=""):
    return f'<text x="{x:.0f}" y="{y:.0f}" {more}>{html.escape(words)}</text>'


def bar(row, y):
    sign = "≥" if row["sense"] == "at least" else "≤"
    unit = "" if row["unit"] == "×" else " "
    words = (f"{row['measured']:.4g}{unit}{row['unit']} for {sign} {row['target']:g}{unit}{row['unit']}: "
             f"{row['verdict']}")
    colour = HIT if row["verdict"] == "hit" else MISSED
    return (text(LEFT - 14, y + 16, f"{row['question']}  {row['what']}", 'text-anchor="end"') +
            f'<rect x="{LEFT}" y="{y}" width="{place(reach(row)) - LEFT:.1f}" height="22" rx="2" fill="{colour}"/>' +
            text(LEFT + SPAN + 14, y + 16, words, f'fill="{colour}"'))


def draw(rows, machine):
    """The SVG's text."""
    bottom = TOP + ROW * len(rows)
    line = place(1)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{bottom + 50}" '
             f'viewBox="0 0 {WIDTH} {bottom + 50}" font-family="sans-serif" font-size="13">',
             f'<rect width="{WIDTH}" height="{bottom + 50}" fill="#ffffff"/>',
             text(20, 28, "Raincheck: measured against its targets", 'font-size="18" font-weight="bold"'),
             text(line, TOP - 12, "target", 'text-anchor="middle"'),
             text(20, 46, f"how far each answer reaches; a logarithmic scale, cut at {FURTHEST} times the target",
                  'font-size="11" fill="#666666"')]
    parts += [bar(row, TOP + ROW * i) for i, row in enumerate(rows)]
    for factor in (1 / FURTHEST, 1 / 2, 2, FURTHEST):
        parts.append(text(place(factor), bottom + 14, f"{factor:g}×", 'text-anchor="middle" fill="#666666"'))
    parts += [f'<line x1="{line:.1f}" y1="{TOP - 8}" x2="{line:.1f}" y2="{bottom}" stroke="#000000" stroke-width="2"/>',
              text(20, bottom + 38, machine, 'font-size="11" fill="#666666"'), "</svg>\n"]
    return "\n".join(parts)
