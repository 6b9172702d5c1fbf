#!/usr/bin/env bash
# openvino 2026.4.1: compile_model for the CPU replaces the signal stack of the thread that calls it, and gives it back only
# where the same thread frees the network.
#
# Python's faulthandler gives the main thread a stack for signal handlers (sigaltstack). Compiling a network puts another one in
# its place. If the main thread frees the network, the first stack comes back. If another thread does (a garbage collection
# runs in any), the main thread goes on with the address of memory that has been given back to the system.
# The remedy: read the stack with sigaltstack before compile_model, and set it again behind it.
#
# Output seen:
#   before: faulthandler's
#   with a network: another
#   freed by this thread: faulthandler's
#   with a network: another
#   freed by another thread: another, its memory is gone
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check openvino==2026.4.1 numpy==2.4.6
cat > "$folder/show.py" <<'PY'
import ctypes
import faulthandler
import gc
import threading

import numpy as np
import openvino
from openvino import opset13


class Stack(ctypes.Structure):
    _fields_ = [("address", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t)]


def describe():
    stack = Stack()
    ctypes.CDLL(None).sigaltstack(None, ctypes.byref(stack))
    if stack.address == first.address:
        return "faulthandler's"
    with open("/proc/self/maps") as maps:
        ranges = [[int(end, 16) for end in line.split()[0].split("-")] for line in maps]
    is_there = any(begin <= stack.address < end for begin, end in ranges)
    return "another" if is_there else "another, its memory is gone"


def compile_network():
    given = opset13.parameter([1, 4], np.float32)
    kept.append(openvino.compile_model(openvino.Model([opset13.relu(given)], [given]), "CPU"))
    print("with a network:", describe())


kept = []
first = Stack()
faulthandler.enable()
ctypes.CDLL(None).sigaltstack(None, ctypes.byref(first))
print("before:", describe())
compile_network()
kept.clear()
gc.collect()
print("freed by this thread:", describe())
compile_network()
thread = threading.Thread(target=kept.clear)
thread.start()
thread.join()
print("freed by another thread:", describe())
PY
"$folder/venv/bin/python" "$folder/show.py" | tee "$folder/seen"
diff "$folder/seen" - <<'EXPECTED'
before: faulthandler's
with a network: another
freed by this thread: faulthandler's
with a network: another
freed by another thread: another, its memory is gone
EXPECTED
