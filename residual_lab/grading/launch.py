"""Start ipykernel under limits that it cannot raise again. Run by path inside the sandbox: it knows nothing of the grader."""

import json
import os
import sys

sys.modules.setdefault("debugpy", None)  # half of a kernel's start, and nobody will debug it


def set_limits(limits):
    """``limits`` from names of `resource` (``AS``, ``CPU`` …) to numbers; what a system does not have is left out."""
    try:
        import resource
    except ImportError:  # Windows
        return
    for name, value in limits.items():
        kind = getattr(resource, f"RLIMIT_{name}", None)
        if kind is None:
            continue
        _, most = resource.getrlimit(kind)
        value = value if most == resource.RLIM_INFINITY else min(value, most)
        try:
            resource.setrlimit(kind, (value, value))
        except (OSError, ValueError):  # macOS refuses some of them
            pass


def become(uid):
    """Give up root and every capability for good (the sandbox keeps a process from gaining any)."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)


def start_kernel(arguments):
    from ipykernel.kernelapp import launch_new_instance

    # What a library writes past Python would be published by a thread, whenever it comes by: in another cell's output.
    sys.argv = ["ipykernel_launcher", *arguments, "--IPKernelApp.capture_fd_output=False", "--HistoryManager.enabled=False"]
    launch_new_instance()


if __name__ == "__main__":
    sys.path[:] = [path for path in sys.path if os.path.abspath(path or ".") != os.path.dirname(os.path.abspath(__file__))]
    given = json.loads(sys.argv[1])
    if "uid" in given:
        become(given.pop("uid"))
    set_limits(given)
    if sys.argv[2:]:
        start_kernel(sys.argv[2:])
    else:  # the sandbox is being tried out
        import ipykernel  # noqa: F401
