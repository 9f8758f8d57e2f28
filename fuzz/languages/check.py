"""What was judged is what Python's json reads, whichever of two members it takes."""

import json
import sys


def first_wins(pairs):
    members = {}
    for key, value in pairs:
        members.setdefault(key, value)
    return members


def get(value, *path):
    """The value at a path in a tuple, or an empty tuple."""
    for key in path:
        if not isinstance(value, dict) or key not in value:
            return ()
        value = value[key]
    return (value,)


def check(reading, message):
    assert isinstance(message, dict)

    def said(judged, *path):
        if judged is False:  # It decides nothing.
            return
        expected = () if judged is None else (judged,)
        assert get(message, *path) == expected, (path, expected, get(message, *path))

    said("2.0", "jsonrpc")
    said(reading["method"], "method")
    assert ("id" in message) == (reading["kind"] != "notification")
    assert ("result" in message or "error" in message) == (reading["kind"] == "response")
    if reading["kind"] == "response":
        return
    for member in ("name", "uri", "taskId"):
        said(reading[member], "params", member)
    said(reading["protocolVersion"], "params", "_meta", "io.modelcontextprotocol/protocolVersion")
    for member, keys in (("ref", ("type", "name", "uri")), ("notifications", ("resourceSubscriptions", "taskIds"))):
        judged = reading[member]
        if isinstance(judged, dict):
            for key in keys:
                # A list that is empty may not be there at all.
                if judged.get(key) == [] and get(message, "params", member, key) == ():
                    continue
                said(judged.get(key), "params", member, key)
        else:
            said(judged, "params", member)
    judged = set(reading["argumentKeys"])
    arguments = get(message, "params", "arguments")
    seen = set(arguments[0]) if arguments and isinstance(arguments[0], dict) else set()
    assert judged <= seen if len(judged) == 64 else judged == seen, (judged, seen)


def main(path):
    count = 0
    with open(path, encoding="utf-8", newline="\n") as lines:
        for line in lines:
            line = json.loads(line)
            for hook in (None, first_wins):
                try:
                    check(line["reading"], json.loads(line["body"], object_pairs_hook=hook))
                except AssertionError as error:
                    sys.exit(f"python reads otherwise: {line['body']!r}: {error}")
            count += 1
    if count == 0:
        sys.exit("no body was let through, so nothing was checked")
    print(f"python: {count} bodies read as they were judged")


main(sys.argv[1])
