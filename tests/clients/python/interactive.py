"""redis-cli on a terminal: a prompt, answers as a person sees them, hints from the command table.

interactive.py PORT
"""

import fcntl
import os
import pty
import select
import struct
import sys
import termios
import time


def main():
    process, terminal = pty.fork()
    if process == 0:
        os.environ["TERM"] = "xterm"
        # A terminal without a size is asked for it by escape sequences, which nobody here answers.
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
        os.execvp("redis-cli", ["redis-cli", "-p", sys.argv[1]])
    seen = ""

    def wait_for(text):
        nonlocal seen
        deadline = time.monotonic() + 10
        while text not in seen:
            left = deadline - time.monotonic()
            assert left > 0 and select.select([terminal], [], [], left)[0], f"no {text!r} in {seen!r}"
            seen += os.read(terminal, 4096).decode(errors="replace")
        seen = seen.split(text, 1)[1]

    def enter(line):
        # redis-cli throws away what is typed before its prompt is there.
        wait_for(f"127.0.0.1:{sys.argv[1]}> ")
        os.write(terminal, line.encode() + b"\r")

    enter("rpush people ann bob")
    wait_for("(integer) 2")
    enter("lrange people 0 -1")
    wait_for('1) "ann"')
    wait_for('2) "bob"')
    enter("lpop")
    wait_for("(error) ERR wrong number of arguments for 'lpop' command")
    enter("quit")
    _, status = os.waitpid(process, 0)
    assert os.waitstatus_to_exitcode(status) == 0


main()
