"""Chooses the few files by which a corpus gains most.

    keep.py CONTROL MOST

CONTROL is what libFuzzer's set_cover_merge wrote down: the files, those of the
corpus first, and what code each reaches. Prints the paths of at most MOST
others.
"""

import sys


def read(lines):
    count, kept = int(next(lines)), int(next(lines))
    paths = [next(lines) for _ in range(count)]
    reached = [set() for _ in range(count)]
    for line in lines:
        kind, _, rest = line.partition(" ")
        if kind == "FT":
            index, *features = rest.split()
            reached[int(index)].update(features)
    return paths, reached, kept


def choose(paths, reached, kept, most):
    known = set().union(*reached[:kept])
    others = set(range(kept, len(paths)))
    for _ in range(most):
        best = max(others, key=lambda index: len(reached[index] - known), default=None)
        if best is None or not reached[best] - known:
            return
        known |= reached[best]
        others.remove(best)
        yield paths[best]


with open(sys.argv[1], encoding="utf-8") as control:
    found = read(line.rstrip("\n") for line in control)
for path in choose(*found, most=int(sys.argv[2])):
    print(path)
