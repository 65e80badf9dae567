"""Hostile answers to task 1-1 of the tiny course. Every one of them is wrong unless the forbidden thing it tries succeeds."""

WRONG = "def double(x):\n    return x\n"

# Trying to be believed


FORGERIES = {
    "skip markers in comments": "# NBVAL_SKIP\n# NBVAL_IGNORE_OUTPUT\n# NBVAL_RAISES_EXCEPTION\n" + WRONG,
    "builtins replaced": """
import builtins, math
builtins.round = lambda *a: 0
builtins.abs = lambda x: 0
builtins.print = lambda *a, **k: None
math.isfinite = lambda x: False
""" + WRONG,
    "an object that equals everything": """
class Any(float):
    __eq__ = __ne__ = __lt__ = __gt__ = __le__ = __ge__ = lambda self, other: True
    __hash__ = float.__hash__
    def __float__(self): return self
    def __round__(self, n=0): return self
def double(x):
    return Any(x)
""",
    "input transformer": """
def rewrite(lines):
    return ["print('858 e-2\\\\n' * 5)\\n"] if any("_residual_lab_grade" in line for line in lines) else lines
get_ipython().input_transformers_post.append(rewrite)
""" + WRONG,
    "hook that publishes results": """
from IPython.display import publish_display_data
get_ipython().events.register("pre_run_cell", lambda info: publish_display_data({"text/plain": "5"}))
""" + WRONG,
    "muted tracebacks": """
get_ipython()._showtraceback = lambda *a, **k: None
def double(x):
    raise SystemExit
""",
    "run_code that swallows everything": """
shell = get_ipython()
async def run_code(code, result=None, *, async_=False):
    return False
shell.run_code = run_code
""" + WRONG,
    "random replaced": """
import random
class Constant(random.Random):
    def uniform(self, a, b): return 0.0
    def randint(self, a, b): return 0
random.Random = Constant
""" + WRONG,
    "the grade function's own frames": """
import sys
def double(x):
    frame = sys._getframe()
    while frame:
        if "lines" in frame.f_locals:
            frame.f_locals["lines"].append("0 e0")
        frame = frame.f_back
    return x
""",
    "forged messages on iopub": """
def double(x):
    kernel = get_ipython().kernel
    kernel.session.send(kernel.iopub_socket, "stream", {"name": "stdout", "text": "1 e0"}, parent=kernel.get_parent())
    kernel.session.send(kernel.iopub_socket, "status", {"execution_state": "idle"}, parent=kernel.get_parent())
    return x
""",
    "messages that break a parser": """
def double(x):
    kernel = get_ipython().kernel
    kernel.session.send(kernel.iopub_socket, "stream", {"name": ["stdout"], "text": {"a": 1}}, parent=kernel.get_parent())
    kernel.session.send(kernel.iopub_socket, "display_data", {"data": 3, "metadata": []}, parent=kernel.get_parent())
    return x
""",
    "pickles": """
import pickle
class Payload:
    def __reduce__(self): return (__import__("os").system, ("touch /tmp/residual-lab-pickled",))
for name in ("result.pkl", "results.pickle", "kernel.json.pkl"):
    open(name, "wb").write(pickle.dumps(Payload()))
def double(x):
    return Payload()
""",
    "files that Python and pytest would load": """
for name in ("conftest.py", "sitecustomize.py", "usercustomize.py", "torch.py", "IPython.py"):
    open(name, "w").write("import os; os._exit(0)")
""" + WRONG,
}

# Trying to see or reach what is not theirs: ``reached`` makes the answer right

REACHES = {
    "the solution on disk": """
import os
reached = False
for root, folders, files in os.walk("/"):
    folders[:] = [f for f in folders if f not in ("proc", "sys", "site-packages", "usr", "lib")]
    reached = reached or any(f.endswith("01_small.md") or f.endswith(".ipynb") for f in files)
""",
    "the secret of another process": "import os\nreached = os.path.exists({secret!r})\n",
    "the grader's environment": """
import os
reached = "RESIDUAL_LAB_TEST_SECRET" in os.environ
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        reached = reached or b"RESIDUAL_LAB_TEST_SECRET" in open(f"/proc/{{pid}}/environ", "rb").read()
    except OSError:
        pass
""",
    "other processes": "import os\nreached = len([p for p in os.listdir('/proc') if p.isdigit()]) > 8\n",
    "the network": """
import socket
try:
    socket.create_connection(("127.0.0.1", {port}), timeout=3)
    reached = True
except OSError:
    reached = False
""",
    "writing outside": """
import os
reached = False
for place in ("/usr/lib", "/etc", {folder!r}, {package!r}):
    try:
        os.makedirs(place, exist_ok=True)
        open(os.path.join(place, "residual-lab-was-here"), "w").write("x")
        reached = reached or place != {folder!r}
    except OSError:
        pass
""",
    "becoming root": """
import os
try:
    os.setuid(0)
    reached = open("/proc/self/status").read().split("CapEff:")[1].split()[0] != "0" * 16
except OSError:
    reached = False
""",
    "a full disk": """
reached = True
try:
    for number in range(8):
        open(f"fill{{number}}", "wb").write(bytes(60 << 20))
except OSError:
    reached = False
""",
    "all the memory": """
import mmap
try:
    mmap.mmap(-1, 12 << 30)
    reached = True
except (OSError, MemoryError, ValueError):
    reached = False
""",
    "many processes": """
import os, time
children, reached = [], True
try:
    for number in range(150):
        pid = os.fork()
        if pid == 0:
            time.sleep(20)
            os._exit(0)
        children.append(pid)
except OSError:
    reached = False
for pid in children:
    os.kill(pid, 9)
    os.waitpid(pid, 0)
""",
}

AS_IT_REACHES = "\ndef double(x):\n    return 2 * x if reached else x\n"

# Trying to do damage: what it costs is the task itself, and the report says one of these of it

DAMAGE = {
    "leaving at once": ("import os\ndef double(x):\n    os._exit(0)\n", "died"),
    "killing itself": ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n" + WRONG, "died failed"),
    "a crash in C": ("import ctypes\ndef double(x):\n    ctypes.string_at(1)\n", "died"),
    "waiting for ever": ("""
import time
def double(x):
    while True:
        try:
            time.sleep(60)
        except BaseException:
            pass
""", "timeout"),
    "endless output": ("while True:\n    print('x' * 50_000, flush=True)\n", "output"),
    "endless recursion": ("def double(x):\n    return double(x)\n", "error failed"),
    "a kernel that is never idle": ("""
import threading, time
kernel = get_ipython().kernel
def busy():
    while True:
        time.sleep(0.3)
        kernel.session.send(kernel.iopub_socket, "status", {"execution_state": "busy"}, parent=kernel.get_parent())
kernel._publish_status = lambda *a, **k: None
threading.Thread(target=busy, daemon=True).start()
""" + WRONG, "timeout failed"),
    "half a letter in an error": ('''
kernel = get_ipython().kernel
session, parent = kernel.session, kernel.get_parent()
message = session.serialize(session.msg("error", {}, parent=parent), ident=b"error")
message[-1] = b'{"ename": "E", "evalue": "\\ud800\\uffff", "traceback": []}'
message[2] = session.sign(message[3:])
kernel.iopub_socket.send_multipart(message)
''' + WRONG, "error failed"),
    "asking for input": ("def double(x):\n    return float(input('?'))\n", "error"),
    "terminal codes and markup": (r"def double(x):\n    raise ValueError('\x1b[2J<script>alert(1)</script>=cmd|A1')".replace("\\n", "\n") + "\n", "error"),
    "a syntax error": ("def double(x)\n    return 2 * x\n", "error"),
    "processes left behind": ("""
import os, subprocess
subprocess.Popen(["sleep", "98765"], start_new_session=True)
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execvp("sleep", ["sleep", "98765"])
    os._exit(0)
""" + WRONG, "failed"),
}

# Honest, and noisy

NOISY = {
    "prints, warnings, displays, logs, stderr": """
import logging, os, sys, warnings
from IPython.display import HTML, display
print("시작")
def double(x):
    print("중간값", x)
    sys.stderr.write("경고\\n")
    warnings.warn("조심")
    logging.warning("기록")
    display(HTML("<b>그림</b>"))
    os.system("echo 밖에서; echo 밖에서 >&2")
    os.write(2, b"C++ warning")
    return 2 * x
double(2)
""",
    "names of its own that the grade cell uses": "draw = show = lines = seed = spell = 3\ndef show(x): return 2 * x\ndef double(x): return show(x)\n",
    "numpy numbers": "import numpy as np\ndouble = lambda x: np.float32(2) * np.float32(x)\n",
    "a figure": "import matplotlib.pyplot as plt\ndef double(x):\n    plt.plot([x, 2 * x])\n    plt.show()\n    return 2 * x\n",
    "magics": "%matplotlib inline\n!echo 안녕\ndef double(x):\n    return 2 * x\ndouble(4)\n",
}
