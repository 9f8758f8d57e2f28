"""Runs a server on stdio and appends every message that reaches it to a file: `record_messages.py FILE COMMAND...`."""

import subprocess
import sys

path, *command = sys.argv[1:]
with open(path, "ab", buffering=0) as record, subprocess.Popen(command, stdin=subprocess.PIPE, bufsize=0) as server:
    for line in sys.stdin.buffer:
        record.write(line)
        server.stdin.write(line)
    server.stdin.close()
