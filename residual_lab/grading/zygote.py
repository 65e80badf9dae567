"""A warm process that forks kernels: everything heavy is imported once. Run by path inside a sandbox of `sandbox`; Linux only.

It is one thread, holds no answer and no expected value, and never runs a learner's code: a request forks a child, which
shuts itself into namespaces of its own (user, mount, pid, net, ipc, uts) with a /tmp of its own before the kernel starts.

Protocol, one JSON line each, on a unix socket: the provisioner sends ``{"arguments", "limits", "shared", "kept", "uid"}`` and then
``{"kill": true}`` or ``{"usage": true}``; the answers are ``{"pid"}``, ``{"usage": [bytes, processes]}``, ``{"exit": status}``.
"""

import ctypes
import gc
import importlib
import json
import os
import random
import select
import signal
import socket
import sys
import traceback

sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != os.path.dirname(os.path.abspath(__file__))]
sys.path.append(os.path.dirname(os.path.abspath(__file__)))
import launch  # noqa: E402  (beside this file; the package itself is not needed)

sys.path.pop()

LIBC = ctypes.CDLL(None, use_errno=True)
NEW_NAMESPACES = 0x00020000 | 0x04000000 | 0x08000000 | 0x20000000 | 0x40000000  # mount, uts, ipc, pid, net
NEW_USER = 0x10000000
PRIVATE = 0x4000 | 0x40000  # MS_REC | MS_PRIVATE
BIND, NOSUID, NODEV, NOEXEC = 0x1000, 2, 4, 8
SET_PDEATHSIG, SET_DUMPABLE, CAPBSET_DROP, SET_NO_NEW_PRIVS = 1, 4, 24, 38


def check(result):
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def mount(source, target, kind, flags=0, options=None):
    encode = [None if each is None else os.fsencode(each) for each in (source, target, kind)]
    check(LIBC.mount(*encode, ctypes.c_ulong(flags), None if options is None else options.encode()))


def enter_namespaces(shared, kept, as_root):
    """Nothing of the other kernels is left in sight: neither their processes, nor their sockets, nor the zygote's.

    ``kept`` are the folders below /tmp that stay as they are: a course that was checked out there.
    """
    uid, gid = os.getuid(), os.getgid()
    check(LIBC.unshare(NEW_NAMESPACES | (0 if as_root else NEW_USER)))
    if not as_root:
        for name, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            with open(f"/proc/self/{name}", "w") as file:
                file.write(text)
    mount(None, "/", None, PRIVATE)
    own = {folder: os.open(folder, os.O_PATH | os.O_DIRECTORY) for folder in (*kept, shared)}
    mount("tmpfs", os.path.dirname(shared), "tmpfs", NOSUID | NODEV, "size=1m,mode=755")  # wherever TMPDIR had put it
    mount("tmpfs", "/tmp", "tmpfs", NOSUID | NODEV, "size=128m,mode=1777")
    mount("tmpfs", "/dev/shm", "tmpfs", NOSUID | NODEV, "size=64m,mode=1777")
    for folder, fd in own.items():
        os.makedirs(folder, exist_ok=True)
        mount(f"/proc/self/fd/{fd}", folder, None, BIND)
        os.close(fd)
    for folder in ("/tmp/home", "/tmp/work"):
        os.mkdir(folder)
        os.chmod(folder, 0o777)
    os.chdir("/tmp/work")


def drop_capabilities(uid):
    """For good; a kernel that root's zygote forks becomes a user of its own."""
    class Header(ctypes.Structure):
        _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]

    for capability in range(64):
        LIBC.prctl(CAPBSET_DROP, capability, 0, 0, 0)
    if uid is not None:
        launch.become(uid)
        LIBC.prctl(SET_DUMPABLE, 1, 0, 0, 0)
    check(LIBC.capset(ctypes.byref(Header(0x20080522, 0)), (ctypes.c_uint32 * 6)()))
    check(LIBC.prctl(SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def become_kernel(request):
    """In the forked child: never returns."""
    status = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.closerange(3, 4096)
        uid = request["uid"]
        enter_namespaces(request["shared"], request["kept"], as_root=uid is not None)
        inner = os.fork()
        if inner:
            _, status = os.waitpid(inner, 0)
            status = os.waitstatus_to_exitcode(status)
        else:
            mount("proc", "/proc", "proc", NOSUID | NODEV | NOEXEC)
            drop_capabilities(uid)
            check(LIBC.prctl(SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0))  # changing the user clears it
            launch.set_limits(request["limits"])
            random.seed()
            if numpy := sys.modules.get("numpy"):
                numpy.random.seed()
            launch.start_kernel(request["arguments"])
            status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status & 0xFF)


def usage(pid):
    """Resident bytes and number of a child and all below it."""
    parents, pages = {}, {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(name)], pages[int(name)] = int(fields[1]), int(fields[21])
    below, grown = {pid}, True
    while grown:
        more = {child for child, parent in parents.items() if parent in below and child not in below}
        grown, below = bool(more), below | more
    return [sum(pages.get(each, 0) for each in below) * os.sysconf("SC_PAGE_SIZE"), len(below)]


def serve(address):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(64)
    wake, woken = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)[::-1]
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    children, waiting = {}, {}
    while True:
        ready, _, _ = select.select([listener, woken, *waiting], [], [])
        for one in ready:
            if one is listener:
                connection, _ = listener.accept()
                waiting[connection] = b""
            elif one == woken:
                os.read(woken, 4096)
            else:
                receive(one, waiting, children)
        reap(children)


def receive(connection, waiting, children):
    try:
        data = connection.recv(65536)
    except OSError:
        data = b""
    if not data:  # the provisioner is gone: so is its kernel
        kill(connection, children)
        waiting.pop(connection)
        connection.close()
        return
    *lines, waiting[connection] = (waiting[connection] + data).split(b"\n")
    for request in map(json.loads, lines):
        if request.get("kill"):
            kill(connection, children)
        elif request.get("usage"):
            pid = next((pid for pid, owner in children.items() if owner is connection), None)
            tell(connection, {"usage": usage(pid) if pid else [0, 0]})
        else:
            pid = os.fork()
            if pid == 0:
                become_kernel(request)
            children[pid] = connection
            tell(connection, {"pid": pid})


def kill(connection, children):
    for pid, owner in children.items():
        if owner is connection:
            os.kill(pid, signal.SIGKILL)


def reap(children):
    while children:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if not pid:
            return
        tell(children.pop(pid), {"exit": os.waitstatus_to_exitcode(status)})


def tell(connection, message):
    try:
        connection.sendall(json.dumps(message).encode() + b"\n")
    except OSError:
        pass


if __name__ == "__main__":
    address, modules = sys.argv[1], json.loads(sys.argv[2])
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError:
            pass
    if len(os.listdir("/proc/self/task")) != 1:
        sys.exit("a thread was started by an import: forking would not be safe")
    gc.collect()
    gc.freeze()
    serve(address)
