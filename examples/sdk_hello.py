# ./dev build && PYTHONPATH=python python3 examples/sdk_hello.py
# This one runs outside: it is the program that uses the sandbox.
import asyncio
import time

from sandbox import ResourceLimitExceeded, Sandbox, SandboxError, SandboxSettings, SecurityError

settings = SandboxSettings(max_memory_mb=50, max_execution_time=2, allowed_modules=["math", "time"])

with Sandbox(settings) as box:
    print("value:", box.execute("__result__ = sum(range(10))"))

    result = box.run("print('hello'); import math; math.sqrt(2)")
    print("run:", result.status, repr(result.stdout), result.result, f"{result.usage.wall_ms:.1f} ms")

    for title, code in (
        ("an error", "1 / 0"),
        ("a forbidden module", "import socket"),
        ("a forbidden file", "open('/etc/passwd')"),
        ("too much memory", "x = bytearray(200 << 20)"),
        ("too much time", "while True: pass"),
    ):
        try:
            box.execute(code)
        except ResourceLimitExceeded as exc:
            print(f"{title}: limit: {exc}")
        except SecurityError as exc:
            print(f"{title}: denied: {exc}")
        except SandboxError as exc:
            print(f"{title}: {exc}")

    for item in box.stream("import time\nfor i in range(3):\n    print(i, flush=True)\n    time.sleep(0.1)"):
        if item["type"] == "stdout":
            print("stream:", item["text"].rstrip())

    async def five() -> list[int]:
        code = "import time\ntime.sleep(1)\n__result__ = {} ** 2"
        return await asyncio.gather(*(box.execute_async(code.format(n)) for n in range(5)))

    began = time.monotonic()
    print("five that sleep a second:", asyncio.run(five()), f"in {time.monotonic() - began:.1f} s")
