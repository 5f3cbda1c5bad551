# ./dev run --preset data examples/forbidden.py
# Ten things that a program in the sandbox must not do, and what each attempt got. Without `--preset data` most end
# sooner, at their import: by default a program may import math and random only.


def read_the_password_hashes():
    with open("/etc/shadow") as file:
        return f"read {len(file.read())} bytes"


def look_into_home_directories():
    import os

    return f"found {sorted(os.listdir('/root') + os.listdir('/home'))}"


def change_the_interpreter():
    import sys

    with open(sys.executable, "r+b"):
        return "opened the interpreter for writing"


def call_a_web_server():
    import socket

    socket.create_connection(("1.1.1.1", 80), timeout=3).close()
    return "connected"


def ask_the_cloud_for_credentials():
    import urllib.request

    return urllib.request.urlopen("http://169.254.169.254/latest/meta-data/", timeout=3).read()


def start_a_shell():
    import subprocess

    return subprocess.run(["/bin/sh", "-c", "id"], capture_output=True, text=True, check=True).stdout


def system_call(number_of, *arguments):
    import ctypes
    import os

    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, number_of)(*arguments) == -1:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def mount_a_file_system():
    system_call("mount", b"none", b"/tmp", b"tmpfs", 0, None)
    return "mounted"


def become_root_in_a_new_namespace():
    system_call("unshare", 0x10000000)  # CLONE_NEWUSER
    return "made a user namespace"


def trace_another_process():
    system_call("ptrace", 16, 1, None, None)  # PTRACE_ATTACH to process 1
    return "attached to process 1"


def type_into_the_terminal():
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSTI, b"\n")
    return "typed"


ATTEMPTS = [
    read_the_password_hashes,
    look_into_home_directories,
    change_the_interpreter,
    call_a_web_server,
    ask_the_cloud_for_credentials,
    start_a_shell,
    mount_a_file_system,
    become_root_in_a_new_namespace,
    trace_another_process,
    type_into_the_terminal,
]

succeeded = []
for attempt in ATTEMPTS:
    title = attempt.__name__.replace("_", " ")
    try:
        outcome = f"DONE: {attempt()}"
        succeeded.append(title)
    except BaseException as exc:
        outcome = f"refused: {type(exc).__name__}: {exc}"
    print(f"{title + ':':32} {outcome}")

print()
print("Nothing of it was possible." if not succeeded else f"POSSIBLE, which is a fault: {', '.join(succeeded)}")
__result__ = succeeded
